//! Extractors of the handlers, with refusals of the protocol where something is missing or not valid.

use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, Uri, header};
use chrono::{DateTime, Datelike, Utc};
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use uuid::Uuid;

use crate::app::App;
use crate::domain::ids::{CheckInId, PartnershipId, SessionId, SimulatorId, SitId, UserId};
use crate::domain::subject::Subject;
use crate::domain::user_session::ClientSession;
use crate::identity::Caller;
use crate::identity::client_address::{Network, client_address};
use crate::protocol::name::short_text;
use crate::protocol::{Code, FieldError, Refusal, json};
use crate::socket::upgrade::{Peer, bearer};
use crate::store::Store;

/// The caller of a request. A call that changes something counts for it, so that no call is without a limit.
impl FromRequestParts<App> for Caller {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let named = parts.headers.contains_key(header::AUTHORIZATION);
        let caller = match bearer(&parts.headers) {
            None if named => {
                return Err(Refusal::new(
                    Code::Unauthenticated,
                    "The Authorization header must be 'Bearer' and a token.",
                ));
            }
            token => app.keys.caller(token).await?,
        };
        if !parts.method.is_safe() {
            let Address(address) = Address::from_request_parts(parts, app).await?;
            app.rates.write(&caller, Network::of(address))?;
        }
        Ok(caller)
    }
}

/// The client's address, read through trusted proxies.
pub struct Address(pub std::net::IpAddr);

impl FromRequestParts<App> for Address {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let peer = parts.extensions.get::<Peer>().ok_or(Code::Internal)?;
        Ok(Self(client_address(peer.0.ip(), &parts.headers, &app.trusted_proxies)))
    }
}

/// Ids in the path. One that is no UUID names nothing, and is answered with `not_found`.
pub struct Ids<T>(pub T);

impl<T: FromIds> FromRequestParts<App> for Ids<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let Path(segments) =
            Path::<Vec<(String, String)>>::from_request_parts(parts, app).await.map_err(|_| Code::NotFound)?;
        T::from_ids(&segments).map(Self)
    }
}

/// A type that is made of the ids in a path.
pub trait FromIds: Sized {
    /// Reads the ids.
    ///
    /// # Errors
    /// The refusal for a thing that does not exist.
    fn from_ids(segments: &[(String, String)]) -> Result<Self, Refusal>;
}

impl FromIds for SessionId {
    fn from_ids(segments: &[(String, String)]) -> Result<Self, Refusal> {
        segment(segments, 0, Code::SessionNotFound).map(Self)
    }
}

impl FromIds for ClientSession {
    fn from_ids(segments: &[(String, String)]) -> Result<Self, Refusal> {
        let id = segments.first().and_then(|(_, text)| Self::new(text).ok());
        id.ok_or_else(|| Code::UserSessionNotFound.into())
    }
}

impl FromIds for Subject {
    fn from_ids(segments: &[(String, String)]) -> Result<Self, Refusal> {
        let user = segments.first().and_then(|(_, text)| text.parse().ok());
        user.ok_or_else(|| Code::NotFound.into())
    }
}

macro_rules! ids_of_things {
    ($($id:ty: $missing:expr),+) => {$(
        impl FromIds for $id {
            fn from_ids(segments: &[(String, String)]) -> Result<Self, Refusal> {
                segment(segments, 0, $missing).map(Self)
            }
        }
    )+};
}

ids_of_things!(
    CheckInId: Code::CheckInNotFound,
    PartnershipId: Code::PartnershipNotFound,
    SitId: Code::SitNotFound,
    SimulatorId: Code::NotFound
);

impl<Second: std::convert::From<Uuid>> FromIds for (SessionId, Second) {
    fn from_ids(segments: &[(String, String)]) -> Result<Self, Refusal> {
        let session = segment(segments, 0, Code::SessionNotFound)?;
        Ok((SessionId(session), segment(segments, 1, Code::NotFound)?.into()))
    }
}

fn segment(segments: &[(String, String)], index: usize, missing: Code) -> Result<Uuid, Refusal> {
    segments.get(index).and_then(|(_, text)| Uuid::parse_str(text).ok()).ok_or_else(|| missing.into())
}

