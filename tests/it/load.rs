//! `lastseen load` against the real server: every profile without a disagreement, and a disagreement found
//! where a proxy in between changes frames.

use std::net::SocketAddr;

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::server::{Request, Response};

use crate::harness::process::{Finished, lastseen, run};
use crate::harness::rest::{keys, service};
use crate::harness::server::SECRET;
use crate::harness::{TestServer, eventually};

/// How a run ended, and its report.
struct Loaded {
    finished: Finished,
    report: Value,
}

impl Loaded {
    fn disagreements(&self) -> &Value {
        &self.report["disagreements"]
    }

    /// No disagreement was found, in so many views.
    #[track_caller]
    fn agrees(&self, views: u64) {
        let said = format!("{}\n{}", self.finished.stdout, self.finished.stderr);
        assert_eq!(self.finished.status.code(), Some(0), "{said}");
        assert_eq!(self.disagreements()["count"], 0, "{said}");
        assert_eq!(self.disagreements()["views_compared"], views, "{said}");
        assert_eq!(self.report["joins"]["outside_at_end"], 0, "{said}");
        assert!(self.finished.stdout.contains("disagreements             0"), "{said}");
    }

    fn people(&self) -> u64 {
        self.report["plan"]["people"].as_u64().expect("a number")
    }
}

fn file(directory: &tempfile::TempDir, name: &str) -> String {
    directory.path().join(name).into_os_string().into_string().expect("a path of text")
}

/// The arguments of a run that is over soon.
fn short<'a>(url: &'a str, json: &'a str, flags: &[&'a str]) -> Vec<&'a str> {
    let base = ["load", "--url", url, "--json", json, "--ramp", "50/s", "--duration", "3s"];
    base.into_iter().chain(flags.iter().copied()).collect()
}

/// Loads what answers at this address, as the service.
async fn load(address: SocketAddr, flags: &[&str]) -> Loaded {
    let directory = tempfile::tempdir().expect("a directory");
    let (json, url, token) = (file(&directory, "report.json"), format!("http://{address}"), service());
    let finished = run(&short(&url, &json, &[flags, &["--token", &token]].concat())).await;
    let report = std::fs::read_to_string(&json).unwrap_or_else(|_| panic!("a report: {finished:?}"));
    Loaded { report: serde_json::from_str(&report).expect("JSON"), finished }
}

#[tokio::test]
async fn steady_people_who_come_and_go_and_read_slowly_see_what_is_so() {
    let server = TestServer::start(&["--beat-interval", "1s"]).await;
    let flags = ["--sessions", "6", "--per-session", "5", "--churn", "600%/min", "--slow", "10%"];
    let loaded = load(server.address(), &flags).await;
    loaded.agrees(30);
    let report = &loaded.report;
    assert!(report["joins"]["joined"].as_u64() >= Some(30), "{report}");
    assert_eq!(report["latency"]["join"]["count"], report["joins"]["joined"]);
    assert!(report["latency"]["seen_by_others"]["count"].as_u64() > Some(0), "{report}");
    let beats = &report["beats"];
    let whole = |key: &str| beats[key].as_u64().expect("a number");
    assert!(whole("sent") >= 30, "{beats}");
    assert_eq!(whole("sent"), whole("answered") + whole("lost_with_their_line"), "no beat is without an answer");
    let after = &report["server"]["after"];
    assert_eq!((&after["participants{status=\"active\"}"], &after["rooms"]), (&json!(30.0), &json!(6.0)));
    let sessions = server.get("/v1/reading-sessions?active=true", Some(&service())).await.expect(200);
    assert_eq!(sessions["items"], json!([]), "what was opened for a run is closed after it");
}

