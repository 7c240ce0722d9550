//! A sit: a timed sitting of one person.

use chrono::{DateTime, NaiveDate, Utc};

use super::ids::{PartnershipId, RoomSitId, SitId, UserId};
use super::subject::Subject;
use super::words::words;

words! {
    /// The status of a sit.
    SitStatus {
        /// Not completed yet.
        Open = "open",
        /// Completed.
        Completed = "completed",
        /// Not completed within its length and the grace.
        Abandoned = "abandoned",
    }
}

/// A stored sit.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the table's, see migrations")]
pub struct Sit {
    pub id: SitId,
    pub user_id: Subject,
    pub partnership_id: Option<PartnershipId>,
    pub room_sit_id: Option<RoomSitId>,
    pub sit_length_seconds: i32,
    pub started_at: DateTime<Utc>,
    pub completed_at: Option<DateTime<Utc>>,
    pub status: SitStatus,
    pub created_at: DateTime<Utc>,
    /// The time that was really sat; `None` where it was not completed.
    pub duration_seconds: Option<i64>,
}

/// The sits of one person in one week.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are those of sit_weeks, see migrations")]
pub struct SitWeek {
    pub user_id: Subject,
    pub iso_week: String,
    pub week_starts_on: NaiveDate,
    pub sits_completed: i64,
    pub seconds: i64,
}

/// The filter of a list of sits.
#[derive(Clone, Copy, Debug, Default)]
pub struct SitFilter {
    /// Sits of this partnership; without it, of a user, the user's own.
    pub partnership: Option<PartnershipId>,
    /// Only completed sits, or only others: open and abandoned ones.
    pub completed: Option<bool>,
    /// Only sits of this status.
    pub status: Option<SitStatus>,
}

/// How a sit is to be completed.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Completing {
    /// Also before its length is over.
    pub early: bool,
    /// As of then, which has to be its end; without it now.
    pub at: Option<DateTime<Utc>>,
}

/// The result of completing a sit.
#[derive(Clone, Debug)]
pub enum Completion {
    /// It is completed now.
    Done(Sit),
    /// It was over before.
    Over(SitStatus),
    /// Its length is not over.
    TooEarly,
    /// The time that was given is not this, its end.
    NotItsEnd(DateTime<Utc>),
    /// The viewer has no such sit.
    Unknown,
}

/// A sit of a room that is over, to be recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EndedRoomSit {
    /// Which one.
    pub id: RoomSitId,
    /// The users who were present at its end, and since when.
    pub present: Vec<(UserId, DateTime<Utc>)>,
}