/// A JSON body. Unknown keys, wrong types and invalid JSON are refused with the field that they concern.
pub struct Body<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let is_json = is_json(request.headers());
        let bytes = Bytes::from_request(request, state).await.map_err(|rejection| match rejection.status() {
            StatusCode::PAYLOAD_TOO_LARGE => Refusal::from(Code::PayloadTooLarge),
            _ => Refusal::new(Code::BadRequest, "The body could not be read."),
        })?;
        // A call whose fields are all optional may have no body.
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        if !bytes.is_empty() && !is_json {
            return Err(Refusal::invalid("body", "must be JSON, with Content-Type: application/json"));
        }
        // serde would accept a list as the fields in their order.
        if text.trim_ascii_start().first() != Some(&b'{') {
            return Err(Refusal::invalid("body", "must be a JSON object"));
        }
        let mut deserializer = serde_json::Deserializer::from_slice(text);
        let body = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
            let path = error.path().to_string();
            let message = error.inner().to_string();
            // Truncated or invalid JSON outside of any field concerns no field.
            let whole = path == "." || path == "?" || error.inner().is_eof();
            let field = unknown_field(&message).unwrap_or(if whole { "body" } else { &path });
            Refusal::invalid(field, without_place(&message))
        })?;
        deserializer.end().map_err(|_| Refusal::invalid("body", "must be one JSON object and nothing else"))?;
        Ok(Self(body))
    }
}

/// A whole number; also one written like `3.0`, which is the same number in JSON.
///
/// # Errors
/// Where it is no number, has a fraction, or does not fit.
pub fn whole<'de, T: TryFrom<i128>, D: Deserializer<'de>>(deserializer: D) -> Result<T, D::Error> {
    whole_of(&serde_json::Number::deserialize(deserializer)?)
}

/// The same, or null.
///
/// # Errors
/// As [`whole`].
pub fn whole_or_null<'de, T: TryFrom<i128>, D: Deserializer<'de>>(deserializer: D) -> Result<Option<T>, D::Error> {
    Option::<serde_json::Number>::deserialize(deserializer)?.as_ref().map(whole_of).transpose()
}

fn whole_of<T: TryFrom<i128>, E: Error>(number: &serde_json::Number) -> Result<T, E> {
    let whole = json::whole(number).ok_or_else(|| E::custom("must be a whole number"))?;
    T::try_from(whole).map_err(|_| E::custom("is too large or too small"))
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(';').next().is_some_and(|kind| {
            ["application/json", "application/merge-patch+json"]
                .iter()
                .any(|json| kind.trim().eq_ignore_ascii_case(json))
        })
    })
}

fn unknown_field(message: &str) -> Option<&str> {
    message.strip_prefix("unknown field `")?.split_once('`').map(|(field, _)| field)
}

/// Messages of serde_json end with line and column.
fn without_place(message: &str) -> &str {
    message.rsplit_once(" at line ").map_or(message, |(message, _)| message)
}

/// What is shown of unknown keys of a query: so many, and so many characters of each.
const MOST_KEYS: usize = 20;
const MAX_KEY_CHARS: usize = 64;

/// The longest name of a time zone, in characters.
const MAX_ZONE_CHARS: usize = 64;

/// The key `time_zone` of a query: UTC unless said.
///
/// # Errors
/// `invalid_request` where there is no such time zone; `unavailable`.
pub async fn time_zone(store: &Store, name: Option<String>) -> Result<String, Refusal> {
    let Some(name) = name else { return Ok("UTC".to_owned()) };
    let name = short_text("time_zone", &name, MAX_ZONE_CHARS)?;
    match store.is_time_zone(&name).await? {
        true => Ok(name),
        false => Err(Refusal::invalid("time_zone", "must be the name of a time zone, like Europe/Vienna")),
    }
}

/// The query of a call; invalid values are refused with their key, and so is each key that the call does not have: a
/// filter that is misspelt would filter nothing.
pub struct Filter<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Filter<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        let known = keys::<T>();
        let given: Vec<(String, String)> = query(&parts.uri)?;
        let unknown: Vec<&str> = given.iter().map(|(key, _)| key.as_str()).filter(|key| !known.contains(key)).collect();
        if unknown.is_empty() { query(&parts.uri).map(Self) } else { Err(unknown_keys(&unknown, known)) }
    }
}

/// The query of a stream of events, of which unknown keys are ignored, as on the WebSocket: libraries add some of
/// their own (`lastEventId`).
pub struct StreamQuery<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for StreamQuery<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        query(&parts.uri).map(Self)
    }
}

