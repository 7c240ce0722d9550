//! Companion instances of user sessions: what launches them, and the supervisor that runs them.

#[cfg(feature = "kubernetes")]
pub mod kubernetes;
mod orphans;
mod process;
pub mod supervisor;

#[cfg(feature = "kubernetes")]
use std::sync::Arc;

use anyhow::Context;
use serde_json::value::to_raw_value;

use crate::config::SimulatorSettings;
use crate::domain::document::Document;
use crate::domain::ids::{SimulatorId, UserSessionId};
use crate::domain::simulator::{Held, LauncherKind};
use crate::domain::subject::Subject;
use crate::store::Store;

/// Why a simulator could not be launched, did not become ready, or ended; the text of its `error`.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0}")]
pub struct Fault(pub String);

/// What a simulator gets in its environment.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the table's, see migrations")]
pub struct Spec {
    pub id: SimulatorId,
    pub user_session: UserSessionId,
    pub user: Subject,
    pub symbols: Vec<String>,
    pub cash: f64,
}

impl Spec {
    /// The variables of its environment, except `PORT`.
    pub fn environment(&self) -> [(&'static str, String); 4] {
        [
            (ID_VARIABLE, self.id.to_string()),
            ("SIMULATOR_USER_ID", self.user.to_string()),
            ("SIMULATOR_SYMBOLS", self.symbols.join(",")),
            ("SIMULATOR_CASH", self.cash.to_string()),
        ]
    }
}

impl From<&Held> for Spec {
    fn from(held: &Held) -> Self {
        Self {
            id: held.id,
            user_session: held.user_session_id,
            user: held.user_id.clone(),
            symbols: held.initial_symbols.clone(),
            cash: held.initial_cash,
        }
    }
}

/// The variable by which a process is recognised as a simulator.
const ID_VARIABLE: &str = "SIMULATOR_ID";

/// What launches simulators, by the settings.
#[derive(Debug)]
pub enum Launcher {
    /// A command, as a child of the server.
    Process(process::Launcher),
    /// A pod and a service.
    #[cfg(feature = "kubernetes")]
    Kubernetes(Arc<kubernetes::Launcher>),
}

impl Launcher {
    /// The launcher of these settings; `None` where they name neither a command nor an image.
    ///
    /// # Errors
    /// Where the cluster's configuration is missing, or this program was built without it.
    pub async fn of(settings: &SimulatorSettings, node: &str) -> anyhow::Result<Option<Self>> {
        if let Some(command) = &settings.simulator_command {
            let launcher = process::Launcher::new(&command.0, settings).context("simulators cannot be launched")?;
            return Ok(Some(Self::Process(launcher)));
        }
        #[cfg(feature = "kubernetes")]
        if let Some(image) = &settings.simulator_image {
            let launcher = kubernetes::Launcher::new(image, settings, node).await?;
            return Ok(Some(Self::Kubernetes(Arc::new(launcher))));
        }
        #[cfg(not(feature = "kubernetes"))]
        let _ = node;
        Ok(None)
    }

    /// The kind of launcher.
    pub fn kind(&self) -> LauncherKind {
        match self {
            Self::Process(_) => LauncherKind::Process,
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(_) => LauncherKind::Kubernetes,
        }
    }

    /// Launches a simulator.
    ///
    /// # Errors
    /// Why it could not be launched; nothing of it is left then.
    pub async fn start(&self, spec: &Spec) -> Result<Instance, Fault> {
        Ok(match self {
            Self::Process(launcher) => Instance::Process(Box::new(launcher.start(spec)?)),
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(launcher) => Instance::Kubernetes(launcher.start(spec).await?),
        })
    }

    /// Ends simulators that exist and have no row in the database.
    ///
    /// # Errors
    /// Where what exists cannot be listed; the caller tries again.
    pub async fn end_unknown(&self, store: &Store) -> Result<(), Fault> {
        match self {
            // A process is recognised by its row alone: without one it could belong to another server.
            Self::Process(_) => {
                let _ = store;
                Ok(())
            }
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(launcher) => {
                // In this order: the row of a simulator that is being launched meanwhile is older than its pod.
                let launched = launcher.launched().await?;
                let known = store.held_simulators().await.map_err(|error| Fault(error.to_string()))?;
                for id in launched.into_iter().filter(|id| known.iter().all(|held| held.id != *id)) {
                    tracing::info!(simulator = %id, "deleting an orphaned pod");
                    launcher.delete(id).await?;
                }
                Ok(())
            }
        }
    }

    /// Stops what may be left of a simulator without a task: of a server that crashed, or of one whose row was
    /// marked before it was launched.
    ///
    /// # Errors
    /// Where this launcher cannot do that.
    pub async fn stop_orphan(launcher: Option<&Self>, orphan: &Held) -> Result<(), Fault> {
        match (orphan.launcher, launcher) {
            // Works without a configured command: a server that launches no more still ends what it left behind.
            (LauncherKind::Process, _) => {
                let patience = match launcher {
                    Some(Self::Process(launcher)) => launcher.stop_timeout(),
                    _ => process::STOP_TIMEOUT,
                };
                let handle = orphan.handle.as_ref().and_then(|handle| serde_json::from_str(handle.get()).ok());
                orphans::stop(orphan.id, handle.as_ref(), patience).await;
                Ok(())
            }
            #[cfg(feature = "kubernetes")]
            (LauncherKind::Kubernetes, Some(Self::Kubernetes(launcher))) => launcher.delete(orphan.id).await,
            (LauncherKind::Kubernetes, _) => {
                Err(Fault("it is a pod, and this server was not started with simulator-image".to_owned()))
            }
        }
    }
}

/// A launched simulator.
#[derive(Debug)]
pub enum Instance {
    /// A child of this process.
    Process(Box<process::Instance>),
    /// A pod and its service.
    #[cfg(feature = "kubernetes")]
    Kubernetes(kubernetes::Instance),
}

impl Instance {
    /// The handle by which it is found again after a crash of this server.
    pub fn handle(&self) -> Document {
        let handle = match self {
            Self::Process(instance) => instance.handle(),
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(instance) => instance.handle(),
        };
        to_raw_value(&handle).expect("a value is JSON").into()
    }

    /// The address under which it is reached.
    pub fn endpoint(&self) -> String {
        match self {
            Self::Process(instance) => instance.endpoint(),
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(instance) => instance.endpoint(),
        }
    }

    /// Waits until it is ready.
    ///
    /// # Errors
    /// Where it ends instead.
    pub async fn ready(&mut self) -> Result<(), Fault> {
        match self {
            Self::Process(instance) => instance.ready().await,
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(instance) => instance.ready().await,
        }
    }

    /// Waits until it ends by itself, and returns why.
    pub async fn ended(&mut self) -> Fault {
        match self {
            Self::Process(instance) => instance.ended().await,
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(instance) => instance.ended().await,
        }
    }

    /// Ends it, with what it may have left behind, and waits until it is gone.
    ///
    /// # Errors
    /// Where it may still exist; the caller tries again.
    pub async fn stop(&mut self) -> Result<(), Fault> {
        match self {
            Self::Process(instance) => instance.stop().await,
            #[cfg(feature = "kubernetes")]
            Self::Kubernetes(instance) => return instance.stop().await,
        }
        Ok(())
    }
}
