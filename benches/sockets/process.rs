//! A server in a process of its own: what it costs, and its end.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// How long a server may take to stop before it is killed.
const STOP: Duration = Duration::from_secs(30);

/// A child process that ends with this one, however this one ends.
#[derive(Debug)]
pub struct Process {
    child: Child,
}

impl Process {
    /// Starts it and gives the first line that it prints.
    pub fn start(command: &mut Command) -> anyhow::Result<(Self, String)> {
        use std::io::{BufRead, BufReader};
        use std::os::unix::process::CommandExt;

        // SAFETY: between fork and exec nothing but this one system call is made.
        unsafe {
            command.pre_exec(|| nix::sys::prctl::set_pdeathsig(Signal::SIGINT).map_err(Into::into));
        }
        let child = command.stdout(Stdio::piped()).spawn().with_context(|| format!("starting {command:?}"))?;
        let mut process = Self { child };
        let mut line = String::new();
        BufReader::new(process.child.stdout.take().context("its output")?).read_line(&mut line)?;
        Ok((process, line.trim().to_owned()))
    }

    /// Memory that it holds, in KiB.
    pub fn resident_kib(&self) -> anyhow::Result<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("VmRSS")?;
        Ok(line.trim().trim_end_matches(" kB").parse()?)
    }

    /// CPU time of the process alone, without its database.
    pub fn cpu_seconds(&self) -> anyhow::Result<f64> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields: Vec<_> = stat.rsplit_once(')').context("stat")?.1.split_whitespace().collect();
        let ticks: f64 = fields[11].parse::<f64>()? + fields[12].parse::<f64>()?;
        // Linux counts these in hundredths everywhere that Rust runs.
        Ok(ticks / 100.0)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGINT);
        let started = Instant::now();
        while started.elapsed() < STOP {
            if !matches!(self.child.try_wait(), Ok(None)) {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