fn query<T: DeserializeOwned>(uri: &Uri) -> Result<T, Refusal> {
    Query::try_from_uri(uri)
        .map(|Query(query)| query)
        .map_err(|rejection| Refusal::invalid("query", rejection.to_string()))
}

/// The keys of a query: the fields of its type, which its `Deserialize` shows to whatever deserializes it.
fn keys<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Keys<'a>(&'a mut &'static [&'static str]);

    impl<'de> Deserializer<'de> for Keys<'_> {
        type Error = serde::de::value::Error;

        fn deserialize_struct<V: Visitor<'de>>(
            self,
            _: &'static str,
            fields: &'static [&'static str],
            visitor: V,
        ) -> Result<V::Value, Self::Error> {
            *self.0 = fields;
            self.deserialize_any(visitor)
        }

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
            Err(Self::Error::custom("there are no values"))
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
            newtype_struct seq tuple tuple_struct map enum identifier ignored_any
        }
    }

    let mut keys: &[&str] = &[];
    let _ = T::deserialize(Keys(&mut keys));
    keys
}

/// Names each of these keys, cut, and those that there are.
fn unknown_keys(unknown: &[&str], known: &[&str]) -> Refusal {
    let cut = |key: &str| key.chars().take(MAX_KEY_CHARS).collect::<String>();
    let message = format!("is no key of this query, which has {}", known.join(", "));
    let errors = unknown.iter().map(|key| FieldError { field: cut(key), message: message.clone() });
    let refusal = Refusal::invalid(&cut(unknown.first().copied().unwrap_or_default()), message.clone());
    Refusal { errors: errors.take(MOST_KEYS).collect(), ..refusal }
}

/// A key of the query, parsed by its `FromStr`.
///
/// # Errors
/// `invalid_request` that names the key.
pub fn parse<T: FromStr>(key: &str, text: Option<&str>, form: &str) -> Result<Option<T>, Refusal> {
    text.map(|text| text.parse().map_err(|_| Refusal::invalid(key, format!("must be {form}")))).transpose()
}

/// The user of the key `user_id` of the query, by the subject: one that is a UUID is the id itself.
///
/// # Errors
/// `invalid_request` where it is no subject.
pub fn user(subject: Option<&str>) -> Result<Option<UserId>, Refusal> {
    let user = subject.map(str::parse::<Subject>).transpose();
    Ok(user.map_err(|error| Refusal::invalid("user_id", error.to_string()))?.map(|user| user.id()))
}

/// A time in the query, as in RFC 3339.
///
/// # Errors
/// `invalid_request` that names the key.
pub fn time(key: &str, text: Option<&str>) -> Result<Option<DateTime<Utc>>, Refusal> {
    let read = |text: &str| {
        let time = DateTime::parse_from_rfc3339(text).ok()?.with_timezone(&Utc);
        // Rows have no others, and PostgreSQL cannot store all that can be written.
        (1..=9999).contains(&time.year()).then_some(time)
    };
    text.map(|text| read(text).ok_or_else(|| Refusal::invalid(key, "must be a time like 2026-11-21T09:30:00Z")))
        .transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Deserialize, PartialEq, Debug)]
    struct Listing {
        status: Option<String>,
        #[serde(rename = "user_id")]
        user: Option<String>,
    }

    #[tokio::test]
    async fn a_query_has_the_keys_of_its_type_and_no_others() {
        let read = async |query: &str| {
            let request =
                Request::builder().uri(format!("/?{query}")).body(axum::body::Body::empty()).expect("a request");
            Filter::<Listing>::from_request_parts(&mut request.into_parts().0, &()).await.map(|Filter(listing)| listing)
        };
        let (status, user) = (Some("active".to_owned()), Some("una".to_owned()));
        assert_eq!(read("status=active&user_id=una").await, Ok(Listing { status, user }));
        assert_eq!(read("").await, Ok(Listing { status: None, user: None }));
        let long = "x".repeat(64);
        let refusal = read(&format!("stauts=active&status=idle&{long}xx=1&user=1")).await.expect_err("refused");
        let fields: Vec<_> = refusal.errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!((refusal.code, fields), (Code::InvalidRequest, vec!["stauts", long.as_str(), "user"]));
        assert_eq!(refusal.message, "stauts: is no key of this query, which has status, user_id");
        assert_eq!(read("status=a&status=b").await.expect_err("refused").errors[0].field, "query");
    }
}
