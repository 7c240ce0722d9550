//! Users as the embedding application knows them.
//!
//! The database knows a user by a UUID, everywhere: in its columns, in the policies, in `auth.uid()`. An application
//! whose users have UUIDs has the same ones there. Of any other subject the id is made, and a table says which subject
//! it stands for (`lastseen.subjects`); clients see the subject.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::str::FromStr;
use std::sync::Arc;

use sha1::{Digest, Sha1};
use uuid::{Builder, Uuid};

use super::ids::UserId;

/// The longest subject, in characters.
pub const MAX_SUBJECT_CHARS: usize = 255;

/// The namespace of the ids that are made of subjects. It never changes: rows name users by these ids.
pub const NAMESPACE: Uuid = Uuid::from_u128(0xf5a3_b0de_6c1d_4f0e_9a57_2d8c_41e7_b936);

/// The text of a UUID has this length, in bytes: 32 digits and four hyphens. Other ways to write one are texts like any
/// other.
const UUID_LENGTH: usize = 36;

/// A user as the embedding application knows it: the `sub` of its JWT. Two are equal where their ids are.
#[derive(Clone)]
pub struct Subject(Kind);

#[derive(Clone)]
enum Kind {
    /// A UUID, which is the id.
    Id(UserId),
    /// Anything else. Behind a pointer: a participant whose subject is a UUID needs no room for it.
    Named(Arc<Named>),
}

struct Named {
    id: UserId,
    name: Box<str>,
}

/// Why a text is no subject.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to 255 characters, and no U+0000")]
pub struct InvalidSubject;

impl Subject {
    /// What it identifies, for documents.
    pub const MEANING: &'static str =
        "A user of the embedding application: the `sub` of its JWT. One that is a UUID is written in lower case.";

    /// The user's id in the database.
    pub fn id(&self) -> UserId {
        match &self.0 {
            Kind::Id(id) => *id,
            Kind::Named(named) => named.id,
        }
    }

    /// The text that the id was made of; `None` where the subject is a UUID.
    pub fn name(&self) -> Option<&str> {
        match &self.0 {
            Kind::Id(_) => None,
            Kind::Named(named) => Some(&named.name),
        }
    }
}

impl From<UserId> for Subject {
    fn from(id: UserId) -> Self {
        Self(Kind::Id(id))
    }
}

impl FromStr for Subject {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, InvalidSubject> {
        // U+0000 is the one character that PostgreSQL cannot store.
        if text.is_empty() || text.chars().count() > MAX_SUBJECT_CHARS || text.contains('\0') {
            return Err(InvalidSubject);
        }
        if text.len() == UUID_LENGTH
            && let Ok(id) = Uuid::try_parse(text)
        {
            return Ok(UserId(id).into());
        }
        Ok(Self(Kind::Named(Arc::new(Named { id: made_of(text), name: text.into() }))))
    }
}

/// RFC 9562, section 5.5. The feature `v5` of the crate uuid does the same with an SHA-1 of its own; this one is here
/// already.
fn made_of(text: &str) -> UserId {
    let hash = Sha1::new().chain_update(NAMESPACE.as_bytes()).chain_update(text).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    UserId(Builder::from_sha1_bytes(bytes).into_uuid())
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Id(id) => id.fmt(f),
            Kind::Named(named) => f.write_str(&named.name),
        }
    }
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Kind::Id(id) => id.fmt(f),
            Kind::Named(named) => named.name.fmt(f),
        }
    }
}

impl PartialEq for Subject {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Subject {}

impl PartialOrd for Subject {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Subject {
    fn cmp(&self, other: &Self) -> Ordering {
        self.id().cmp(&other.id())
    }
}

impl Hash for Subject {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id().hash(state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject(text: &str) -> Subject {
        text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn a_uuid_is_its_own_id() {
        let lower = "6f1c2d3e-0000-4000-8000-000000000001";
        for text in [lower, "6F1C2D3E-0000-4000-8000-000000000001"] {
            let subject = subject(text);
            assert_eq!((subject.id().to_string().as_str(), subject.name()), (lower, None));
            assert_eq!(subject.to_string(), lower);
        }
    }

    #[test]
    fn any_other_text_is_kept_as_it_is_and_has_an_id_made_of_it() {
        let longest = "🂡".repeat(MAX_SUBJECT_CHARS);
        for text in [
            "auth0|abc",
            "user_2abc",
            "Ada@example.org",
            "ada@example.org",
            " ",
            "a/b%2F?c#d",
            "\u{7}",
            // Ways to write a UUID that are not the canonical one, and what only has its length.
            "6f1c2d3e000040008000000000000001",
            "{6f1c2d3e-0000-4000-8000-000000000001}",
            "urn:uuid:6f1c2d3e-0000-4000-8000-000000000001",
            "6f1c2d3e-0000-4000-8000-00000000000g",
            &longest,
        ] {
            let one = subject(text);
            assert_eq!((one.name(), one.to_string().as_str()), (Some(text), text));
            assert_eq!(one.id().0.get_version_num(), 5);
            assert_eq!(one, subject(text));
            assert_eq!(one, Subject::from(one.id()), "also by its id");
        }
        assert_ne!(subject("Ada@example.org"), subject("ada@example.org"));
    }

    /// Rows hold these ids: they are the same for ever. By Python: `uuid.uuid5(UUID('f5a3b0de-…'), 'auth0|abc')`.
    #[test]
    fn the_id_of_a_subject_is_the_uuid_of_version_5() {
        for (text, id) in [
            ("auth0|abc", "fcbcdc56-1ed5-5d45-82ef-3b8643364c43"),
            ("müller@example.org", "e1e14e0c-92c1-59a2-86ef-23f4f0165535"),
        ] {
            assert_eq!(subject(text).id().to_string(), id, "{text}");
        }
    }

    #[test]
    fn what_is_empty_too_long_or_cannot_be_stored_is_refused() {
        for text in ["", "a\0b", &"x".repeat(256), &"é".repeat(256)] {
            assert_eq!(text.parse::<Subject>(), Err(InvalidSubject), "{text:?}");
        }
    }

    /// What it adds to a participant.
    #[test]
    fn a_subject_takes_no_more_room_than_an_id_and_a_word() {
        assert_eq!(size_of::<Option<Subject>>(), 24);
    }
}
