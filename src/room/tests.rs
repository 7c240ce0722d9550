//! Rooms without sockets and database: a file per behaviour.

mod census;
mod client;
mod connections;
mod delivery;
mod detail_limit;
mod diffs;
mod ends;
mod expiry;
mod memory;
mod observers;
mod places;
mod random;
mod restarts;
mod restore;
mod world;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use proptest::prelude::*;
use serde_json::value::RawValue;
use tokio::sync::broadcast;
use tokio::sync::broadcast::error::TryRecvError;

use super::publisher::{LARGE, NEWER, back_to_people};
use super::registry::CLOSED_FOR;
use super::*;
use crate::clock::{Clock, Moment};
use crate::domain::idle::{IdleCounts, IdleRule};
use crate::domain::ids::{ParticipantId, SessionId, UserId};
use crate::domain::participant::{LeaveReason, Quality, Status};
use crate::domain::reading_session::{CloseReason, ReadingSession};
use crate::domain::role::Role;

use self::client::*;
use self::world::*;
