//! Frames from a client: types, and how they are decoded.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde_json::Number;
use serde_json::value::RawValue;

use crate::protocol::json::{has_nul, whole};
use crate::room::State;

/// The largest public state, in bytes of JSON as it is kept: without white space, and with characters as they are.
pub const MAX_STATE_BYTES: usize = 2048;

/// The longest sit, in seconds: a day.
pub const LONGEST_SIT_SECONDS: i32 = 24 * 3600;

/// A frame from a client.
#[derive(Clone, Debug)]
pub enum ClientFrame {
    /// The connection is alive, and so is the person unless `active` is false.
    Beat {
        /// Returned in the answer.
        reference: Option<u64>,
        /// Whether the person did something since the last beat.
        active: bool,
    },
    /// A new public state.
    Update {
        /// Returned where the state is refused.
        reference: Option<u64>,
        /// The whole state.
        state: State,
    },
    /// Starts a sit of the room.
    Sit {
        /// Returned where the sit is refused.
        reference: Option<u64>,
        /// How long it is, from 1 to [`LONGEST_SIT_SECONDS`].
        length_seconds: i32,
    },
    /// A fresh JWT, in place of the one that the connection was let in by.
    Token {
        /// Returned in the answer.
        reference: Option<u64>,
        /// The JWT.
        token: Secret,
    },
    /// Asks for a `state`.
    Sync,
    /// The person leaves, without a grace.
    Leave,
    /// Of an unknown type.
    Unknown,
}

/// A token as a client sent it. Its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// The token.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

/// Why a frame could not be understood.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{message}")]
pub struct BadFrame {
    /// The frame's `ref`, where that much could be read.
    pub reference: Option<u64>,
    /// What is wrong, for the author of the client.
    pub message: &'static str,
}

/// Reads a frame from a client.
///
/// # Errors
/// [`BadFrame`] where it is no JSON object, has no `type`, or a known field has the wrong form.
pub fn decode(text: &str) -> Result<ClientFrame, BadFrame> {
    #[derive(Deserialize)]
    struct Raw<'a> {
        #[serde(borrow)]
        r#type: Cow<'a, str>,
        #[serde(borrow)]
        r#ref: Option<&'a RawValue>,
        #[serde(borrow)]
        active: Option<&'a RawValue>,
        #[serde(borrow)]
        state: Option<&'a RawValue>,
        #[serde(borrow)]
        action: Option<&'a RawValue>,
        #[serde(borrow)]
        sit_length_seconds: Option<&'a RawValue>,
        #[serde(borrow)]
        token: Option<&'a RawValue>,
    }
    let bad = |reference, message| BadFrame { reference, message };
    let is_object = text.trim_start().starts_with('{');
    let raw = match serde_json::from_str::<Raw<'_>>(text) {
        Ok(raw) if is_object => raw,
        _ => return Err(bad(None, "a frame is a JSON object with a string 'type'")),
    };
    if !matches!(&*raw.r#type, "beat" | "update" | "sit" | "token" | "sync" | "leave") {
        return Ok(ClientFrame::Unknown);
    }
    let reference = whole_field(raw.r#ref).map_err(|()| bad(None, "'ref' must be a whole number, zero or more"))?;
    match &*raw.r#type {
        "beat" => {
            let active = field(raw.active).map_err(|()| bad(reference, "'active' must be true or false"))?;
            Ok(ClientFrame::Beat { reference, active: active.unwrap_or(true) })
        }
        "update" => {
            let state = public_state(raw.state).map_err(|message| bad(reference, message))?;
            Ok(ClientFrame::Update { reference, state })
        }
        "sit" => {
            let action: Option<Cow<'_, str>> = field(raw.action).unwrap_or_default();
            if action.as_deref() != Some("start") {
                return Err(bad(reference, "'action' must be \"start\""));
            }
            match whole_field(raw.sit_length_seconds) {
                Ok(Some(length_seconds @ 1..=LONGEST_SIT_SECONDS)) => {
                    Ok(ClientFrame::Sit { reference, length_seconds })
                }
                _ => Err(bad(reference, "'sit_length_seconds' must be a whole number from 1 to 86400")),
            }
        }
        "token" => match field::<Box<str>>(raw.token) {
            Ok(Some(token)) if !token.is_empty() => Ok(ClientFrame::Token { reference, token: Secret(token) }),
            _ => Err(bad(reference, "'token' must be a text that is not empty")),
        },
        "sync" => Ok(ClientFrame::Sync),
        _ => Ok(ClientFrame::Leave),
    }
}

