//! Ids and words in SQL: `uuid` and `text`.

use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArgumentBuffer, PgHasArrayType, PgTypeInfo, PgValueRef};
use sqlx::{Decode, Encode, Postgres, Type};
use uuid::Uuid;

use crate::domain::{every_id, every_word};

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
    format!("the database holds '{word}', which is no {set} that this program knows").into()
}
