//! Simulators as pods, against a stand-in for the API server of a cluster that checks what it is asked.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::{Json, Router};
use nix::sys::signal::Signal;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;
use uuid::Uuid;

use crate::harness::client::id;
use crate::harness::cluster::TestDatabase;
use crate::harness::eventually;
use crate::harness::process::{Process, lastseen};
use crate::harness::rest::service;
use crate::harness::rows::execute;
use crate::harness::server::SECRET;
use crate::simulators::{Player, becomes, one};

const PODS: &str = "/api/v1/namespaces/games/pods";
const SERVICES: &str = "/api/v1/namespaces/games/services";

/// What a cluster holds, by path, and what it was asked.
#[derive(Default)]
struct Objects {
    held: BTreeMap<String, Value>,
    asked: Vec<(Method, String)>,
    /// Services cannot be made.
    refuses_services: bool,
}

#[derive(Clone)]
struct Cluster {
    objects: Arc<Mutex<Objects>>,
    /// The configuration that leads to it.
    directory: Arc<TempDir>,
}

impl Cluster {
    async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let cluster = Self { objects: Arc::default(), directory: Arc::new(TempDir::new().expect("a directory")) };
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "here", "cluster": {"server": format!("http://{address}")}}],
            "users": [{"name": "me", "user": {"token": "a token of the cluster's"}}],
            "contexts": [{"name": "here", "context": {"cluster": "here", "user": "me", "namespace": "elsewhere"}}],
        });
        std::fs::write(cluster.config(), config.to_string()).expect("a file");
        let app = Router::new().fallback(answer).with_state(cluster.clone());
        tokio::spawn(async move { axum::serve(listener, app).await });
        cluster
    }

    fn config(&self) -> std::path::PathBuf {
        self.directory.path().join("config")
    }

    fn get(&self, path: &str) -> Option<Value> {
        self.objects.lock().held.get(path).cloned()
    }

    fn is_empty(&self) -> bool {
        self.objects.lock().held.is_empty()
    }

    /// Makes a pod have this status.
    fn set(&self, simulator: Uuid, status: Value) {
        self.objects.lock().held.get_mut(&pod(simulator)).expect("a pod")["status"] = status;
    }

    /// Waits until there is a pod, and makes it ready.
    async fn admit(&self, simulator: Uuid) {
        eventually("a pod", async || self.get(&pod(simulator))).await;
        self.set(simulator, json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}));
    }

    /// A server that launches into it.
    async fn server(&self, database: &TestDatabase) -> Process {
        let url = database.url();
        let mut command = lastseen(&[
            "serve",
            "--listen",
            "127.0.0.1:0",
            "--database-url",
            &url,
            "--jwt-secret",
            SECRET,
            "--database-connections",
            "4",
            "--node",
            "one of us",
            "--simulator-image",
            "registry.example/exchange:1",
            "--simulator-namespace",
            "games",
            "--simulator-ready-path",
            "/healthz",
        ]);
        command.env("KUBECONFIG", self.config());
        for proxy in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
            command.env_remove(proxy).env_remove(proxy.to_lowercase());
        }
        Process::start(command).await
    }
}

fn pod(simulator: Uuid) -> String {
    format!("{PODS}/simulator-{simulator}")
}

fn service_of(simulator: Uuid) -> String {
    format!("{SERVICES}/simulator-{simulator}")
}

