//! Invite tokens: the holder of one may join the reading session that it was made for.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rand::TryRng;
use rand::rngs::SysRng;
use sha2::{Digest, Sha256};

/// Shows people and secret scanners what kind of secret it is.
const PREFIX: &str = "lsi_";

/// The length of the random part: 192 bits, as 32 characters.
const RANDOM_BYTES: usize = 24;

/// An invite token, new or sent by a client. It has no `Display`, and its `Debug` shows nothing of it.
#[derive(Clone)]
pub struct InviteToken(String);

impl InviteToken {
    /// A new token from the operating system's random generator: `lsi_` and 32 characters that need no escaping
    /// in a URL.
    ///
    /// # Panics
    ///
    /// Where the operating system gives no random bytes: no token could be safe then.
    pub fn generate() -> Self {
        let mut bytes = [0; RANDOM_BYTES];
        SysRng.try_fill_bytes(&mut bytes).expect("the operating system gives random bytes");
        Self(format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes)))
    }

    /// The token that a client sent. Any text is accepted: one that is no token has a hash that is not in the
    /// database.
    pub fn presented(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The token itself, for the one response that contains it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The hash that the database stores. A plain hash is enough: the token is random and cannot be guessed, and
    /// the time of a lookup by hash gives nothing of it away.
    pub fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for InviteToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InviteToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_tokens_differ_and_fit_a_url() {
        let (one, other) = (InviteToken::generate(), InviteToken::generate());
        assert_ne!(one.as_str(), other.as_str());
        let random = one.as_str().strip_prefix(PREFIX).unwrap();
        assert_eq!(random.len(), 32);
        assert!(random.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }

    #[test]
    fn a_token_is_found_again_by_its_hash() {
        let token = InviteToken::generate();
        assert_eq!(InviteToken::presented(token.as_str()).sha256(), token.sha256());
        assert_ne!(InviteToken::generate().sha256(), token.sha256());
    }

    #[test]
    fn the_hash_is_the_sha_256_of_the_text() {
        // FIPS 180-2, appendix B.1.
        let hash = InviteToken::presented("abc").sha256();
        assert_eq!(hash[..4], [0xba, 0x78, 0x16, 0xbf]);
        assert_eq!(hash[28..], [0xf2, 0x00, 0x15, 0xad]);
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", InviteToken::presented("lsi_x")), "InviteToken(..)");
    }
}
