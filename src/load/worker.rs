//! Several processes play one plan: this one sends each worker its part and receives what it counted.
//!
//! A worker reads its assignment as one line from standard input, then a line when to be quiet, and one when to
//! leave. It writes a line of JSON for each message. If this process dies, the worker's input ends, and so does
//! the worker.

use std::process::Stdio;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::generator::{Assignment, Generator};
use super::progress::Progress;
use super::tally::Tally;
use super::watched;

/// The hidden subcommand.
pub const COMMAND: &str = "load-worker";

/// A message of a worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Message {
    Progress(Progress),
    Checked,
    Tally(Box<Tally>),
}

const GONE: &str = "a worker ended before its time: its output is above";

/// A worker's process.
#[derive(Debug)]
pub struct Worker {
    /// Killed when dropped.
    _child: Child,
    input: ChildStdin,
    messages: mpsc::Receiver<Message>,
    /// The last progress received.
    pub progress: watch::Receiver<Progress>,
}

impl Worker {
    /// Starts this program again, with a part of the plan.
    ///
    /// # Errors
    /// Where it cannot be started.
    pub async fn start(assignment: &Assignment) -> anyhow::Result<Self> {
        let program = std::env::current_exe().context("where this program is cannot be found out")?;
        let mut command = Command::new(program);
        command.arg(COMMAND).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        // Ctrl-C reaches this process alone, which then stops the workers.
        command.process_group(0);
        let mut child = command.spawn().context("a worker cannot be started")?;
        let mut input = child.stdin.take().context("a worker has no input")?;
        let output = child.stdout.take().context("a worker has no output")?;
        // The assignment holds tokens: other users cannot read standard input.
        input.write_all(format!("{}\n", serde_json::to_string(assignment)?).as_bytes()).await?;
        let (send_progress, progress) = watch::channel(Progress::default());
        let (send, messages) = mpsc::channel(1);
        tokio::spawn(receive(output, send_progress, send));
        Ok(Self { _child: child, input, messages, progress })
    }

    /// Waits until the worker has compared its views; on `stop` it is asked to do so at once.
    ///
    /// # Errors
    /// Where the worker ended before.
    pub async fn checked(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        let message = tokio::select! {
            message = self.messages.recv() => message,
            () = stop.cancelled() => {
                self.order("quiet").await?;
                self.messages.recv().await
            }
        };
        match message {
            Some(Message::Checked) => Ok(()),
            _ => bail!(GONE),
        }
    }

    /// Lets the worker's people leave, and returns what it counted.
    ///
    /// # Errors
    /// Where the worker ended before.
    pub async fn tally(&mut self) -> anyhow::Result<Tally> {
        self.order("leave").await?;
        match self.messages.recv().await {
            Some(Message::Tally(tally)) => Ok(*tally),
            _ => bail!(GONE),
        }
    }

    async fn order(&mut self, word: &str) -> anyhow::Result<()> {
        self.input.write_all(format!("{word}\n").as_bytes()).await.context(GONE)
    }
}

async fn receive(output: ChildStdout, progress: watch::Sender<Progress>, messages: mpsc::Sender<Message>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let forwarded = match serde_json::from_str(&line) {
            Ok(Message::Progress(now)) => {
                progress.send_replace(now);
                Ok(())
            }
            Ok(message) => messages.send(message).await.map_err(drop),
            Err(_) => Err(()),
        };
        if forwarded.is_err() {
            return;
        }
    }
}

/// Runs as a worker.
///
/// # Errors
/// Where the assignment cannot be read, or standard output is closed.
pub async fn play() -> anyhow::Result<()> {
    super::limits::raise_files()?;
    let assignment = std::io::stdin().lines().next().context("a worker is started by `lastseen load`, not by hand")?;
    let generator = Generator::new(serde_json::from_str(&assignment?).context("the assignment cannot be read")?)?;
    let (quiet, leave) = (CancellationToken::new(), CancellationToken::new());
    listen(quiet.clone(), leave.clone());
    let work = async {
        generator.load(&quiet).await;
        tokio::select! {
            () = generator.check() => {}
            () = leave.cancelled() => {}
        }
    };
    // Where the output is closed, the input is closed too, which stops the work.
    watched(work, || drop(send(&Message::Progress(generator.progress())))).await;
    send(&Message::Checked)?;
    leave.cancelled().await;
    send(&Message::Tally(Box::new(generator.finish().await)))
}

/// Reads standard input on a thread of its own, for which the program does not wait at its end.
fn listen(quiet: CancellationToken, leave: CancellationToken) {
    std::thread::spawn(move || {
        for line in std::io::stdin().lines() {
            match line.as_deref() {
                Ok("quiet") => quiet.cancel(),
                _ => break,
            }
        }
        quiet.cancel();
        leave.cancel();
    });
}

fn send(message: &Message) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, message)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
