//! Settings of simulators.

use std::time::Duration;

use clap::Args;

use super::duration;

/// Companion instances of user sessions.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Simulators")]
pub struct SimulatorSettings {
    /// Command that runs a simulator, as a shell would split it; it gets the variables SIMULATOR_ID, SIMULATOR_USER_ID, SIMULATOR_SYMBOLS, SIMULATOR_CASH and PORT
    #[arg(long, env = "LASTSEEN_SIMULATOR_COMMAND", value_name = "COMMAND", value_parser = command_line)]
    pub simulator_command: Option<CommandLine>,
    /// A simulator is ready when a GET of this path answers 200; without it when its port accepts
    #[arg(long, env = "LASTSEEN_SIMULATOR_READY_PATH", value_name = "PATH", value_parser = path)]
    pub simulator_ready_path: Option<String>,
    /// Container image of simulators, run in Kubernetes as a pod and a service each (where built with the feature kubernetes)
    #[arg(long, env = "LASTSEEN_SIMULATOR_IMAGE", value_name = "IMAGE", conflicts_with = "simulator_command")]
    pub simulator_image: Option<String>,
    /// Kubernetes namespace of simulators [default: that of the server's configuration]
    #[arg(long, env = "LASTSEEN_SIMULATOR_NAMESPACE", value_name = "NAME")]
    pub simulator_namespace: Option<String>,
    /// A simulator that is not ready after this long has failed
    #[arg(long, env = "LASTSEEN_SIMULATOR_START_TIMEOUT", default_value = "30s", value_parser = duration, value_name = "TIME")]
    pub simulator_start_timeout: Duration,
    /// A simulator that has not ended this long after SIGTERM is killed
    #[arg(long, env = "LASTSEEN_SIMULATOR_STOP_TIMEOUT", default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub simulator_stop_timeout: Duration,
    /// Simulators that this server may hold at once
    #[arg(long, env = "LASTSEEN_MAX_SIMULATORS", default_value_t = 100, value_name = "N",
          value_parser = clap::value_parser!(i32).range(1..))]
    pub max_simulators: i32,
}

impl SimulatorSettings {
    /// Whether the settings of simulators agree with each other.
    ///
    /// # Errors
    /// One line that names the settings which contradict each other.
    pub(super) fn validate(&self) -> Result<(), String> {
        if cfg!(not(feature = "kubernetes")) && self.simulator_image.is_some() {
            return Err("simulator-image needs a lastseen that was built with the feature kubernetes".to_owned());
        }
        if self.simulator_image.is_none() && self.simulator_namespace.is_some() {
            return Err("simulator-namespace needs simulator-image".to_owned());
        }
        Ok(())
    }
}

/// A program and its arguments.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CommandLine(pub Vec<String>);

fn command_line(text: &str) -> Result<CommandLine, String> {
    match shlex::split(text) {
        Some(words) if !words.is_empty() => Ok(CommandLine(words)),
        Some(_) => Err("it names no program".to_owned()),
        None => Err("it ends inside of quotes or behind a backslash".to_owned()),
    }
}

fn path(text: &str) -> Result<String, String> {
    match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err(format!("'{text}' does not begin with /")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_split_as_a_shell_does_it() {
        let words = command_line("'/opt/my exchange' --greeting \"good day\" a\\ b").map(|command| command.0);
        assert_eq!(words, Ok(["/opt/my exchange", "--greeting", "good day", "a b"].map(str::to_owned).to_vec()));
        for refused in ["", "  ", "run 'it", "run \\"] {
            assert!(command_line(refused).is_err(), "{refused}");
        }
    }
}
