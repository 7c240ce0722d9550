//! A simulator: a companion instance of a user session.

use chrono::{DateTime, Utc};

use super::document::Document;
use super::ids::{SimulatorId, UserId, UserSessionId};
use super::subject::Subject;
use super::words::words;

words! {
    /// The status of a simulator.
    SimulatorStatus {
        /// Requested; its server has not launched it yet.
        Creating = "CREATING",
        /// Launched and not ready.
        Starting = "STARTING",
        /// Ready at its endpoint.
        Running = "RUNNING",
        /// To be stopped by its server.
        Stopping = "STOPPING",
        /// Over, as it was asked to be.
        Stopped = "STOPPED",
        /// Over, with the reason in `error`.
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
        /// It was made, for its server to launch.
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

/// A stored simulator, as its user may see it.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the table's, see migrations")]
pub struct Simulator {
    pub id: SimulatorId,
    /// The name that the client gave its user session.
    pub session_id: String,
    pub user_id: Subject,
    pub status: SimulatorStatus,
    pub endpoint: Option<String>,
    pub initial_symbols: Vec<String>,
    pub initial_cash: f64,
    pub created_at: DateTime<Utc>,
    pub last_active: DateTime<Utc>,
    pub stopped_at: Option<DateTime<Utc>>,
    pub error: Option<String>,
}

/// The filter of a list of simulators.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the fields are the table's, see migrations")]
pub struct SimulatorFilter {
    pub user_id: Option<UserId>,
    pub status: Option<SimulatorStatus>,
}

/// A simulator that this server has to look after.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the table's, see migrations")]
pub struct Held {
    pub id: SimulatorId,
    pub user_session_id: UserSessionId,
    pub user_id: Subject,
    pub status: SimulatorStatus,
    pub initial_symbols: Vec<String>,
    pub initial_cash: f64,
    pub launcher: LauncherKind,
    pub handle: Option<Document>,
}

/// A simulator that is about to be made.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the table's, see migrations")]
pub struct NewSimulator {
    pub id: SimulatorId,
    pub user_session: UserSessionId,
    pub symbols: Vec<String>,
    pub cash: f64,
    pub launcher: LauncherKind,
    /// How many live ones this server may hold.
    pub capacity: i32,
}

/// The result of making one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Made {
    /// It is there, for its server to launch.
    Made,
    /// The user session has a live one.
    Exists,
    /// The user session has ended or expired.
    SessionEnded,
    /// This server holds as many as it may.
    AtCapacity,
}

/// A step from state to state, by the server that looks after the simulator.
#[derive(Clone, Debug)]
pub enum Move {
    /// CREATING to STARTING: it was launched, and `handle` finds it again.
    Launched {
        /// What the launcher needs to find it again.
        handle: Document,
    },
    /// STARTING to RUNNING: it is ready.
    Ready {
        /// Where it is reached.
        endpoint: String,
    },
    /// To ERROR: it ended without having been asked to.
    Failed {
        /// Where it was then.
        from: SimulatorStatus,
        /// How it ended.
        error: String,
    },
    /// CREATING, STARTING or RUNNING to STOPPING: no server looks after it any more.
    Marked,
    /// STOPPING to STOPPED: nothing of it runs any more.
    Stopped,
}
