//! Runs a program that ends by itself, for its output.

use std::{io, process::Command, process::Stdio};

/// The standard output of the program. Where it fails, the error holds its standard error.
pub(super) async fn output_of(command: Command) -> io::Result<Vec<u8>> {
    let mut command = tokio::process::Command::from(command);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    if output.status.success() {
        return Ok(output.stdout);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(io::Error::other(format!("{}: {}", output.status, stderr.trim())))
}
