//! Domain values in SQL: ids are `uuid`, words `text`, documents `jsonb`; and rows that are read as values.

use serde_json::value::RawValue;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef};
use sqlx::types::Json;
use sqlx::{Decode, Encode, Postgres, Type};
use uuid::Uuid;

use crate::domain::document::Document;
use crate::domain::subject::Subject;
use crate::domain::{every_id, every_word};

/// Reads a value from a row whose columns are named like its fields; `field as Json` reads `jsonb`, `field by read`
/// calls `read` with the row.
macro_rules! from_row {
    ($value:ty { $($field:ident $(as $form:ident)? $(by $read:ident)?),+ $(,)? }) => {
        impl sqlx::FromRow<'_, sqlx::postgres::PgRow> for $value {
            fn from_row(row: &sqlx::postgres::PgRow) -> Result<Self, sqlx::Error> {
                Ok(Self { $($field: from_row!(@ row, $field $(as $form)? $(by $read)?)),+ })
            }
        }
    };
    (@ $row:ident, $field:ident) => { sqlx::Row::try_get($row, stringify!($field))? };
    (@ $row:ident, $field:ident as $form:ident) => {
        sqlx::Row::try_get::<$form<_>, _>($row, stringify!($field))?.0
    };
    (@ $row:ident, $field:ident by $read:ident) => { $read($row)? };
}

macro_rules! as_uuid {
    ($($id:ty),+ $(,)?) => {
        $(
            impl Type<Postgres> for $id {
                fn type_info() -> PgTypeInfo {
                    <Uuid as Type<Postgres>>::type_info()
                }

                fn compatible(found: &PgTypeInfo) -> bool {
                    <Uuid as Type<Postgres>>::compatible(found)
                }
            }

            impl PgHasArrayType for $id {
                fn array_type_info() -> PgTypeInfo {
                    Uuid::array_type_info()
                }

                fn array_compatible(found: &PgTypeInfo) -> bool {
                    Uuid::array_compatible(found)
                }
            }

            impl Encode<'_, Postgres> for $id {
                fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                    Encode::<Postgres>::encode_by_ref(&self.0, buffer)
                }

                fn size_hint(&self) -> usize {
                    Encode::<Postgres>::size_hint(&self.0)
                }
            }

            impl Decode<'_, Postgres> for $id {
                fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
                    <Uuid as Decode<Postgres>>::decode(value).map(Self)
                }
            }
        )+
    };
}

macro_rules! as_text {
    ($($word:ty),+ $(,)?) => {
        $(
            impl Type<Postgres> for $word {
                fn type_info() -> PgTypeInfo {
                    <str as Type<Postgres>>::type_info()
                }

                fn compatible(found: &PgTypeInfo) -> bool {
                    <str as Type<Postgres>>::compatible(found)
                }
            }

            impl PgHasArrayType for $word {
                fn array_type_info() -> PgTypeInfo {
                    <&str>::array_type_info()
                }

                fn array_compatible(found: &PgTypeInfo) -> bool {
                    <&str>::array_compatible(found)
                }
            }

            impl Encode<'_, Postgres> for $word {
                fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
                    Encode::<Postgres>::encode_by_ref(&self.as_str(), buffer)
                }

                fn size_hint(&self) -> usize {
                    self.as_str().len()
                }
            }

            impl Decode<'_, Postgres> for $word {
                fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
                    let text = <&str as Decode<Postgres>>::decode(value)?;
                    text.parse().map_err(|_| unknown(stringify!($word), text))
                }
            }
        )+
    };
}

every_id!(as_uuid);
every_word!(as_text);

fn unknown(set: &str, word: &str) -> BoxDynError {
    let set = set.rsplit("::").next().unwrap_or(set).trim();
    format!("the database holds '{word}', which is no known {set}").into()
}

/// What `lastseen.subject_of()` gives for the id of a user. A column of ids is refused: it would show another user than
/// the app knows.
impl Type<Postgres> for Subject {
    fn type_info() -> PgTypeInfo {
        <str as Type<Postgres>>::type_info()
    }

    fn compatible(found: &PgTypeInfo) -> bool {
        <str as Type<Postgres>>::compatible(found)
    }
}

impl PgHasArrayType for Subject {
    fn array_type_info() -> PgTypeInfo {
        <&str>::array_type_info()
    }

    fn array_compatible(found: &PgTypeInfo) -> bool {
        <&str>::array_compatible(found)
    }
}

impl Decode<'_, Postgres> for Subject {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        Ok(<&str as Decode<Postgres>>::decode(value)?.parse()?)
    }
}

impl Type<Postgres> for Document {
    fn type_info() -> PgTypeInfo {
        <Json<&RawValue> as Type<Postgres>>::type_info()
    }

    fn compatible(found: &PgTypeInfo) -> bool {
        <Json<&RawValue> as Type<Postgres>>::compatible(found)
    }
}

impl Encode<'_, Postgres> for Document {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        let text: &RawValue = self;
        Encode::<Postgres>::encode_by_ref(&Json(text), buffer)
    }
}

impl Decode<'_, Postgres> for Document {
    fn decode(value: PgValueRef<'_>) -> Result<Self, BoxDynError> {
        <Json<Box<RawValue>> as Decode<Postgres>>::decode(value).map(|Json(json)| json.into())
    }
}