/// An optional field; `null` is the same as none.
fn field<'a, T: Deserialize<'a>>(value: Option<&'a RawValue>) -> Result<Option<T>, ()> {
    value.map_or(Ok(None), |value| serde_json::from_str(value.get()).map_err(|_| ()))
}

/// The same for a whole number, also one that is written like `7.0`: JSON has one kind of numbers.
fn whole_field<T: TryFrom<i128>>(value: Option<&RawValue>) -> Result<Option<T>, ()> {
    let number = field::<Number>(value)?;
    number.map(|number| whole(&number).and_then(|whole| T::try_from(whole).ok()).ok_or(())).transpose()
}

/// Checks a public state. It is kept as a value and not as text, since JSONB has no U+0000, no half of a
/// surrogate pair and no number beyond a double.
fn public_state(value: Option<&RawValue>) -> Result<State, &'static str> {
    let text = value.ok_or("'state' is missing")?.get();
    let state: serde_json::Value =
        serde_json::from_str(text).map_err(|_| "'state' holds text or numbers that cannot be kept")?;
    if !state.is_object() {
        return Err("'state' must be an object");
    }
    if has_nul(&state) {
        return Err("'state' must not hold the character U+0000");
    }
    let kept = serde_json::value::to_raw_value(&state).map_err(|_| "'state' cannot be kept")?;
    // Many clients escape whatever is not ASCII, which makes three bytes of one.
    if kept.get().len() > MAX_STATE_BYTES {
        return Err("'state' must not be larger than 2 KiB");
    }
    Ok(State::from(kept))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_clients_are_read() {
        assert!(matches!(decode(r#"{"type":"beat"}"#), Ok(ClientFrame::Beat { reference: None, active: true })));
        assert!(matches!(
            decode(r#"{"type":"beat","ref":7,"active":false,"later":1}"#),
            Ok(ClientFrame::Beat { reference: Some(7), active: false })
        ));
        for reference in ["7.0", "7e0", "0.7e1"] {
            let beat = format!(r#"{{"type":"beat","ref":{reference}}}"#);
            assert!(matches!(decode(&beat), Ok(ClientFrame::Beat { reference: Some(7), .. })), "{beat}");
        }
        let largest = format!(r#"{{"type":"beat","ref":{}}}"#, u64::MAX);
        assert!(matches!(decode(&largest), Ok(ClientFrame::Beat { reference: Some(u64::MAX), .. })));
        assert!(matches!(decode(r#"{"type":"sync"}"#), Ok(ClientFrame::Sync)));
        assert!(matches!(decode(r#"{"type":"leave"}"#), Ok(ClientFrame::Leave)));
        assert!(matches!(decode(r#"{"type":"dance","ref":"x"}"#), Ok(ClientFrame::Unknown)));
        assert!(matches!(
            decode(r#"{"type":"sit","action":"start","sit_length_seconds":600.0,"ref":9}"#),
            Ok(ClientFrame::Sit { reference: Some(9), length_seconds: 600 })
        ));
        let Ok(frame @ ClientFrame::Token { .. }) = decode(r#"{"type":"token","ref":10,"token":"ey\u0061.b.c"}"#)
        else {
            panic!("a token")
        };
        let shown = format!("{frame:?}");
        assert!(shown.contains("10") && !shown.contains("b.c"), "{shown}");
        let ClientFrame::Token { reference: Some(10), token } = frame else { panic!("{frame:?}") };
        assert_eq!(token.as_str(), "eya.b.c");
        let Ok(ClientFrame::Update { reference: Some(8), state }) =
            decode(r#"{"type":"update","ref":8,"state":{"page": 12}}"#)
        else {
            panic!("an update")
        };
        assert_eq!(state.get(), r#"{"page":12}"#);
    }

    #[test]
    fn frames_that_cannot_be_understood_say_why_and_keep_their_ref() {
        let bad = |text: &str| decode(text).expect_err(text);
        for text in
            ["", "hello", "[]", "7", "null", "{}", r#"{"type":7}"#, r#"["beat",1,true,{}]"#, r#"{"type":"beat""#]
        {
            assert_eq!(bad(text).reference, None, "{text}");
        }
        assert_eq!(bad(r#"{"type":"beat","ref":"seven"}"#).message, "'ref' must be a whole number, zero or more");
        for reference in ["-1", "7.5", "1e30", "true"] {
            assert_eq!(bad(&format!(r#"{{"type":"beat","ref":{reference}}}"#)).reference, None, "{reference}");
        }
        assert_eq!(bad(r#"{"type":"beat","ref":3,"active":"yes"}"#).reference, Some(3));
        for state in [
            "",
            r#","state":null"#,
            r#","state":[]"#,
            r#","state":"text""#,
            r#","state":{"a":"\u0000"}"#,
            r#","state":{"\u0000":1}"#,
            r#","state":{"a":"\ud800"}"#,
            r#","state":{"a":1e999}"#,
        ] {
            assert_eq!(bad(&format!(r#"{{"type":"update","ref":4{state}}}"#)).reference, Some(4), "{state}");
        }
        for sit in [
            "",
            r#","action":"start""#,
            r#","sit_length_seconds":600"#,
            r#","action":"stop","sit_length_seconds":600"#,
            r#","action":1,"sit_length_seconds":600"#,
            r#","action":"start","sit_length_seconds":0"#,
            r#","action":"start","sit_length_seconds":86401"#,
            r#","action":"start","sit_length_seconds":1.5"#,
            r#","action":"start","sit_length_seconds":"600""#,
        ] {
            assert_eq!(bad(&format!(r#"{{"type":"sit","ref":5{sit}}}"#)).reference, Some(5), "{sit}");
        }
        for token in ["", r#","token":null"#, r#","token":"""#, r#","token":7"#, r#","token":["a"]"#] {
            assert_eq!(bad(&format!(r#"{{"type":"token","ref":6{token}}}"#)).reference, Some(6), "{token}");
        }
        let large = format!(r#"{{"type":"update","state":{{"a":"{}"}}}}"#, "x".repeat(MAX_STATE_BYTES));
        assert_eq!(bad(&large).message, "'state' must not be larger than 2 KiB");
    }

    #[test]
    fn a_state_is_measured_as_it_is_kept() {
        // {"a":"…"} is eight bytes around the text.
        let letters = (MAX_STATE_BYTES - 8) / 2;
        let update = |state: &str| decode(&format!(r#"{{"type":"update","ref":1,"state":{state}}}"#));
        for state in [
            format!(r#"{{"a":"{}"}}"#, "ж".repeat(letters)),
            format!(r#"{{"a":"{}"}}"#, "\\u0436".repeat(letters)),
            format!("{{ \"a\" : {}\"{}\" }}", " ".repeat(1000), "ж".repeat(letters)),
        ] {
            let Ok(ClientFrame::Update { state: kept, .. }) = update(&state) else { panic!("refused") };
            assert_eq!(kept.get().len(), MAX_STATE_BYTES);
        }
        for state in [
            format!(r#"{{"a":"{}"}}"#, "ж".repeat(letters + 1)),
            format!(r#"{{"a":"{}"}}"#, "\\u0436".repeat(letters + 1)),
        ] {
            assert!(update(&state).is_err());
        }
    }
}
