//! Ids and words in JSON, and in the document of the HTTP interface.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::openapi::schema::{KnownFormat, SchemaFormat, Type};
use utoipa::openapi::{Object, ObjectBuilder, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use uuid::Uuid;

use crate::domain::document::Document;
use crate::domain::subject::{MAX_SUBJECT_CHARS, Subject};
use crate::domain::{every_id, every_word};

macro_rules! as_uuid {
    ($($id:ty),+ $(,)?) => {
        $(
            impl Serialize for $id {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    self.0.serialize(serializer)
                }
            }

            impl<'de> Deserialize<'de> for $id {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    Uuid::deserialize(deserializer).map(Self)
                }
            }

            impl PartialSchema for $id {
                fn schema() -> RefOr<Schema> {
                    let format = SchemaFormat::KnownFormat(KnownFormat::Uuid);
                    described(Object::builder().schema_type(Type::String).format(Some(format)), Self::MEANING)
                }
            }

            impl ToSchema for $id {
                fn name() -> Cow<'static, str> {
                    last_name(stringify!($id))
                }
            }
        )+
    };
}

macro_rules! as_string {
    ($($word:ty),+ $(,)?) => {
        $(
            impl Serialize for $word {
                fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                    serializer.serialize_str(self.as_str())
                }
            }

            impl<'de> Deserialize<'de> for $word {
                fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                    struct Word;

                    impl Visitor<'_> for Word {
                        type Value = $word;

                        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                            f.write_str("a string")
                        }

                        fn visit_str<E: Error>(self, text: &str) -> Result<$word, E> {
                            text.parse().map_err(|_| E::unknown_variant(text, <$word>::WORDS))
                        }
                    }

                    deserializer.deserialize_str(Word)
                }
            }

            impl PartialSchema for $word {
                fn schema() -> RefOr<Schema> {
                    let words = Self::WORDS.iter().copied();
                    described(Object::builder().schema_type(Type::String).enum_values(Some(words)), Self::MEANING)
                }
            }

            impl ToSchema for $word {
                fn name() -> Cow<'static, str> {
                    last_name(stringify!($word))
                }
            }
        )+
    };
}

every_id!(as_uuid);
every_word!(as_string);

impl Serialize for Subject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.name() {
            Some(name) => serializer.serialize_str(name),
            None => self.id().serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Subject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl PartialSchema for Subject {
    fn schema() -> RefOr<Schema> {
        let text = Object::builder().schema_type(Type::String).min_length(Some(1)).max_length(Some(MAX_SUBJECT_CHARS));
        described(text, Self::MEANING)
    }
}

impl ToSchema for Subject {
    fn name() -> Cow<'static, str> {
        last_name(stringify!(Subject))
    }
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (**self).serialize(serializer)
    }
}

/// A schema with the doc comment of its type.
fn described(schema: ObjectBuilder, comment: &str) -> RefOr<Schema> {
    schema.description(Some(comment.trim())).build().into()
}

/// `Role` of `crate::domain::Role`.
fn last_name(path: &'static str) -> Cow<'static, str> {
    path.rsplit("::").next().unwrap_or(path).trim().into()
}