#[tokio::test]
async fn a_storm_is_seen_by_nobody_as_leaving() {
    let server = TestServer::start(&["--grace", "1m"]).await;
    let loaded = load(server.address(), &["--sessions", "6", "--per-session", "5", "--profile", "storm"]).await;
    loaded.agrees(30);
    assert!(loaded.report["joins"]["came_back"].as_u64() >= Some(30), "{}", loaded.report["joins"]);
    assert!(loaded.report["all_back_ms"].is_f64(), "{}", loaded.report);
    assert_eq!(server.metric("lastseen_leaves_total{reason=\"timeout\"}").await, 0.0);
}

#[tokio::test]
async fn one_big_room_is_loaded_by_several_processes_from_several_addresses() {
    let server = TestServer::start(&["--detail-limit", "30"]).await;
    let flags = ["--profile", "one-big-room", "--per-session", "4", "--workers", "2"];
    let more = ["--source-addresses", "127.0.0.1,127.0.0.5-6", "--churn", "300%/min"];
    let loaded = load(server.address(), &[&flags[..], &more].concat()).await;
    loaded.agrees(40);
    assert_eq!(loaded.report["plan"]["sessions"], 1);
    assert!(loaded.report["frames"]["occupancy"].as_u64() > Some(0), "over its limit it is told by counts");
}

#[tokio::test]
async fn at_a_tarot_evening_people_drop_and_come_back() {
    let server = TestServer::start(&["--grace", "1s"]).await;
    let loaded = load(server.address(), &["--profile", "tarot", "--sessions", "8", "--beat-interval", "1s"]).await;
    loaded.agrees(loaded.people());
    assert!(loaded.report["joins"]["came_back"].as_u64() > Some(0), "{}", loaded.report["joins"]);
}

#[tokio::test]
async fn without_a_token_guests_open_the_sessions_and_their_hosts_close_them() {
    let server = TestServer::start(&["--guest-hosts=true"]).await;
    let directory = tempfile::tempdir().expect("a directory");
    let (json, html) = (file(&directory, "report.json"), file(&directory, "report.html"));
    let url = format!("http://{}", server.address());
    let flags = ["--sessions", "3", "--per-session", "3", "--duration", "1s", "--html", &html];
    let finished = run(&["load", "--url", &url, "--json", &json].into_iter().chain(flags).collect::<Vec<_>>()).await;
    assert_eq!(finished.status.code(), Some(0), "{finished:?}");
    let sessions = server.get("/v1/reading-sessions?active=true", Some(&service())).await.expect(200);
    assert_eq!(sessions["items"], json!([]));

    let report: Value = serde_json::from_str(&std::fs::read_to_string(&json).expect("a report")).expect("JSON");
    let expected = "all_back_ms beats connections_lost disagreements ended_early errors frames joins latency per_participant plan seconds server started_at timeline version";
    assert_eq!(keys(&report).into_iter().collect::<Vec<_>>().join(" "), expected, "programs are written against them");
    let page = std::fs::read_to_string(&html).expect("a page");
    assert!(page.contains(finished.stdout.lines().next().expect("a first line")), "the report is in the page");
    assert!(!page.contains("{{") && !page.contains("src=") && !page.contains("href="), "it asks no other host");
}

#[tokio::test]
async fn who_is_refused_is_counted_by_code_and_told_what_helps() {
    let server = TestServer::start(&["--max-connections-per-ip", "4", "--grace", "1s"]).await;
    let flags = ["--sessions", "2", "--per-session", "5", "--patience", "1ms"];
    let loaded = load(server.address(), &flags).await;
    let report = &loaded.report;
    assert!(report["joins"]["failures"]["rate_limited"].as_u64() >= Some(6), "{report}");
    assert_eq!((&report["joins"]["joined"], &report["joins"]["outside_at_end"]), (&json!(4), &json!(6)));
    assert!(loaded.finished.stdout.contains("--source-addresses"), "{}", loaded.finished.stdout);
    assert_eq!(loaded.disagreements()["count"], 0, "who is not in is no disagreement");

    let spread = ["--source-addresses", "127.0.0.2-6"];
    load(server.address(), &[&flags[..4], &spread].concat()).await.agrees(10);
}

