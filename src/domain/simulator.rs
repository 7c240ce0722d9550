//! A simulator: a companion instance of a user session.

use super::words::words;

words! {
    /// How far a simulator is.
    SimulatorStatus {
        /// Asked for; its server has not launched it yet.
        Creating = "CREATING",
        /// Launched and not ready.
        Starting = "STARTING",
        /// Ready at its endpoint.
        Running = "RUNNING",
        /// To be stopped by its server.
        Stopping = "STOPPING",
        /// Over, as it was asked to be.
        Stopped = "STOPPED",
        /// Over, and `error` says why.
        Error = "ERROR",
    }
}

words! {
    /// What launches simulators.
    LauncherKind {
        /// A command, as a child of the server.
        Process = "process",
        /// A pod and a service.
        Kubernetes = "kubernetes",
    }
}

words! {
    /// What `lastseen.make_simulator()` answers.
    MakeVerdict {
        /// It is there, for its server to launch.
        Made = "made",
        /// The user session has ended or expired.
        SessionEnded = "session_ended",
        /// The server holds as many as it may.
        AtCapacity = "at_capacity",
    }
}

impl SimulatorStatus {
    /// Whether nothing of it runs any more.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Stopped | Self::Error)
    }
}
