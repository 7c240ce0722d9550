//! A connection as its room knows it: who is told what happens, by whoever tells it.
//!
//! News goes to the socket at once, without waking the connection's task: in a large room that is most
//! of what a server does. The task is called where more is needed than writing.

use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use futures_util::task::AtomicWaker;
use parking_lot::Mutex;

use super::Sockets;
use super::end::End;
use super::frame::Outbox;
use super::line::{Line, Written};
use crate::ids::ParticipantId;
use crate::protocol::v1;
use crate::room::{CaughtUp, Event, Gone, Joined, Listener, Seat, SitNews, Snapshot, Text};

/// What may wait in the line before a connection is sent a fresh `state` instead of what it missed.
const BEHIND_BYTES: usize = 32 * 1024;

/// A connection that a room tells what happens.
pub struct Member {
    line: Line,
    sockets: Arc<Sockets>,
    /// Locked before the room and the line.
    news: Mutex<News>,
    called: AtomicBool,
    task: AtomicWaker,
}

#[derive(Default)]
struct News {
    holder: Option<ParticipantId>,
    /// The last step of the room that the client knows of.
    told: u64,
    /// It missed something, or needs a snapshot for another reason, and hears of nothing until it has one.
    behind: bool,
    /// The room is over for it.
    gone: Option<Gone>,
    /// It ends: nothing may follow its last frame.
    deaf: bool,
}

impl fmt::Debug for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Member").field("line", &self.line).finish_non_exhaustive()
    }
}

impl Member {
    /// Nobody yet: nothing may be told to it before [`Member::greet`].
    pub fn new(line: Line, sockets: Arc<Sockets>) -> Self {
        Self { line, sockets, news: Mutex::default(), called: AtomicBool::new(false), task: AtomicWaker::new() }
    }

    /// Its line.
    pub fn line(&self) -> &Line {
        &self.line
    }

    /// Joins by `enter` and sends the `greeting`. What happens meanwhile is told after it.
    ///
    /// # Errors
    /// Those of `enter`.
    pub fn greet<E>(
        &self,
        enter: impl FnOnce() -> Result<Joined, E>,
        greeting: impl FnOnce(&Joined, &mut Outbox),
    ) -> Result<Seat, E> {
        let mut news = self.news.lock();
        let joined = enter()?;
        let mut out = Outbox::default();
        greeting(&joined, &mut out);
        self.say(out);
        (news.holder, news.told) = (joined.seat.participant(), joined.snapshot.seq);
        Ok(joined.seat)
    }

    /// Writes frames of the connection's own. What the socket does not take is for [`Member::settle`].
    pub fn say(&self, out: Outbox) {
        if let Written::Waiting(_) = self.line.write(out) {
            self.call();
        }
    }

    /// Says goodbye. The seat was given back before.
    pub async fn farewell(&self, end: &End) {
        self.news.lock().deaf = true;
        self.line.farewell(end).await;
    }

    fn call(&self) {
        self.called.store(true, Ordering::Release);
        self.task.wake();
    }

    /// Waits until there is something to settle. For the connection's task alone.
    pub async fn called(&self) {
        poll_fn(|cx| {
            self.task.register(cx.waker());
            if self.called.swap(false, Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }

    /// Does what could not be done at once: waits for a slow client, and tells it how things stand.
    ///
    /// # Errors
    /// How the connection ends.
    pub async fn settle(&self, seat: &Seat) -> Result<(), End> {
        loop {
            if let Some(gone) = self.news.lock().gone {
                return Err(gone.into());
            }
            self.line.flush(self.sockets.timings.write_timeout).await?;
            if !self.news.lock().behind {
                return Ok(());
            }
            self.catch_up(seat)?;
        }
    }

    /// Tells all that there is to know instead of what was missed.
    fn catch_up(&self, seat: &Seat) -> Result<(), End> {
        let mut news = self.news.lock();
        let CaughtUp { snapshot, session, expires_at, sit } = seat.catch_up()?;
        (news.told, news.behind) = (snapshot.seq, false);
        let mut out = Outbox::default();
        out.text(&self.state(&snapshot, seat));
        if let Some(session) = session {
            out.text(&session);
        }
        if let Some(at) = expires_at {
            out.text(&self.sockets.frames.expiring(at));
        }
        if let Some(sit) = sit {
            out.text(&v1::sit(sit));
        }
        self.sockets.metrics.deliveries.inc_by(out.texts());
        self.say(out);
        Ok(())
    }

    /// Answers `sync`.
    ///
    /// # Errors
    /// That the room is over for this connection.
    pub fn send_state(&self, seat: &Seat) -> Result<(), End> {
        let mut news = self.news.lock();
        let CaughtUp { snapshot, sit, .. } = seat.catch_up()?;
        news.told = snapshot.seq;
        let mut out = Outbox::default();
        out.text(&self.state(&snapshot, seat));
        if let Some(sit @ SitNews::Runs(_)) = sit {
            out.text(&v1::sit(sit));
        }
        self.say(out);
        Ok(())
    }

    fn state(&self, snapshot: &Snapshot, seat: &Seat) -> Text {
        self.sockets.frames.state(snapshot, seat.shown().as_deref())
    }
}

impl Listener for Member {
    fn tell(&self, events: &[Event]) {
        let frames = &self.sockets.frames;
        let mut news = self.news.lock();
        let mut out = Outbox::default();
        for event in events {
            if news.deaf || news.gone.is_some() {
                break;
            }
            match event {
                // A snapshot that was sent meanwhile includes it, or one that will be sent.
                Event::Changed(changed) if changed.seq <= news.told || news.behind => {}
                Event::Changed(changed) => {
                    news.told = changed.seq;
                    out.text(&changed.text.get(|| frames.changed(changed)));
                }
                Event::Refresh => news.behind = true,
                Event::Session(frame) => out.text(frame),
                Event::Expiring(at) => out.text(&frames.expiring(*at)),
                Event::Sit(sit) => out.text(&v1::sit(**sit)),
                Event::Removed(id) if news.holder == Some(*id) => news.gone = Some(Gone::Removed),
                Event::Removed(_) => {}
                Event::Closed(reason) => news.gone = Some(Gone::Closed(*reason)),
                Event::Draining => news.gone = Some(Gone::Draining),
            }
        }
        if !out.is_empty() {
            let metrics = &self.sockets.metrics;
            metrics.deliveries.inc_by(out.texts());
            if let Written::Waiting(bytes) = self.line.write(out) {
                if bytes > BEHIND_BYTES && !news.behind {
                    metrics.lagged.inc();
                    news.behind = true;
                }
                self.call();
            }
        }
        if news.behind || news.gone.is_some() {
            self.call();
        }
    }
}
