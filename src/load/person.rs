//! One person, as a browser would play it: joins, beats, is cut off and comes back, leaves.

mod receive;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use super::chunks::Assembler;
use super::disagreement::{Disagreement, Kind};
use super::fold::View;
use super::frame::{Frame, Snapshot, Welcome};
use super::habits::{Act, Habits};
use super::plan::Post;
use super::room::{Room, Seat};
use super::run::{Phase, Run};
use super::socket::{self, End, Goodbye, JoinRequest, Socket};
use super::whereabouts::Whereabouts;

/// The timeout of an attempt to join, as in the browser client.
const WELCOME: Duration = Duration::from_secs(15);

/// Plays a person from when it is due until the run is over.
pub async fn live(run: Arc<Run>, room: Arc<Room>, post: Post, due: Instant) {
    let chance = SmallRng::seed_from_u64(run.plan.seed ^ (post.number as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let phase = run.phase.subscribe();
    let mut person = Person { habits: run.habits, run, room, post, chance, phase, resume: None, times: 0 };
    person.play(due).await;
}

struct Person {
    run: Arc<Run>,
    room: Arc<Room>,
    post: Post,
    habits: Habits,
    chance: SmallRng,
    phase: watch::Receiver<Phase>,
    /// From the last welcome, until the person leaves for good.
    resume: Option<String>,
    /// How many people have had this place before.
    times: u32,
}

/// Why a connection ended.
enum Out {
    /// The plan cut it; the person comes back after this time.
    Cut(Duration),
    /// The person leaves, and another one comes in its place.
    Left,
    /// The server or the network ended it.
    Broke(End),
    /// The run is over.
    Over,
}

/// A person who is connected.
struct Stay {
    socket: Socket,
    seat: Arc<Seat>,
    assembler: Assembler,
    /// When the last frame was read.
    last_frame: Instant,
    /// When the last beat was due that was answered: the server had the connection then. What is read may have been
    /// sent long before, and by a server that has ended the connection since.
    stood: Instant,
    beat: Duration,
    next_beat: Instant,
    beats: u64,
    act: Option<(Instant, Act)>,
    /// Nothing is read before this time.
    rests: Option<Instant>,
    /// A `sync` has not been answered yet.
    syncing: bool,
}

impl Person {
    async fn play(&mut self, mut due: Instant) {
        loop {
            let Some(stay) = Box::pin(self.come_in(due)).await else { return };
            due = match self.stay(stay).await {
                Out::Cut(away) => Instant::now() + away,
                Out::Left => Instant::now(),
                Out::Broke(end) => match self.back_off(&end, 0) {
                    Some(after) => Instant::now() + after,
                    None => return self.run.give_up(),
                },
                Out::Over => return,
            };
        }
    }

    /// Tries until it has joined, as a client does; `None` where it gives up or the run is over.
    async fn come_in(&mut self, due: Instant) -> Option<Stay> {
        let _guard = self.run.on_the_way_in();
        let mut next = due;
        for tries in 0.. {
            tokio::select! {
                () = sleep_until(next) => {}
                () = self.over() => return None,
            }
            if tries == 0 {
                self.run.tally.lock().late.record(next.elapsed());
            }
            let end = match timeout(WELCOME, self.join(due)).await {
                Ok(Ok(stay)) => return Some(stay),
                Ok(Err(end)) => end,
                Err(_) => End::lost("no_welcome"),
            };
            self.run.tally.lock().failed(&end.why);
            match self.back_off(&end, tries) {
                Some(after) => next = Instant::now() + after,
                None => {
                    self.run.give_up();
                    return None;
                }
            }
        }
        None
    }

    fn over(&self) -> impl Future<Output = ()> + use<> {
        let mut phase = self.phase.clone();
        // The run keeps the sender for as long as people are played.
        async move { drop(phase.wait_for(|phase| *phase == Phase::Over).await) }
    }

    /// After how long a client reconnects: full jitter of 5 s up to 30 s, as in the browser client.
    fn back_off(&mut self, end: &End, tries: u32) -> Option<Duration> {
        let most = Duration::from_secs(5) * 2_u32.pow(tries.min(8));
        let after = most.min(Duration::from_secs(30)).mul_f64(self.chance.random());
        end.comes_back.then(|| after.max(end.not_before))
    }

    async fn join(&mut self, due: Instant) -> Result<Stay, End> {
        let name = match self.times {
            0 => format!("Reader {}", self.post.number),
            times => format!("Reader {} {times}", self.post.number),
        };
        let request = JoinRequest {
            way: &self.room.way,
            as_host: self.post.first,
            name: &name,
            resume: self.resume.as_deref(),
            source: self.run.source(self.post.number),
        };
        let asked = Instant::now();
        let mut socket = socket::connect(&self.run.target, self.post.number, &request).await?;
        let refused = |end| End { comes_back: false, ..End::lost(end) };
        let (mut assembler, mut bytes) = (Assembler::default(), 0);
        let (welcome, snapshot) = loop {
            let text = socket::next(&mut socket).await?;
            bytes += text.len();
            let read = self.room.read(&text).map_err(|error| error.to_string());
            match read.and_then(|received| assembler.take(received)) {
                Ok(None) => {}
                Ok(Some(Frame::Welcome(welcome, snapshot))) => break (welcome, snapshot),
                Ok(Some(Frame::Error(fault))) => {
                    let end = socket::next(&mut socket).await.err();
                    let not_before = Duration::from_millis(fault.retry_after_ms.unwrap_or(0));
                    let comes_back = end.is_none_or(|end| end.comes_back);
                    return Err(End { comes_back, not_before, is_closed: true, ..End::lost(fault.code) });
                }
                Ok(Some(_)) => return Err(refused("not_a_welcome")),
                Err(error) => {
                    self.disagree(Kind::Frame, format!("{error}: {text}"));
                    return Err(refused("not_a_welcome"));
                }
            }
        };
        self.welcomed(socket, welcome, &snapshot, bytes, (due, asked))
    }

    fn welcomed(
        &mut self,
        socket: Socket,
        welcome: Welcome,
        snapshot: &Snapshot,
        bytes: usize,
        (due, asked): (Instant, Instant),
    ) -> Result<Stay, End> {
        let Welcome { you: Some(you), resume: Some(resume), beat_ms, grace_ms } = welcome else {
            return Err(End { comes_back: false, ..End::lost("welcomed_as_nobody") });
        };
        let now = Instant::now();
        let grace = Duration::from_millis(grace_ms);
        self.run.grace_ms.store(grace_ms, Ordering::Relaxed);
        self.room.keep_key(&resume, self.post.first && self.room.way.host_invite.is_some());
        let again = self.resume.replace(resume).is_some();
        let mut view = View::default();
        view.welcome(Some(you), snapshot);
        let seat = Arc::new(Seat::new(you, view));
        let early = self.room.whereabouts(you).lock().came(due, now, grace);
        {
            let mut tally = self.run.tally.lock();
            tally.came(again, now.saturating_duration_since(due));
            tally.received(Some("welcome"), bytes);
            for took in early {
                tally.seen.record(took);
            }
        }
        self.room.sit(&seat);
        // Earlier phases of the run do not concern a person who has just joined.
        self.phase.mark_unchanged();
        self.run.open.fetch_add(1, Ordering::Relaxed);
        let beat = self.run.plan.beat.unwrap_or(Duration::from_millis(beat_ms));
        let act = self.habits.next(&mut self.chance, grace).map(|(after, act)| (now + after, act));
        Ok(Stay {
            socket,
            seat,
            assembler: Assembler::default(),
            last_frame: now,
            stood: asked,
            beat,
            // At once, as in the browser client: the server is to know that the welcome was read.
            next_beat: now,
            beats: 0,
            act,
            rests: None,
            syncing: false,
        })
    }

    async fn stay(&mut self, mut stay: Stay) -> Out {
        let mut out = self.serve(&mut stay).await;
        // What is in the socket is read before anybody is judged: the server may have ended the connection before.
        if !matches!(out, Out::Broke(_))
            && let Some(end) = self.receive_the_rest(&mut stay).await
        {
            out = Out::Broke(end);
        }
        self.run.open.fetch_sub(1, Ordering::Relaxed);
        self.room.rise(&stay.seat);
        if !matches!(out, Out::Over) {
            self.run.tally.lock().beats_gone += stay.seat.beats.lock().len() as u64;
        }
        let whereabouts = self.room.whereabouts(stay.seat.person);
        let wrong = match &out {
            // Dropped without a Close frame, as on a broken network.
            Out::Cut(_) => whereabouts.lock().lost(Instant::now()),
            Out::Broke(end) => {
                if !end.is_closed {
                    self.run.crashes.lock().note(Instant::now());
                }
                whereabouts.lock().broke(stay.stood);
                *self.run.tally.lock().ends.entry(end.why.clone()).or_default() += 1;
                Vec::new()
            }
            Out::Left => {
                self.resume = None;
                self.times += 1;
                Box::pin(leave(stay.socket, Goodbye::Frame, &whereabouts)).await
            }
            Out::Over => Box::pin(leave(stay.socket, Goodbye::Close, &whereabouts)).await,
        };
        for who in wrong {
            self.disagree(Kind::WrongLeave, who);
        }
        out
    }

    async fn serve(&mut self, stay: &mut Stay) -> Out {
        // Before all connections are cut, say: who has not sent its first beat would not be expected back.
        if let Err(out) = self.act(stay).await {
            return out;
        }
        let alarm = sleep_until(self.next_alarm(stay));
        tokio::pin!(alarm);
        loop {
            let rests = stay.rests.is_some();
            let turn = tokio::select! {
                text = socket::next(&mut stay.socket), if !rests => match text {
                    Ok(text) => self.receive(stay, &text).await,
                    Err(end) => Err(Out::Broke(end)),
                },
                () = &mut alarm => self.act(stay).await,
                changed = self.phase.changed() => self.turn_of_the_run(changed.is_ok()),
            };
            if let Err(out) = turn {
                return out;
            }
            let next = self.next_alarm(stay);
            if next != alarm.deadline() {
                alarm.as_mut().reset(next);
            }
        }
    }

    fn loads(&self) -> bool {
        matches!(*self.phase.borrow(), Phase::Load | Phase::Cut)
    }

    fn next_alarm(&self, stay: &Stay) -> Instant {
        let far = Instant::now() + Duration::from_secs(3600);
        let next = stay.rests.unwrap_or(far);
        match self.loads() {
            true => next.min(stay.next_beat).min(stay.act.map_or(far, |(at, _)| at)),
            false => next,
        }
    }

    fn turn_of_the_run(&mut self, goes_on: bool) -> Result<(), Out> {
        let phase = *self.phase.borrow_and_update();
        match phase {
            Phase::Over => Err(Out::Over),
            _ if !goes_on => Err(Out::Over),
            // All at once; each reconnects after the delay of a client that lost its connection.
            Phase::Cut => Err(Out::Cut(Duration::from_secs(5).mul_f64(self.chance.random()))),
            Phase::Load | Phase::Quiet => Ok(()),
        }
    }

    /// Does what is due.
    async fn act(&mut self, stay: &mut Stay) -> Result<(), Out> {
        let now = Instant::now();
        stay.rests = stay.rests.filter(|until| *until > now);
        if !self.loads() {
            return Ok(());
        }
        if stay.next_beat <= now {
            self.beat(stay).await?;
        }
        let Some((_, act)) = stay.act.take_if(|(at, _)| *at <= now) else { return Ok(()) };
        match act {
            Act::Drop(away) => return Err(Out::Cut(away)),
            Act::Leave => return Err(Out::Left),
            Act::Turn => {
                let card: u8 = self.chance.random_range(0..78);
                let text = format!(r#"{{"type":"update","state":{{"card":{card}}}}}"#);
                socket::send(&mut stay.socket, text).await.map_err(Out::Broke)?;
            }
        }
        let next = self.habits.next(&mut self.chance, self.run.grace());
        stay.act = next.map(|(after, act)| (now + after, act));
        Ok(())
    }

    async fn beat(&mut self, stay: &mut Stay) -> Result<(), Out> {
        let (due, number) = (stay.next_beat, stay.beats);
        stay.beats += 1;
        stay.next_beat = due + stay.beat;
        let active = self.chance.random_bool(self.habits.active);
        stay.seat.beats.lock().push_back((number, due));
        {
            let mut tally = self.run.tally.lock();
            tally.beats_sent += 1;
            tally.late.record(due.elapsed());
        }
        let text = format!(r#"{{"type":"beat","ref":{number},"active":{active}}}"#);
        socket::send(&mut stay.socket, text).await.map_err(Out::Broke)
    }

    fn disagree(&self, kind: Kind, detail: impl Into<String>) {
        self.run.tally.lock().disagree(Disagreement::new(kind, self.room.way.id, detail));
    }
}

/// Leaves. Returns the leaves that others received before, where these were wrong.
async fn leave(socket: Socket, goodbye: Goodbye, whereabouts: &Mutex<Whereabouts>) -> Vec<String> {
    // Recorded before it is sent: others may receive the leave before this task goes on.
    whereabouts.lock().leaves(Instant::now());
    if socket::leave(socket, goodbye).await {
        return whereabouts.lock().taken();
    }
    whereabouts.lock().vanished();
    Vec::new()
}
