//! What a room shows of a person.

use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::liveness::Liveness;
use super::state::State;
use crate::domain::ids::ParticipantId;
use crate::domain::participant::{Quality, Status};
use crate::domain::role::Role;
use crate::domain::subject::Subject;

/// A person as the others see it. A value that is never changed in place: a change makes a new one,
/// so that snapshots and diffs can share it without a copy and without a lock.
#[derive(Clone, Debug)]
pub struct Participant {
    /// The person in this session.
    pub id: ParticipantId,
    /// Its account, `None` for a guest.
    pub user_id: Option<Subject>,
    /// Display name, 1 to 80 characters.
    pub name: Arc<str>,
    /// What it may do.
    pub role: Role,
    /// Whether it is there.
    pub status: Status,
    /// How well it is connected; `None` before the first Pong and without a connection.
    pub quality: Option<Quality>,
    /// Open connections (tabs, devices).
    pub connections: u32,
    /// When it came in, this time.
    pub joined_at: DateTime<Utc>,
    /// Its public state, a JSON object.
    pub state: State,
    /// When it was last seen: read here at the moment of encoding.
    pub liveness: Arc<Liveness>,
}
