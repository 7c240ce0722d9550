//! A check-in: a person is here for the next hour.

use chrono::{DateTime, Utc};

use super::ids::{CheckInId, UserId};
use super::subject::Subject;
use super::words::words;

words! {
    /// Whether a check-in was checked out.
    CheckInStatus {
        /// Not checked out.
        Active = "active",
        /// Checked out.
        Inactive = "inactive",
    }
}

/// A stored check-in.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the table's, see migrations")]
pub struct CheckIn {
    pub id: CheckInId,
    pub user_id: Subject,
    pub name: Option<String>,
    pub checked_in_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub checked_out_at: Option<DateTime<Utc>>,
    pub status: CheckInStatus,
    pub extended_at: Option<DateTime<Utc>>,
    pub extension_count: i32,
}

/// Which check-ins a list has.
#[derive(Clone, Copy, Debug, Default)]
pub struct CheckInFilter {
    /// Those of this user.
    pub user: Option<UserId>,
    /// Those that were checked in then or later.
    pub from: Option<DateTime<Utc>>,
    /// Those that were checked in before.
    pub to: Option<DateTime<Utc>>,
}

/// A check-in that runs now.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are those of active_check_ins, see migrations")]
pub struct ActiveCheckIn {
    pub id: CheckInId,
    pub user_id: Subject,
    pub name: Option<String>,
    pub checked_in_at: DateTime<Utc>,
    pub expires_at: DateTime<Utc>,
    pub minutes_remaining: i32,
    pub extended_at: Option<DateTime<Utc>>,
    pub extension_count: i32,
}

/// How many check-ins there are of which kind.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the contract's")]
pub struct CheckInStats {
    pub active: i64,
    pub expired_but_marked_active: i64,
    pub checked_out: i64,
    pub total: i64,
    pub avg_duration_minutes: Option<f64>,
}

/// The result of a check-out.
#[derive(Clone, Debug)]
pub enum CheckOut {
    /// It is over now.
    Done(CheckIn),
    /// It was over before.
    Already,
    /// There is no such check-in that the viewer may see.
    Unknown,
}
