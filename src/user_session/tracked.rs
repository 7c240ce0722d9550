//! What is known of one user session that has connections to this server.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering};

use super::wire::Wire;
use crate::clock::Moment;
use crate::domain::ids::UserId;
use crate::domain::participant::Quality;
use crate::domain::user_session::{ClientSession, Device};

/// The session and its user. Where two users use the same id, the database decides to which user it belongs.
pub type Key = (ClientSession, UserId);

/// A handful of atomics that the connections of a session store to, without a lock.
#[derive(Debug)]
pub struct Tracked {
    pub key: Key,
    pub device: Device,
    /// When the first of the connections was opened.
    pub began: Moment,
    /// The database has the row.
    pub opened: AtomicBool,
    /// The session has ended, or never was this user's: nothing is noted any more.
    pub void: AtomicBool,
    /// Stands in the queue of the next flush.
    pub queued: AtomicBool,
    /// Activity since the last flush.
    pub activity: AtomicU32,
    pub seen: Stamp,
    pub active: Stamp,
    /// When the last WebSocket was opened.
    pub socket_opened: Stamp,
    /// The last connection that went was lost.
    lost: AtomicBool,
    /// Of the last Ping that was answered, or was not: one more than its place in [`Quality::ALL`].
    quality: AtomicU8,
    connections: [AtomicU32; 2],
}

impl Tracked {
    pub fn new(key: Key, device: Device, now: Moment) -> Self {
        Self {
            key,
            device,
            began: now,
            opened: AtomicBool::new(false),
            void: AtomicBool::new(false),
            queued: AtomicBool::new(false),
            activity: AtomicU32::new(0),
            seen: Stamp::default(),
            active: Stamp::default(),
            socket_opened: Stamp::default(),
            lost: AtomicBool::new(false),
            quality: AtomicU8::new(0),
            connections: Default::default(),
        }
    }

    /// A connection is opened, which is activity.
    pub fn connect(&self, wire: Wire, now: Moment) {
        self.connections[wire as usize].fetch_add(1, Ordering::AcqRel);
        self.found();
        self.seen.note(now);
        self.active.note(now);
        if wire == Wire::Socket {
            self.socket_opened.note(now);
        }
    }

    /// A connection goes; `lost` where it was not closed in good order.
    pub fn disconnect(&self, wire: Wire, lost: bool) {
        self.lost.store(lost, Ordering::Relaxed);
        self.connections[wire as usize].fetch_sub(1, Ordering::AcqRel);
    }

    /// No connection is waited for.
    pub fn found(&self) {
        self.lost.store(false, Ordering::Relaxed);
    }

    pub fn activate(&self, now: Moment) {
        self.active.note(now);
        self.activity.fetch_add(1, Ordering::Relaxed);
        self.seen.note(now);
    }

    pub fn set_quality(&self, quality: Quality) {
        self.quality.store(quality as u8 + 1, Ordering::Relaxed);
    }

    pub fn connections(&self, wire: Wire) -> u32 {
        self.connections[wire as usize].load(Ordering::Acquire)
    }

    pub fn is_connected(&self) -> bool {
        self.connections(Wire::Socket) + self.connections(Wire::Stream) > 0
    }

    /// Without a connection, the last of which was lost.
    pub fn is_lost(&self) -> bool {
        !self.is_connected() && self.lost.load(Ordering::Relaxed)
    }

    pub fn quality(&self) -> Option<Quality> {
        Quality::ALL.get(usize::from(self.quality.load(Ordering::Relaxed)).checked_sub(1)?).copied()
    }
}

/// When something last happened, until the database has it. It is not written twice: written as an age it
/// would come out a little later each time.
#[derive(Debug, Default)]
pub struct Stamp(AtomicU64);

impl Stamp {
    /// Notes a moment; the newest counts.
    pub fn note(&self, moment: Moment) {
        self.0.fetch_max(moment.as_millis(), Ordering::Relaxed);
    }

    /// Takes it out.
    pub fn take(&self) -> Option<Moment> {
        Some(self.0.swap(0, Ordering::Relaxed)).filter(|millis| *millis > 0).map(Moment::from_millis)
    }
}
