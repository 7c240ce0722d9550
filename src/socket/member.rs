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
use crate::room::{CaughtUp, Event, Gone, Joined, Seat, Snapshot, Subscriber};

/// What may wait in the line, beside the last snapshot, before a connection is sent a fresh `state`
/// instead of what it missed.
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

/// Why a connection needs a snapshot. The greater includes the lesser.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
enum Missing {
    #[default]
    Nothing,
    /// The room fell below its detail limit.
    List,
    /// It asked, and gets the notices that run as well.
    Asked,
    /// It fell behind: also of what else it may have missed.
    All,
}

#[derive(Default)]
struct News {
    holder: Option<ParticipantId>,
    /// The last step of the room that the client knows of.
    told: u64,
    /// What it needs before it is told of any further step.
    missing: Missing,
    /// It has fallen behind when more than this waits in its line, in bytes.
    limit: usize,
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
        news.holder = joined.seat.participant();
        self.show(&mut news, &joined.snapshot, out);
        Ok(joined.seat)
    }

    /// Sends a snapshot. It may be larger than what else may wait.
    fn show(&self, news: &mut News, snapshot: &Snapshot, out: Outbox) {
        (news.told, news.missing, news.limit) = (snapshot.seq, Missing::Nothing, BEHIND_BYTES);
        if let Written::Waiting(bytes) = self.line.write(out) {
            news.limit += bytes;
            self.call();
        }
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

    /// Does some of what could not be done at once: waits for a slow client, or tells it how things
    /// stand. Calls again where more is left, so that a connection that is slow for long is still heard.
    ///
    /// # Errors
    /// How the connection ends.
    pub async fn settle(&self, seat: &Seat) -> Result<(), End> {
        if let Some(gone) = self.news.lock().gone {
            return Err(gone.into());
        }
        match self.line.flush_some(self.sockets.timings.write_timeout).await? {
            Written::Waiting(_) => self.call(),
            Written::All => self.catch_up(seat)?,
        }
        Ok(())
    }

    /// Answers `sync`, as soon as the line is free: the answer is large.
    pub fn sync(&self) {
        let mut news = self.news.lock();
        news.missing = news.missing.max(Missing::Asked);
        self.call();
    }

    /// Tells what it has to know, where it misses something.
    fn catch_up(&self, seat: &Seat) -> Result<(), End> {
        let mut news = self.news.lock();
        let missing = news.missing;
        if missing == Missing::Nothing {
            return Ok(());
        }
        let CaughtUp { snapshot, session, expires_at, notices } = seat.catch_up()?;
        let mut out = Outbox::default();
        out.spliced(&self.sockets.frames.state(&snapshot, seat.shown().as_deref()));
        if let (Missing::All, Some(session)) = (missing, session) {
            out.text(&self.sockets.frames.session(&session));
        }
        if let (Missing::All, Some(at)) = (missing, expires_at) {
            out.text(&self.sockets.frames.expiring(at));
        }
        for notice in notices {
            if missing == Missing::All || missing == Missing::Asked && notice.is_running() {
                out.text(&v1::notice(&notice));
            }
        }
        if missing != Missing::Asked {
            self.sockets.metrics.deliveries.inc_by(out.texts());
        }
        self.show(&mut news, &snapshot, out);
        Ok(())
    }
}

impl Subscriber for Member {
    fn receive(&self, events: &[Event]) {
        let frames = &self.sockets.frames;
        let mut news = self.news.lock();
        let mut out = Outbox::default();
        for event in events {
            if news.deaf || news.gone.is_some() {
                break;
            }
            match event {
                // A snapshot that was sent meanwhile includes it, or one that will be sent.
                Event::Diff(diff) if diff.seq <= news.told || news.missing > Missing::Nothing => {}
                Event::Diff(diff) => {
                    news.told = diff.seq;
                    out.shared(&frames.diff(diff));
                }
                Event::Refresh => news.missing = news.missing.max(Missing::List),
                // Comes with what it missed.
                Event::Session(_) | Event::Expiring(_) | Event::Notice(_) if news.missing == Missing::All => {}
                Event::Session(session) => out.text(&frames.session(session)),
                Event::Expiring(at) => out.text(&frames.expiring(*at)),
                Event::Notice(notice) => out.text(&v1::notice(notice)),
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
                if bytes > news.limit && news.missing < Missing::All {
                    metrics.lagged.inc();
                    news.missing = Missing::All;
                }
                self.call();
            }
        }
        if news.missing > Missing::Nothing || news.gone.is_some() {
            self.call();
        }
    }
}