#[tokio::test]
async fn ctrl_c_ends_early_with_the_report_of_what_was_measured() {
    let server = TestServer::start(&[]).await;
    for workers in ["1", "2"] {
        let directory = tempfile::tempdir().expect("a directory");
        let (json, url, token) = (file(&directory, "report.json"), format!("http://{}", server.address()), service());
        let flags = ["--sessions", "4", "--per-session", "3", "--duration", "1h", "--workers", workers];
        let arguments = ["load", "--url", &url, "--json", &json, "--token", &token].into_iter().chain(flags);
        let child = lastseen(&arguments.collect::<Vec<_>>()).spawn().expect("it starts");
        eventually("everybody is in", async || (server.metric("lastseen_connections").await == 12.0).then_some(()))
            .await;
        kill(Pid::from_raw(child.id().expect("it runs").cast_signed()), Signal::SIGINT).expect("signalled");
        let output = child.wait_with_output().await.expect("it ends");
        let said = String::from_utf8(output.stdout).expect("text");
        assert_eq!(output.status.code(), Some(0), "{said}");
        assert!(said.contains("(ended early)") && said.contains("12 views compared"), "{said}");
        let report: Value = serde_json::from_str(&std::fs::read_to_string(&json).expect("a report")).expect("JSON");
        assert_eq!((&report["ended_early"], &report["joins"]["joined"]), (&json!(true), &json!(12)));
    }
}

#[tokio::test]
async fn what_cannot_be_loaded_is_refused_in_one_line() {
    // An address for documentation: nothing is asked of it.
    for (flags, words) in [
        (vec!["--url", "http://192.0.2.1:9"], "--i-own-this-server"),
        (vec!["--url", "http://127.0.0.1:9", "--sessions", "3000"], "--workers 2"),
        (vec!["--url", "http://127.0.0.1:9"], "does not answer"),
        (vec!["--url", "ftp://127.0.0.1"], "http://host:port"),
    ] {
        let finished = run(&["load"].into_iter().chain(flags).collect::<Vec<_>>()).await;
        assert_eq!((finished.status.code(), finished.stdout.as_str()), (Some(1), ""), "{finished:?}");
        assert!(finished.complaint().contains(words), "{finished:?}");
    }
    let server = TestServer::start(&["--guest-hosts=false"]).await;
    let url = format!("http://{}", server.address());
    for (flags, words) in [
        (vec![], "--jwt-secret"),
        (vec!["--jwt-secret", "another secret than the server's own"], "that this server takes"),
    ] {
        let finished = run(&["load", "--url", &url].into_iter().chain(flags).collect::<Vec<_>>()).await;
        assert_eq!(finished.status.code(), Some(1), "{finished:?}");
        assert!(finished.stderr.contains(words) && !finished.stderr.contains(SECRET), "{finished:?}");
    }
}

#[tokio::test]
async fn what_somebody_in_between_takes_away_or_makes_up_is_found() {
    let server = TestServer::start(&["--beat-interval", "1s", "--grace", "1s"]).await;
    let flags = ["--sessions", "1", "--per-session", "4", "--patience", "1ms", "--churn", "1000%/min"];
    let lies = [
        ("gap", lose_a_diff as Lie, "did not receive diff"),
        ("beat_unanswered", swallow_beats, "waits for the answers"),
        ("wrong_leave", say_somebody_left, "left (Timeout), which it had not"),
        ("view", rename_all, "the server answers"),
    ];
    join_all(lies.map(async |(kind, lie, words)| {
        let between = Between::start(server.address(), lie).await;
        let loaded = load(between, &flags).await;
        assert_eq!(loaded.finished.status.code(), Some(1), "{kind}: {}", loaded.finished.stdout);
        let found = loaded.disagreements()["by_kind"][kind].as_u64();
        assert!(found > Some(0), "{kind}: {}", loaded.finished.stdout);
        assert!(loaded.finished.stdout.contains(words), "{kind}: {}", loaded.finished.stdout);
    }))
    .await;
}

