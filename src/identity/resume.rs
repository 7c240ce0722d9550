//! Resume tokens: sent in `welcome`, for a client to come back as the same participant.
//!
//! A token consists of claims and a MAC over them, so that nothing has to be stored to check it. The generation
//! ends a token before its session ends: the caller compares it with the one stored for the participant.

use std::fmt;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

/// Shows people and secret scanners what kind of secret it is.
const PREFIX: &str = "lsr_";

/// Separates the key from other keys derived from the same secret. Changing the label, or the layout under it,
/// invalidates all tokens.
const LABEL: &[u8] = b"lastseen resume token v1";

/// Participant, session, generation.
const CLAIMS_BYTES: usize = 16 + 16 + 4;

/// A MAC of 128 bits: each guess costs a request, so that half of the hash is enough.
const MAC_BYTES: usize = 16;

/// The claims of a resume token; true when returned by [`ResumeKey::verify`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResumeClaims {
    /// The participant.
    pub participant: Uuid,
    /// The reading session that the token is valid for.
    pub session: Uuid,
    /// The participant's token generation; a token of an older one is refused.
    pub generation: i32,
}

impl ResumeClaims {
    fn to_bytes(self) -> [u8; CLAIMS_BYTES] {
        let mut bytes = [0; CLAIMS_BYTES];
        bytes[..16].copy_from_slice(self.participant.as_bytes());
        bytes[16..32].copy_from_slice(self.session.as_bytes());
        bytes[32..].copy_from_slice(&self.generation.to_be_bytes());
        bytes
    }

    fn from_bytes(bytes: &[u8; CLAIMS_BYTES]) -> Option<Self> {
        let (participant, rest) = bytes.split_first_chunk()?;
        let (session, rest) = rest.split_first_chunk()?;
        let (generation, _) = rest.split_first_chunk()?;
        Some(Self {
            participant: Uuid::from_bytes(*participant),
            session: Uuid::from_bytes(*session),
            generation: i32::from_be_bytes(*generation),
        })
    }
}

/// Signs and checks resume tokens. Its `Debug` shows nothing of the key.
#[derive(Clone)]
pub struct ResumeKey(Hmac<Sha256>);

impl ResumeKey {
    /// The key of a server: servers with the same secret accept each other's tokens, and so does a restarted
    /// server.
    pub fn derive(server_secret: &[u8]) -> Self {
        let key = keyed(server_secret).chain_update(LABEL).finalize().into_bytes();
        Self(keyed(&key))
    }

    /// The token for these claims, always the same one: `lsr_` and 70 characters of the URL-safe base64
    /// alphabet, which are valid in a WebSocket subprotocol (RFC 7230 `token`).
    pub fn sign(&self, claims: &ResumeClaims) -> String {
        let claims = claims.to_bytes();
        let mac = self.0.clone().chain_update(claims).finalize().into_bytes();
        let mut bytes = [0; CLAIMS_BYTES + MAC_BYTES];
        bytes[..CLAIMS_BYTES].copy_from_slice(&claims);
        bytes[CLAIMS_BYTES..].copy_from_slice(&mac[..MAC_BYTES]);
        format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes))
    }

    /// The claims of a token, or `None` where it was not signed with this key. The comparison takes constant
    /// time.
    pub fn verify(&self, token: &str) -> Option<ResumeClaims> {
        let bytes = BASE64_URL_SAFE_NO_PAD.decode(token.strip_prefix(PREFIX)?).ok()?;
        let (claims, mac) = bytes.split_first_chunk()?;
        // A shorter MAC would be compared in its own length, and be easier to guess.
        if mac.len() != MAC_BYTES {
            return None;
        }
        self.0.clone().chain_update(claims).verify_truncated_left(mac).ok()?;
        ResumeClaims::from_bytes(claims)
    }
}

fn keyed(key: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
}

impl fmt::Debug for ResumeKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ResumeKey(..)")
    }
}

/// Whether a Bearer token has the form of a resume token; no JWT has it.
pub fn is_resume_token(token: &str) -> bool {
    token.starts_with(PREFIX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> ResumeKey {
        ResumeKey::derive(b"a secret of the tests")
    }

    fn claims() -> ResumeClaims {
        ResumeClaims { participant: Uuid::from_u128(0x0190_aaaa), session: Uuid::from_u128(0x0190_bbbb), generation: 3 }
    }

    proptest! {
        #[test]
        fn what_was_signed_is_read_back(participant: u128, session: u128, generation: i32) {
            let claims = ResumeClaims {
                participant: Uuid::from_u128(participant),
                session: Uuid::from_u128(session),
                generation,
            };
            prop_assert_eq!(key().verify(&key().sign(&claims)), Some(claims));
        }

        #[test]
        fn no_text_makes_it_panic(text: String) {
            prop_assert_eq!(key().verify(&text), None);
            prop_assert_eq!(key().verify(&format!("{PREFIX}{text}")), None);
        }
    }

    #[test]
    fn a_token_fits_a_websocket_subprotocol() {
        let token = key().sign(&claims());
        assert_eq!(token.len(), PREFIX.len() + 70);
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_'));
    }

    #[test]
    fn a_token_outlives_a_restart() {
        assert_eq!(key().sign(&claims()), key().sign(&claims()));
        assert_eq!(key().verify(&key().sign(&claims())), Some(claims()));
    }

    #[test]
    fn another_server_has_another_key() {
        assert_eq!(ResumeKey::derive(b"another secret").verify(&key().sign(&claims())), None);
    }

    #[test]
    fn no_character_can_be_changed_left_out_or_added() {
        let token = key().sign(&claims());
        for at in 0..token.len() {
            let mut changed = token.clone().into_bytes();
            changed[at] = if changed[at] == b'A' { b'B' } else { b'A' };
            assert_eq!(key().verify(str::from_utf8(&changed).unwrap()), None, "at {at}");
            assert_eq!(key().verify(&token[..at]), None, "cut at {at}");
        }
        for more in ["A", "AA", "AAAA", "=", "==", " ", "\n"] {
            assert_eq!(key().verify(&format!("{token}{more}")), None, "with {more:?}");
        }
    }

    #[test]
    fn a_shorter_mac_is_no_mac() {
        let mac = key().0.chain_update(claims().to_bytes()).finalize().into_bytes();
        for length in [0, 1, MAC_BYTES - 1, MAC_BYTES + 1, mac.len()] {
            let bytes = [&claims().to_bytes()[..], &mac[..length]].concat();
            let token = format!("{PREFIX}{}", BASE64_URL_SAFE_NO_PAD.encode(bytes));
            assert_eq!(key().verify(&token), None, "{length} bytes");
        }
    }

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", key()), "ResumeKey(..)");
    }
}
