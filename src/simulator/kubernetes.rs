//! Simulators as pods of a Kubernetes cluster, each behind a service of the same name. Labels name their server:
//! `kubectl get pods -l app.kubernetes.io/managed-by=lastseen`.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{Api, DeleteParams, ListParams, PostParams};
use kube::{Client, Config, Error};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::{Fault, Spec};
use crate::config::SimulatorSettings;
use crate::domain::ids::SimulatorId;

/// The port that simulators listen on; each pod has an address of its own.
const PORT: u16 = 8080;

/// How often the state of a pod is polled.
const PAUSE: Duration = Duration::from_secs(1);

/// The timeout of a call to the cluster.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);

/// How much longer than its termination grace a pod may take to be gone.
const DELETE_MARGIN: Duration = Duration::from_secs(10);

/// The label by which a server finds what it launched.
const NODE_LABEL: &str = "lastseen/node";

/// The label by which a service selects its pod.
const ID_LABEL: &str = "lastseen/simulator";

/// The longest value of a label.
const LONGEST_LABEL: usize = 63;

/// Creates a pod and a service for each simulator.
pub struct Launcher {
    pods: Api<Pod>,
    services: Api<Service>,
    namespace: String,
    image: String,
    ready_path: Option<String>,
    grace: Duration,
    node: String,
}

impl std::fmt::Debug for Launcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("kubernetes::Launcher").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

fn name(id: SimulatorId) -> String {
    format!("simulator-{id}")
}

/// A label value is shorter than a node's name may be.
fn label(text: &str) -> String {
    let kept: String = text
        .chars()
        .take(LONGEST_LABEL)
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '_' })
        .collect();
    kept.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned()
}

impl Launcher {
    /// A launcher in the cluster of `KUBECONFIG`, or in the cluster that the server itself runs in.
    pub(super) async fn new(image: &str, settings: &SimulatorSettings, node: &str) -> anyhow::Result<Self> {
        let mut config = Config::infer().await.context("no configuration of a Kubernetes cluster was found")?;
        config.connect_timeout = Some(ANSWER_TIMEOUT);
        config.read_timeout = Some(ANSWER_TIMEOUT);
        let namespace = settings.simulator_namespace.clone().unwrap_or_else(|| config.default_namespace.clone());
        let client = Client::try_from(config).context("the configuration of the Kubernetes cluster cannot be used")?;
        Ok(Self {
            pods: Api::namespaced(client.clone(), &namespace),
            services: Api::namespaced(client, &namespace),
            namespace,
            image: image.to_owned(),
            ready_path: settings.simulator_ready_path.clone(),
            grace: settings.simulator_stop_timeout,
            node: label(node),
        })
    }

    pub(super) async fn start(self: &Arc<Self>, spec: &Spec) -> Result<Instance, Fault> {
        let made = async {
            self.pods.create(&PostParams::default(), &object(self.pod(spec))?).await.map_err(fault)?;
            self.services.create(&PostParams::default(), &object(self.service(spec))?).await.map_err(fault)
        };
        if let Err(fault) = made.await {
            // The pod may exist although the answer was lost.
            if let Err(fault) = self.delete(spec.id).await {
                tracing::warn!(simulator = %spec.id, %fault, "parts of a simulator may be left in the cluster");
            }
            return Err(fault);
        }
        Ok(Instance { launcher: Arc::clone(self), id: spec.id })
    }

    fn metadata(&self, spec: &Spec) -> Value {
        json!({
            "name": name(spec.id),
            "labels": {
                "app.kubernetes.io/name": "simulator",
                "app.kubernetes.io/managed-by": "lastseen",
                NODE_LABEL: self.node,
                ID_LABEL: spec.id,
                "lastseen/user-session": spec.user_session,
                // Not the subject: labels hold few characters.
                "lastseen/user": spec.user.id(),
            },
        })
    }

    fn pod(&self, spec: &Spec) -> Value {
        let port = ("PORT", PORT.to_string());
        let environment: Vec<_> = spec
            .environment()
            .into_iter()
            .chain([port])
            .map(|(name, value)| json!({ "name": name, "value": value }))
            .collect();
        let mut probe = match &self.ready_path {
            Some(path) => json!({ "httpGet": { "path": path, "port": PORT } }),
            None => json!({ "tcpSocket": { "port": PORT } }),
        };
        probe["periodSeconds"] = json!(1);
        json!({
            "metadata": self.metadata(spec),
            "spec": {
                // Never restarted: its user may ask for another one.
                "restartPolicy": "Never",
                "terminationGracePeriodSeconds": self.grace.as_secs().max(1),
                "automountServiceAccountToken": false,
                "enableServiceLinks": false,
                "containers": [{
                    "name": "simulator",
                    "image": self.image,
                    "env": environment,
                    "ports": [{ "containerPort": PORT }],
                    "readinessProbe": probe,
                }],
            },
        })
    }

    fn service(&self, spec: &Spec) -> Value {
        json!({
            "metadata": self.metadata(spec),
            "spec": {
                "selector": { ID_LABEL: spec.id },
                "ports": [{ "port": PORT, "targetPort": PORT }],
            },
        })
    }