/// What the proxy makes of a frame of the server; `None` where it drops it. The second argument is the number
/// of frames of this connection before, without the answers to beats.
type Lie = fn(Value, usize) -> Option<Value>;

fn lose_a_diff(frame: Value, before: usize) -> Option<Value> {
    (frame["type"] != "diff" || before != 1).then_some(frame)
}

fn swallow_beats(frame: Value, _: usize) -> Option<Value> {
    (frame["type"] != "beat").then_some(frame)
}

fn rename_all(mut frame: Value, _: usize) -> Option<Value> {
    for list in ["participants", "joins", "updates"] {
        for person in frame[list].as_array_mut().into_iter().flatten() {
            person["name"] = json!("Somebody else");
        }
    }
    Some(frame)
}

/// Joins are sent as leaves.
fn say_somebody_left(mut frame: Value, _: usize) -> Option<Value> {
    if let Some(joins) = frame["joins"].as_array_mut().map(std::mem::take)
        && let Some(leaves) = frame["leaves"].as_array_mut()
    {
        leaves.extend(joins.iter().map(|person| json!({"id": person["id"], "reason": "timeout"})));
    }
    Some(frame)
}

/// Stands between clients and the server. Calls pass as they are, frames of the server through a lie.
struct Between;

impl Between {
    async fn start(server: SocketAddr, lie: Lie) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(Self::pass(client, server, lie));
            }
        });
        address
    }

    #[expect(clippy::result_large_err, reason = "the library wants a callback that may refuse with an answer")]
    async fn pass(mut client: TcpStream, server: SocketAddr, lie: Lie) {
        let mut start = [0; 512];
        let read = client.peek(&mut start).await.unwrap_or_default();
        let line = String::from_utf8_lossy(&start[..read]).into_owned();
        let mut upstream = TcpStream::connect(server).await.expect("the server");
        if !line.lines().next().unwrap_or_default().contains("/ws?") {
            // Whichever side closes first, the other one sees it.
            let _ = copy_bidirectional(&mut client, &mut upstream).await;
            return;
        }
        let mut asked = None;
        let keep = |request: &Request, mut response: Response| {
            let protocols = request.headers().get("sec-websocket-protocol").cloned();
            asked = Some((request.uri().clone(), protocols));
            response.headers_mut().insert("sec-websocket-protocol", "lastseen.v1".parse().expect("a header"));
            Ok(response)
        };
        let Ok(client) = tokio_tungstenite::accept_hdr_async(client, keep).await else { return };
        let (uri, protocols) = asked.expect("a request");
        let mut request = format!("ws://{server}{uri}").into_client_request().expect("a request");
        request.headers_mut().insert("sec-websocket-protocol", protocols.expect("protocols"));
        let Ok((upstream, _)) = tokio_tungstenite::client_async(request, upstream).await else { return };
        let ((mut to_client, mut from_client), (mut to_server, mut from_server)) = (client.split(), upstream.split());
        let up = async {
            while let Some(Ok(message)) = from_client.next().await {
                if to_server.send(message).await.is_err() {
                    return;
                }
            }
        };
        let down = async {
            let mut before = 0;
            while let Some(Ok(message)) = from_server.next().await {
                let message = match message {
                    Message::Text(text) => {
                        let frame: Value = serde_json::from_str(&text).expect("JSON");
                        let is_answer = frame["type"] == "beat";
                        let told = lie(frame, before);
                        before += usize::from(!is_answer);
                        match told {
                            Some(frame) => Message::text(frame.to_string()),
                            None => continue,
                        }
                    }
                    message => message,
                };
                if to_client.send(message).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = up => {}
            () = down => {}
        }
    }
}
