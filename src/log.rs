//! The log: lines are queued, and a thread of its own writes them to standard error.
//!
//! Whatever reads standard error may stall or be gone, and the disk below it may be full. So nothing waits for a
//! line, and a line that cannot be written fails no task: it is dropped and counted. The queue is our own, since
//! ready-made ones bound the lines and not their bytes, and do not count those that a failed write lost.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::sync::{Arc, LazyLock, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use prometheus_client::metrics::counter::Counter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::LogFormat;

/// How many bytes of lines may wait while earlier ones, as many at most, are being written.
const QUEUE_BYTES: usize = 4 << 20;

/// How long the end of the process waits for the last lines.
const EXIT_PATIENCE: Duration = Duration::from_secs(1);

/// The pause where standard error does not block and is full.
const FULL_PAUSE: Duration = Duration::from_millis(10);

static DROPPED: LazyLock<Counter> = LazyLock::new(Counter::default);
static QUEUE: OnceLock<Arc<Queue>> = OnceLock::new();

/// Lines of this process that were dropped.
pub fn dropped_lines() -> Counter {
    DROPPED.clone()
}

/// Starts the log of this process. It goes to standard error; standard output is for what programs read. Panics are
/// logged as well, since Rust's own report of them is written by the thread that panics.
///
/// # Errors
/// One line for the operator: the filter cannot be read, or the thread does not start.
pub fn start(format: Option<LogFormat>, filter: &str) -> Result<LastLines, String> {
    let filter = EnvFilter::try_new(filter).map_err(|error| format!("--log cannot be read: {error}"))?;
    let queue = Arc::new(Queue::new(QUEUE_BYTES, dropped_lines()));
    let writer = Arc::clone(&queue);
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writer.write_to(io::stderr()))
        .map_err(|error| format!("the thread of the log cannot be started: {error}"))?;
    let _ = QUEUE.set(Arc::clone(&queue));
    let terminal = io::stderr().is_terminal();
    let log = tracing_subscriber::fmt()
        .with_writer(Writer(Arc::clone(&queue)))
        .with_env_filter(filter)
        .with_ansi(terminal)
        // They would be printed to standard error, which panics where that cannot be written.
        .log_internal_errors(false);
    match format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json }) {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        let backtrace = (backtrace.status() == BacktraceStatus::Captured).then(|| backtrace.to_string());
        let thread = thread::current();
        tracing::error!(thread = thread.name(), %panic, backtrace, "panicked");
    }));
    Ok(LastLines(queue))
}

/// Writes a line for the operator as it is, behind what was logged before.
pub fn complain(text: &str) {
    let line = format!("lastseen: {text}\n");
    match QUEUE.get() {
        Some(queue) => queue.push(line.as_bytes()),
        // Before the log was started there is nothing to keep up, and nothing to do about a failure.
        None => drop(io::stderr().write_all(line.as_bytes())),
    }
}

/// Waits at the end of the process for the last lines, as long as they are taken.
#[derive(Debug)]
#[must_use = "dropped at once, it waits for nothing"]
pub struct LastLines(Arc<Queue>);

impl Drop for LastLines {
    fn drop(&mut self) {
        self.0.drain(EXIT_PATIENCE);
    }
}

/// Lines between the threads that log and the one that writes.
#[derive(Debug)]
struct Queue {
    most_bytes: usize,
    dropped: Counter,
    state: Mutex<State>,
    /// There are lines.
    filled: Condvar,
    /// There are none, and none is being written.
    drained: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<u8>,
    is_writing: bool,
}

impl Queue {
    fn new(most_bytes: usize, dropped: Counter) -> Self {
        Self { most_bytes, dropped, state: Mutex::default(), filled: Condvar::new(), drained: Condvar::new() }
    }

    /// Queues one line, or drops it where the queue is full.
    fn push(&self, line: &[u8]) {
        let mut state = self.state.lock();
        if state.lines.len() + line.len() > self.most_bytes {
            drop(state);
            self.dropped.inc();
            return;
        }
        state.lines.extend_from_slice(line);
        drop(state);
        self.filled.notify_one();
    }

    /// Writes what is queued, for ever.
    fn write_to(&self, mut out: impl Write) {
        let (mut batch, mut reported) = (Vec::new(), 0);
        loop {
            self.take(&mut batch);
            let failed = batch.split_inclusive(|byte| *byte == b'\n').filter(|line| write(&mut out, line).is_err());
            let failed = failed.count() as u64;
            let dropped = self.dropped.inc_by(failed) + failed;
            if failed == 0 && dropped > reported {
                tracing::warn!(lines = dropped - reported, "log lines were dropped: standard error did not take them");
                reported = dropped;
            }
        }
    }