    /// Deletes pod and service, and waits until the pod is gone. Missing ones are no error.
    pub(super) async fn delete(&self, id: SimulatorId) -> Result<(), Fault> {
        let name = name(id);
        let parameters = DeleteParams::default();
        missing_is_fine(self.services.delete(&name, &parameters).await)?;
        missing_is_fine(self.pods.delete(&name, &parameters).await)?;
        let deadline = Instant::now() + self.grace + DELETE_MARGIN;
        while self.pods.get_opt(&name).await.map_err(fault)?.is_some() {
            if Instant::now() >= deadline {
                return Err(Fault(format!("the pod {name} was deleted and is still there")));
            }
            sleep(PAUSE).await;
        }
        Ok(())
    }

    /// The simulators of which the cluster has something that this node launched.
    pub(super) async fn launched(&self) -> Result<Vec<SimulatorId>, Fault> {
        let own = format!("app.kubernetes.io/managed-by=lastseen,{NODE_LABEL}={}", self.node);
        let pods = self.pods.list(&ListParams::default().labels(&own)).await.map_err(fault)?;
        let labels = pods.items.into_iter().filter_map(|pod| pod.metadata.labels?.remove(ID_LABEL));
        Ok(labels.filter_map(|id| id.parse().ok().map(SimulatorId)).collect())
    }
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> Result<T, Fault> {
    serde_json::from_value(value).map_err(|error| Fault(format!("what is asked for has no form: {error}")))
}

fn missing_is_fine<T>(deleted: Result<T, Error>) -> Result<(), Fault> {
    match deleted {
        Ok(_) => Ok(()),
        Err(Error::Api(status)) if status.is_not_found() => Ok(()),
        Err(error) => Err(fault(error)),
    }
}

fn fault(error: Error) -> Fault {
    Fault(match error {
        Error::Api(status) => format!("the cluster refused: {}", status.message),
        error => format!("the cluster cannot be asked: {error}"),
    })
}

/// A pod with its service.
#[derive(Debug)]
pub struct Instance {
    launcher: Arc<Launcher>,
    id: SimulatorId,
}

impl Instance {
    pub(super) fn handle(&self) -> Value {
        json!({ "pod": name(self.id), "namespace": self.launcher.namespace })
    }

    pub(super) fn endpoint(&self) -> String {
        format!("http://{}.{}.svc:{PORT}", name(self.id), self.launcher.namespace)
    }

    pub(super) async fn ready(&mut self) -> Result<(), Fault> {
        loop {
            match self.look().await {
                Some(State::Ready) => return Ok(()),
                Some(State::Over(fault)) => return Err(fault),
                Some(State::Waiting) | None => sleep(PAUSE).await,
            }
        }
    }

    pub(super) async fn ended(&mut self) -> Fault {
        loop {
            if let Some(State::Over(fault)) = self.look().await {
                return fault;
            }
            sleep(PAUSE).await;
        }
    }

    pub(super) async fn stop(&mut self) -> Result<(), Fault> {
        self.launcher.delete(self.id).await
    }

    /// The state of the pod; `None` where the cluster does not answer just now, which is no reason to give the
    /// pod up.
    async fn look(&self) -> Option<State> {
        match self.launcher.pods.get_opt(&name(self.id)).await {
            Ok(pod) => Some(pod.as_ref().map_or_else(|| State::Over(Fault("the pod is gone".to_owned())), state)),
            Err(error) => {
                tracing::warn!(simulator = %self.id, %error, "reading the state of a pod failed");
                None
            }
        }
    }
}

/// The state of a pod.
#[derive(PartialEq, Debug)]
enum State {
    Waiting,
    Ready,
    Over(Fault),
}

fn state(pod: &Pod) -> State {
    let status = pod.status.as_ref();
    if let Some(phase @ ("Failed" | "Succeeded")) = status.and_then(|status| status.phase.as_deref()) {
        let terminated = status
            .and_then(|status| status.container_statuses.as_ref()?.first()?.state.as_ref()?.terminated.as_ref())
            .map(|end| format!(", exit code {} {}", end.exit_code, end.reason.as_deref().unwrap_or_default()));
        return State::Over(Fault(format!("the pod ended by itself ({phase}{})", terminated.unwrap_or_default())));
    }
    let conditions = status.and_then(|status| status.conditions.as_ref()).into_iter().flatten();
    match conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True") {
        true => State::Ready,
        false => State::Waiting,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_a_label() {
        assert_eq!(label("host-1.example"), "host-1.example");
        assert_eq!(label("-a b/c-"), "a_b_c");
        assert_eq!(label(&"x".repeat(80)).len(), LONGEST_LABEL);
    }

    #[test]
    fn a_pod_is_ready_by_its_condition_and_over_by_its_phase() {
        let state_of = |status: Value| state(&object(json!({ "status": status })).expect("a pod"));
        assert_eq!(state_of(json!({})), State::Waiting);
        assert_eq!(state_of(json!({"conditions": [{"type": "Ready", "status": "False"}]})), State::Waiting);
        assert_eq!(state_of(json!({"conditions": [{"type": "Ready", "status": "True"}]})), State::Ready);
        let ended = json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
        let status = json!({
            "name": "simulator", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": ended
        });
        assert_eq!(
            state_of(json!({"phase": "Failed", "containerStatuses": [status]})),
            State::Over(Fault("the pod ended by itself (Failed, exit code 137 OOMKilled)".to_owned()))
        );
    }
}