async fn answer(State(cluster): State<Cluster>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let body: Bytes = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let path = parts.uri.path().to_owned();
    assert_eq!(parts.headers["authorization"], "Bearer a token of the cluster's");
    let mut objects = cluster.objects.lock();
    objects.asked.push((parts.method.clone(), path.clone()));
    match parts.method {
        Method::POST if path == SERVICES && objects.refuses_services => {
            refusal(StatusCode::FORBIDDEN, "no services today")
        }
        Method::POST if [PODS, SERVICES].contains(&path.as_str()) => {
            let object: Value = serde_json::from_slice(&body).expect("JSON");
            let name = object["metadata"]["name"].as_str().expect("a name");
            objects.held.insert(format!("{path}/{name}"), object.clone());
            (StatusCode::CREATED, Json(object)).into_response()
        }
        Method::GET if path == PODS => {
            let query: BTreeMap<String, String> =
                reqwest::Url::parse(&format!("http://host/?{}", parts.uri.query().unwrap_or_default()))
                    .expect("a query")
                    .query_pairs()
                    .into_owned()
                    .collect();
            assert_eq!(query["labelSelector"], "app.kubernetes.io/managed-by=lastseen,lastseen/node=one_of_us");
            let pods = objects.held.iter().filter(|(path, _)| path.starts_with(PODS)).map(|(_, pod)| pod.clone());
            Json(json!({"kind": "PodList", "apiVersion": "v1", "metadata": {}, "items": pods.collect::<Vec<_>>()}))
                .into_response()
        }
        Method::GET => match objects.held.get(&path) {
            Some(object) => Json(object.clone()).into_response(),
            None => refusal(StatusCode::NOT_FOUND, "not found"),
        },
        Method::DELETE => match objects.held.remove(&path) {
            Some(object) => Json(object).into_response(),
            None => refusal(StatusCode::NOT_FOUND, "not found"),
        },
        method => panic!("{method} {path}"),
    }
}

fn refusal(status: StatusCode, message: &str) -> Response {
    let reason = status.canonical_reason().unwrap_or_default().replace(' ', "");
    let body = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
        "message": message, "reason": reason, "code": status.as_u16(),
    });
    (status, Json(body)).into_response()
}

#[tokio::test]
async fn a_simulator_is_a_pod_and_a_service_until_it_is_stopped() {
    let (cluster, database) = (Cluster::start().await, TestDatabase::new().await);
    let server = cluster.server(&database).await;
    let ada = Player::new(&database.pool).await;
    let wanted = json!({"initial_symbols": ["AAPL", "X-1"], "initial_cash": 7});
    let made = server.rest.post(&ada.path(), Some(&ada.token), wanted).await.expect(201);
    let simulator = id(&made["id"]);
    becomes(&server.rest, simulator, "STARTING").await;

    let session: Uuid =
        sqlx::query_scalar("SELECT id FROM user_sessions").fetch_one(&database.pool).await.expect("a session");
    let metadata = json!({
        "name": format!("simulator-{simulator}"),
        "labels": {
            "app.kubernetes.io/name": "simulator",
            "app.kubernetes.io/managed-by": "lastseen",
            "lastseen/node": "one_of_us",
            "lastseen/simulator": simulator,
            "lastseen/user-session": session,
            "lastseen/user": ada.user,
        },
    });
    let environment = [
        ("SIMULATOR_ID", simulator.to_string()),
        ("SIMULATOR_USER_ID", ada.user.to_string()),
        ("SIMULATOR_SYMBOLS", "AAPL,X-1".to_owned()),
        ("SIMULATOR_CASH", "7".to_owned()),
        ("PORT", "8080".to_owned()),
    ];
    let environment = environment.map(|(name, value)| json!({"name": name, "value": value}));
    assert_eq!(
        cluster.get(&pod(simulator)).expect("a pod"),
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
            "spec": {
                "restartPolicy": "Never", "terminationGracePeriodSeconds": 10,
                "automountServiceAccountToken": false, "enableServiceLinks": false,
                "containers": [{
                    "name": "simulator", "image": "registry.example/exchange:1", "env": environment,
                    "ports": [{"containerPort": 8080}],
                    "readinessProbe": {"httpGet": {"path": "/healthz", "port": 8080}, "periodSeconds": 1},
                }],
            },
        })
    );
    assert_eq!(
        cluster.get(&service_of(simulator)).expect("a service"),
        json!({
            "apiVersion": "v1", "kind": "Service", "metadata": metadata,
            "spec": {"selector": {"lastseen/simulator": simulator}, "ports": [{"port": 8080, "targetPort": 8080}]},
        })
    );
    cluster.admit(simulator).await;
    let running = becomes(&server.rest, simulator, "RUNNING").await;
    assert_eq!(running["endpoint"], format!("http://simulator-{simulator}.games.svc:8080"));

    server.rest.delete(&one(simulator), Some(&ada.token)).await.expect(202);
    becomes(&server.rest, simulator, "STOPPED").await;
    assert!(cluster.is_empty());
    let asked = cluster.objects.lock().asked.clone();
    let changes: Vec<_> = asked.into_iter().filter(|(method, _)| method != Method::GET).collect();
    assert_eq!(
        changes,
        [
            (Method::POST, PODS.to_owned()),
            (Method::POST, SERVICES.to_owned()),
            (Method::DELETE, service_of(simulator)),
            (Method::DELETE, pod(simulator)),
        ]
    );
    server.signal(Signal::SIGTERM);
    server.finished().await;
}