    /// Waits for lines, and takes all.
    fn take(&self, batch: &mut Vec<u8>) {
        batch.clear();
        // What a burst needed is given back.
        batch.shrink_to(64 * 1024);
        let mut state = self.state.lock();
        state.is_writing = false;
        if state.lines.is_empty() {
            self.drained.notify_all();
        }
        self.filled.wait_while(&mut state, |state| state.lines.is_empty());
        state.is_writing = true;
        std::mem::swap(&mut state.lines, batch);
    }

    fn drain(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        let mut state = self.state.lock();
        while (state.is_writing || !state.lines.is_empty())
            && !self.drained.wait_until(&mut state, deadline).timed_out()
        {}
    }
}

/// Writes a line, and waits where that is full. `write_all` would fail there.
fn write(out: &mut impl Write, mut line: &[u8]) -> io::Result<()> {
    while !line.is_empty() {
        match out.write(line) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(bytes) => line = &line[bytes..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(FULL_PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Gives the lines of `tracing` to the queue.
struct Writer(Arc<Queue>);

impl<'a> MakeWriter<'a> for Writer {
    type Writer = Lines<'a>;

    fn make_writer(&'a self) -> Lines<'a> {
        Lines(&self.0)
    }
}

/// A writer that never waits and never fails. Each write is one line.
struct Lines<'a>(&'a Queue);

impl Write for Lines<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Passes on what is written, each time when it is let.
    struct Slow {
        may: mpsc::Receiver<io::Result<()>>,
        written: mpsc::Sender<String>,
    }

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // A test that is over lets everything.
            self.may.recv().unwrap_or(Ok(()))?;
            let _ = self.written.send(String::from_utf8(bytes.to_vec()).expect("text"));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn queue(most_bytes: usize) -> (Arc<Queue>, mpsc::Sender<io::Result<()>>, mpsc::Receiver<String>) {
        let (queue, (let_it, may)) = (Arc::new(Queue::new(most_bytes, Counter::default())), mpsc::channel());
        let (written, lines) = mpsc::channel();
        let writer = Arc::clone(&queue);
        thread::spawn(move || writer.write_to(Slow { may, written }));
        (queue, let_it, lines)
    }

    fn is_writing(queue: &Queue) -> bool {
        let state = queue.state.lock();
        state.is_writing && state.lines.is_empty()
    }

    #[test]
    fn a_line_that_does_not_fit_is_dropped_and_counted_and_the_others_are_written_in_order() {
        let (queue, let_it, lines) = queue(8);
        queue.push(b"one\n");
        while !is_writing(&queue) {
            thread::yield_now();
        }
        // The first is being written for as long as we like.
        for line in ["two\n", "six\n", "ten\n", "eleven\n"] {
            queue.push(line.as_bytes());
        }
        assert_eq!(queue.dropped.get(), 2);
        for line in ["one\n", "two\n", "six\n"] {
            let_it.send(Ok(())).expect("a writer");
            assert_eq!(lines.recv().expect("a line"), line);
        }
        queue.drain(Duration::from_secs(60));
        queue.push(b"ten\n");
        let_it.send(Ok(())).expect("a writer");
        assert_eq!(lines.recv().expect("a line"), "ten\n", "there is room again");
    }

    #[test]
    fn a_line_whose_write_fails_is_counted_and_the_next_one_is_written() {
        let (queue, let_it, lines) = queue(100);
        let_it.send(Err(ErrorKind::StorageFull.into())).expect("a writer");
        queue.push(b"lost\n");
        queue.drain(Duration::from_secs(60));
        assert_eq!(queue.dropped.get(), 1);
        // These are no failures.
        for kind in [ErrorKind::Interrupted, ErrorKind::WouldBlock] {
            let_it.send(Err(kind.into())).expect("a writer");
        }
        let_it.send(Ok(())).expect("a writer");
        queue.push(b"kept\n");
        assert_eq!(lines.recv().expect("a line"), "kept\n");
        assert_eq!(queue.dropped.get(), 1);
    }

    #[test]
    fn a_line_that_is_not_taken_is_not_waited_for() {
        let (queue, let_it, _lines) = queue(100);
        queue.push(b"stuck\n");
        queue.drain(Duration::from_millis(1));
        assert_eq!(queue.dropped.get(), 0, "it may still be taken");
        drop(let_it);
        queue.drain(Duration::from_secs(60));
    }
}
