//! Several processes play one plan: this one tells them their part, and hears what they counted.
//!
//! A worker reads its assignment as one line from standard input, then a line when to be quiet, and one when
//! to leave. It writes a line of JSON for each thing that it has to say. If this process dies, its input
//! ends, and so does the worker.

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

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Said {
    Progress(Progress),
    Checked,
    Tally(Box<Tally>),
}

const GONE: &str = "a worker ended before its time: what it said is above";

/// A worker's process.
#[derive(Debug)]
pub struct Worker {
    /// Ends with this value.
    _child: Child,
    input: ChildStdin,
    said: mpsc::Receiver<Said>,
    /// Where it was when it last said so.
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
        // Ctrl-C is for this process, which tells the others.
        command.process_group(0);
        let mut child = command.spawn().context("a worker cannot be started")?;
        let mut input = child.stdin.take().context("a worker has no input")?;
        let output = child.stdout.take().context("a worker has no output")?;
        // The assignment holds tokens: by this way nobody else reads it.
        input.write_all(format!("{}\n", serde_json::to_string(assignment)?).as_bytes()).await?;
        let (tell_progress, progress) = watch::channel(Progress::default());
        let (tell, said) = mpsc::channel(1);
        tokio::spawn(hear(output, tell_progress, tell));
        Ok(Self { _child: child, input, said, progress })
    }

    /// Waits until it has compared; where `stop` comes first it does so at once.
    ///
    /// # Errors
    /// Where it ended before.
    pub async fn checked(&mut self, stop: &CancellationToken) -> anyhow::Result<()> {
        let said = tokio::select! {
            said = self.said.recv() => said,
            () = stop.cancelled() => {
                self.tell("quiet").await?;
                self.said.recv().await
            }
        };
        match said {
            Some(Said::Checked) => Ok(()),
            _ => bail!(GONE),
        }
    }

    /// Lets it leave; what it counted.
    ///
    /// # Errors
    /// Where it ended before.
    pub async fn tally(&mut self) -> anyhow::Result<Tally> {
        self.tell("leave").await?;
        match self.said.recv().await {
            Some(Said::Tally(tally)) => Ok(*tally),
            _ => bail!(GONE),
        }
    }

    async fn tell(&mut self, word: &str) -> anyhow::Result<()> {
        self.input.write_all(format!("{word}\n").as_bytes()).await.context(GONE)
    }
}

async fn hear(output: ChildStdout, progress: watch::Sender<Progress>, tell: mpsc::Sender<Said>) {
    let mut lines = BufReader::new(output).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        let heard = match serde_json::from_str(&line) {
            Ok(Said::Progress(now)) => {
                progress.send_replace(now);
                Ok(())
            }
            Ok(said) => tell.send(said).await.map_err(drop),
            Err(_) => Err(()),
        };
        if heard.is_err() {
            return;
        }
    }
}

/// Is a worker.
///
/// # Errors
/// Where the assignment cannot be read, or nobody listens any more.
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
    // Nobody who listens is found out by the end of the input.
    watched(work, || drop(say(&Said::Progress(generator.progress())))).await;
    say(&Said::Checked)?;
    leave.cancelled().await;
    say(&Said::Tally(Box::new(generator.finish().await)))
}

/// Listens on a thread of its own, for which the program does not wait when it ends.
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

fn say(said: &Said) -> anyhow::Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, said)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
