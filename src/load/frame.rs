//! Frames from the server, read as a client reads them: unknown keys are ignored.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value;

use crate::domain::ids::ParticipantId;

/// A participant, as diffs have it: without the time of the last beat, which causes no diff.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the contract's")]
pub struct Person {
    pub id: ParticipantId,
    pub user_id: Option<Box<str>>,
    pub name: Box<str>,
    pub role: Box<str>,
    pub status: Box<str>,
    pub quality: Option<Box<str>>,
    pub connections: u32,
    pub joined_at: Box<str>,
    pub state: Value,
}

/// A participant who left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the contract's")]
pub struct Leave {
    pub id: ParticipantId,
    pub reason: Reason,
}

/// Why a participant left.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the words are the contract's")]
pub enum Reason {
    Left,
    Timeout,
    Removed,
    Closed,
    #[serde(other)]
    Unknown,
}

/// A diff.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the contract's")]
pub struct Diff {
    pub seq: u64,
    pub occupancy: usize,
    pub joins: Vec<Arc<Person>>,
    pub updates: Vec<Arc<Person>>,
    pub leaves: Vec<Leave>,
}

/// A snapshot of a room.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the contract's")]
pub struct Snapshot {
    pub seq: u64,
    pub occupancy: usize,
    pub participants: Vec<Arc<Person>>,
}

/// What goes on with the frame before it: more of its lists.
#[derive(Clone, PartialEq, Debug, Default, Deserialize)]
#[serde(default)]
#[expect(missing_docs, reason = "the fields are the contract's")]
pub struct More {
    pub seq: u64,
    pub participants: Vec<Arc<Person>>,
    pub joins: Vec<Arc<Person>>,
    pub updates: Vec<Arc<Person>>,
    pub leaves: Vec<Leave>,
}

/// The part of a `welcome` beside the snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the contract's")]
pub struct Welcome {
    pub you: Option<ParticipantId>,
    pub resume: Option<String>,
    pub beat_ms: u64,
    pub grace_ms: u64,
}

/// A refusal.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[expect(missing_docs, reason = "the fields are the contract's")]
pub struct Fault {
    pub code: String,
    pub message: String,
    pub retry_after_ms: Option<u64>,
}

/// A frame from the server.
#[derive(Clone, PartialEq, Debug)]
#[expect(missing_docs, reason = "each is the frame of that type")]
pub enum Frame {
    Welcome(Welcome, Snapshot),
    State(Snapshot),
    Diff(Arc<Diff>),
    More(Arc<More>),
    Occupancy {
        seq: u64,
        occupancy: usize,
    },
    Beat {
        reference: Option<u64>,
    },
    Error(Fault),
    /// A frame without participants.
    Other,
}

/// The type of a frame, and which of the frames of its message it is.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct Head<'a> {
    /// Its `type`.
    #[serde(borrow, rename = "type")]
    pub kind: Cow<'a, str>,
    /// Its number, from 1.
    #[serde(default = "one")]
    pub chunk: usize,
    /// How many there are.
    #[serde(default = "one")]
    pub chunks: usize,
}

fn one() -> usize {
    1
}

/// The head of a frame, without decoding the rest.
///
/// # Errors
/// Where it has none.
pub fn head(text: &str) -> Result<Head<'_>, serde_json::Error> {
    serde_json::from_str(text)
}

/// Decodes a frame of this type.
///
/// # Errors
/// Where it does not have the form of its type.
pub fn decode(kind: &str, text: &str) -> Result<Frame, serde_json::Error> {
    #[derive(Deserialize)]
    struct Count {
        seq: u64,
        occupancy: usize,
    }
    #[derive(Deserialize)]
    struct Answer {
        r#ref: Option<u64>,
    }
    Ok(match kind {
        "welcome" => Frame::Welcome(serde_json::from_str(text)?, serde_json::from_str(text)?),
        "state" => Frame::State(serde_json::from_str(text)?),
        "diff" => Frame::Diff(serde_json::from_str(text)?),
        "more" => Frame::More(serde_json::from_str(text)?),
        "occupancy" => {
            let Count { seq, occupancy } = serde_json::from_str(text)?;
            Frame::Occupancy { seq, occupancy }
        }
        "beat" => Frame::Beat { reference: serde_json::from_str::<Answer>(text)?.r#ref },
        "error" => Frame::Error(serde_json::from_str(text)?),
        _ => Frame::Other,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Result<Frame, serde_json::Error> {
        super::decode(&head(text)?.kind, text)
    }

    #[test]
    fn a_frame_says_which_of_several_it_is() {
        let head = |text| head(text).map(|head| (head.chunk, head.chunks)).expect("a head");
        assert_eq!(head(r#"{"type":"beat"}"#), (1, 1));
        let more = r#"{"type":"more","seq":7,"chunk":2,"chunks":3,"participants":[]}"#;
        assert_eq!(head(more), (2, 3));
        let Frame::More(more) = decode(more).expect("a frame") else { panic!("more") };
        assert_eq!((more.seq, more.joins.len()), (7, 0));
    }

    #[test]
    fn frames_are_read_and_new_ones_borne() {
        assert_eq!(
            decode(r#"{"type":"beat","ref":7,"server_time":""}"#).expect("a beat"),
            Frame::Beat { reference: Some(7) }
        );
        assert_eq!(
            decode(r#"{"type":"occupancy","seq":3,"occupancy":812}"#).expect("a count"),
            Frame::Occupancy { seq: 3, occupancy: 812 }
        );
        assert_eq!(decode(r#"{"type":"dance","seq":"x"}"#).expect("ignored"), Frame::Other);
        let diff = r#"{"type":"diff","seq":1,"occupancy":0,"joins":[],"updates":[],"leaves":[{"id":"0190b1f4-0000-7000-8000-000000000001","reason":"vanished"}]}"#;
        let Frame::Diff(diff) = decode(diff).expect("a diff") else { panic!("a diff") };
        assert_eq!(diff.leaves[0].reason, Reason::Unknown);
    }

    #[test]
    fn a_frame_of_the_wrong_form_is_an_error() {
        for text in ["", "[]", r#"{"seq":1}"#, r#"{"type":"diff","seq":1}"#, r#"{"type":"welcome","seq":1}"#] {
            assert!(decode(text).is_err(), "{text}");
        }
    }
}