#[tokio::test]
async fn a_pod_that_fails_is_an_error_and_nothing_of_it_is_left() {
    let (cluster, database) = (Cluster::start().await, TestDatabase::new().await);
    let server = cluster.server(&database).await;
    let ada = Player::new(&database.pool).await;
    // While it starts, and while it runs.
    for runs in [false, true] {
        let simulator = ada.make(&server.rest).await;
        if runs {
            cluster.admit(simulator).await;
            becomes(&server.rest, simulator, "RUNNING").await;
        }
        eventually("a service", async || cluster.get(&service_of(simulator))).await;
        cluster.set(simulator, json!({"phase": "Failed"}));
        let failed = becomes(&server.rest, simulator, "ERROR").await;
        assert_eq!(failed["error"], "the pod ended by itself (Failed)");
        assert!(cluster.is_empty());
    }
    // One that was deleted in the cluster.
    let simulator = ada.make(&server.rest).await;
    cluster.admit(simulator).await;
    becomes(&server.rest, simulator, "RUNNING").await;
    cluster.objects.lock().held.remove(&pod(simulator));
    assert_eq!(becomes(&server.rest, simulator, "ERROR").await["error"], "the pod is gone");
    // And one that cannot be made to the end.
    cluster.objects.lock().refuses_services = true;
    let simulator = ada.make(&server.rest).await;
    let failed = becomes(&server.rest, simulator, "ERROR").await;
    assert_eq!(failed["error"], "the cluster refused: no services today");
    assert!(cluster.is_empty());
    server.signal(Signal::SIGTERM);
    server.finished().await;
}

#[tokio::test]
async fn pods_that_a_crash_leaves_behind_are_found_by_their_labels() {
    let (cluster, database) = (Cluster::start().await, TestDatabase::new().await);
    let server = cluster.server(&database).await;
    let (ada, bob) = (Player::new(&database.pool).await, Player::new(&database.pool).await);
    let (of_ada, of_bob) = (ada.make(&server.rest).await, bob.make(&server.rest).await);
    for simulator in [of_ada, of_bob] {
        cluster.admit(simulator).await;
        becomes(&server.rest, simulator, "RUNNING").await;
    }
    server.signal(Signal::SIGKILL);
    server.finished().await;
    // This one is in the cluster alone any more.
    execute(&database.pool, "DELETE FROM simulators WHERE id = $1", of_bob).await;
    assert!(cluster.get(&pod(of_ada)).is_some() && cluster.get(&pod(of_bob)).is_some());

    let server = cluster.server(&database).await;
    becomes(&server.rest, of_ada, "STOPPED").await;
    eventually("an empty cluster", async || cluster.is_empty().then_some(())).await;

    // At a stop in good order nothing is left in the first place.
    let simulator = ada.make(&server.rest).await;
    cluster.admit(simulator).await;
    becomes(&server.rest, simulator, "RUNNING").await;
    server.rest.get(&one(simulator), Some(&service())).await.expect(200);
    server.signal(Signal::SIGTERM);
    server.finished().await;
    assert!(cluster.is_empty());
}
