//! When PostgreSQL is away: people who are in stay in and see each other, newcomers are refused with a
//! retry, what is seen is kept and written when the database is there again, and no task dies.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use lastseen::store::embedded::Embedded;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use reqwest::Method;
use serde_json::{Value, json};
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, ConnectOptions, Connection};
use tempfile::TempDir;
use uuid::Uuid;

use crate::harness::cluster::{TestDatabase, own_cluster};
use crate::harness::rest::{Opened, did, service, user};
use crate::harness::rows::{person, user_session};
use crate::harness::{Client, Join, TestServer, eventually, pass};

/// Few, so that they are soon taken.
const MAX_CONNECTIONS: u32 = 30;

/// A PostgreSQL of the test's own, that may be hurt.
struct Own {
    embedded: Embedded,
    _directory: TempDir,
}

impl Own {
    async fn start() -> Self {
        let (embedded, directory) = own_cluster(MAX_CONNECTIONS).await;
        Self { embedded, _directory: directory }
    }

    fn database(&self) -> TestDatabase {
        TestDatabase::at(self.embedded.admin(), 2)
    }

    /// Stops the postmaster and everything that it started, as a machine does that is frozen.
    async fn pause(&self) -> Paused {
        let mut connection = self.embedded.admin().connect().await.expect("a connection");
        let mut paused = Paused(Vec::new());
        // First, so that nothing is started after we asked for what there is.
        paused.stop(self.embedded.pid().cast_signed());
        let pids: Vec<i32> = sqlx::query_scalar("SELECT pid FROM pg_stat_activity ORDER BY pid = pg_backend_pid()")
            .fetch_all(&mut connection)
            .await
            .expect("the processes");
        assert!(pids.len() > 1);
        pids.into_iter().for_each(|pid| paused.stop(pid));
        paused
    }

    async fn stop(self, server: TestServer) {
        server.stop().await;
        self.embedded.stop().await;
    }
}

/// Goes on when dropped, also where the test fails.
struct Paused(Vec<Pid>);

impl Paused {
    fn stop(&mut self, pid: i32) {
        let pid = Pid::from_raw(pid);
        kill(pid, Signal::SIGSTOP).expect("stopped");
        self.0.push(pid);
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        for pid in &self.0 {
            let _ = kill(*pid, Signal::SIGCONT);
        }
    }
}

/// People in a session whose joins are in the database.
struct Company {
    session: Opened,
    ada: Client,
    bob: Client,
}

impl Company {
    async fn gather(server: &TestServer) -> Self {
        let session = server.open().await;
        let mut ada = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Ada")).await;
        let bob = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Bob")).await;
        ada.sees(&[ada.id(), bob.id()]).await;
        // A sweep begins with a flush.
        server.sweep().await;
        Self { session, ada, bob }
    }

    /// Beats are answered, and what one does the other sees; gives when that was.
    async fn is_alive(&mut self, page: u64) -> DateTime<Utc> {
        let now = Utc::now();
        self.bob.send(json!({"type": "beat", "ref": page})).await;
        assert_eq!(self.bob.frame("beat").await["ref"], page);
        self.ada.send(json!({"type": "update", "state": {"page": page}})).await;
        let ada = self.ada.id();
        self.bob.until("Ada's page", |client| client.view[&ada]["state"] == json!({"page": page})).await;
        now
    }

    /// A newcomer is refused with a retry, and the server reports that it is not ready.
    async fn is_closed_to_newcomers(&self, server: &TestServer) {
        let session = self.session.id.to_string();
        let (join, invite) =
            (Join::invite(&self.session.invite, "Late"), format!("/v1/invites/{}", self.session.invite));
        // Each of them waits for the database as long as the server has patience.
        let look = server.call_once(Method::GET, &invite, None, Value::Null);
        let (refused, invite) = tokio::join!(Client::refused_at_once(server.address(), &session, &join), look);
        assert_eq!((refused.code, &refused.error["code"]), (1013, &json!("unavailable")));
        assert_eq!(refused.error["retry"], true);
        assert!(refused.error["retry_after_ms"].is_u64(), "{}", refused.error);
        invite.refused(503, "unavailable");
        // An answer of the second before may hold still.
        let unready = eventually("that it is not ready", async || {
            Some(server.get("/readyz", None).await).filter(|answer| answer.status != 200)
        });
        unready.await.refused(503, "unavailable");
        server.get("/healthz", None).await.expect(200);
    }

    /// All is as if nothing had been: what was seen since is written, newcomers come in, flush and
    /// sweep work, and no client noticed anything.
    async fn is_well(&mut self, server: &TestServer, seen: DateTime<Utc>, page: u64) {
        eventually("readiness", async || (server.get("/readyz", None).await.status == 200).then_some(())).await;
        for (id, state) in [(self.ada.id(), json!({"page": page})), (self.bob.id(), json!({}))] {
            eventually("what was seen in the database", async || {
                let row = person(&server.database.pool, id).await;
                (row.is_active && row.state == state && row.last_seen_at >= seen - TimeDelta::seconds(1)).then_some(())
            })
            .await;
        }
        let newcomer = eventually("a newcomer comes in", async || {
            let join = Join::invite(&self.session.invite, "Newcomer");
            match Client::try_join(server.address(), self.session.id, &join).await {
                Ok(client) => Some(client),
                Err(ended) => {
                    assert_eq!(ended.code, 1013);
                    None
                }
            }
        })
        .await;
        let id = newcomer.id();
        self.ada.until("the newcomer", |client| client.view.contains_key(&id)).await;
        self.is_alive(page + 1).await;
        eventually("the flush goes on", async || {
            (person(&server.database.pool, self.ada.id()).await.state == json!({"page": page + 1})).then_some(())
        })
        .await;
        let idle = server.open().await;
        server.age(idle.id, 2.0 * 3600.0).await;
        assert_eq!(did(&server.sweep().await), json!({"closed": 1}));
        for client in [&self.ada, &self.bob] {
            assert_eq!(client.gaps, []);
            assert!(client.heard.iter().all(|frame| frame["type"] != "error"), "{:?}", client.heard);
        }
        // No refused person is left in the database as present.
        let here: Vec<_> = self.ada.view.keys().copied().collect();
        eventually("the database shows those who are here", async || {
            let present: Vec<Uuid> = sqlx::query_scalar(
                "SELECT id FROM session_participants WHERE session_id = $1 AND is_active ORDER BY id",
            )
            .bind(self.session.id)
            .fetch_all(&server.database.pool)
            .await
            .expect("people");
            (present == here).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn while_the_database_is_paused_people_stay_come_back_and_see_each_other_and_no_beat_is_lost() {
    let own = Own::start().await;
    let server = TestServer::on(own.database(), &["--grace", "60s"]).await;
    let mut company = Company::gather(&server).await;
    let session = company.session.clone();
    let join =
        async |name: &str| Client::join(server.address(), session.id, &Join::invite(&session.invite, name)).await;
    let (mut cyd, dora) = (join("Cyd").await, join("Dora").await);
    let everybody = [company.ada.id(), company.bob.id(), cyd.id(), dora.id()];
    company.ada.sees(&everybody).await;
    server.sweep().await;

    let paused = own.pause().await;
    company.is_alive(1).await;
    cyd.send(json!({"type": "leave"})).await;
    assert_eq!(cyd.ended().await.code, 1000);
    company.ada.sees(&[company.ada.id(), company.bob.id(), dora.id()]).await;
    assert_eq!(company.ada.heard.last().expect("a diff")["leaves"], json!([{"id": cyd.id(), "reason": "left"}]));
    let (dora_id, token) = (dora.id(), dora.resume_token());
    dora.vanish();
    company.ada.until("Dora is lost", |client| client.view[&dora_id]["status"] == "reconnecting").await;
    let back = Client::join(server.address(), session.id, &Join::resume(&token)).await;
    assert_eq!(back.id(), dora_id);
    company.ada.until("Dora is back", |client| client.view[&dora_id]["status"] == "active").await;
    company.is_closed_to_newcomers(&server).await;
    // An outage that is longer than every patience.
    pass(Duration::from_secs(10)).await;
    let seen = company.is_alive(2).await;
    company.is_closed_to_newcomers(&server).await;

    drop(paused);
    company.is_well(&server, seen, 2).await;
    let left = person(&server.database.pool, cyd.id()).await;
    assert_eq!((left.is_active, left.leave_reason.as_deref()), (false, Some("left")));
    own.stop(server).await;
}

#[tokio::test]
async fn what_user_sessions_do_while_the_database_is_paused_is_there_when_it_is_back() {
    let own = Own::start().await;
    let server = TestServer::on(own.database(), &["--grace", "60s"]).await;
    let (open, ada) = (server.open().await, user(Uuid::now_v7(), "Ada"));
    let bobs = json!({"session_id": "bobs", "platform": "web"});
    server.post("/v1/user-sessions", Some(&user(Uuid::now_v7(), "Bob")), bobs).await.expect(201);
    let with = |session: &str, way: Join| Join { more: format!("platform=web&client_session={session}"), ..way };
    let way = Join { token: Some(ada.clone()), ..Join::invite(&open.invite, "Ada") };
    let mut before = Client::join(server.address(), open.id, &with("before", way)).await;
    eventually("its row", async || {
        let row = user_session(&server.database.pool, "before").await?;
        (row.frontend_connections == 1).then_some(())
    })
    .await;

    let paused = own.pause().await;
    // She is in the room: another device of hers comes in without the database.
    let mut others = Vec::new();
    for session in ["during", "bobs"] {
        others.push(Client::join(server.address(), open.id, &with(session, Join::token(&ada))).await);
    }
    for client in others.iter_mut().chain([&mut before]) {
        for _ in 0..3 {
            client.send(json!({"type": "beat"})).await;
        }
        client.catch_up().await;
    }
    let known = Utc::now();
    drop(paused);

    for session in ["before", "during"] {
        let row = eventually("every beat of its time", async || {
            user_session(&server.database.pool, session).await.filter(|row| row.activity_count == 3)
        })
        .await;
        assert_eq!((row.status.as_str(), row.frontend_connections), ("active", 1), "{session}");
        assert!(row.started_at <= known + TimeDelta::seconds(1), "it began when its connection did: {row:?}");
    }
    // What turns out not to be hers is not tracked any more.
    eventually("two that are", async || (server.metric("lastseen_user_sessions").await == 2.0).then_some(())).await;
    let row = user_session(&server.database.pool, "bobs").await.expect("a row");
    assert_eq!((row.activity_count, row.frontend_connections), (0, 0));
    drop((others, before));
    own.stop(server).await;
}

#[tokio::test]
async fn what_may_have_been_admitted_in_an_outage_is_undone_and_what_was_never_sent_leaves_nothing_to_undo() {
    const NEWCOMERS: usize = 30;
    let own = Own::start().await;
    let server = TestServer::on(own.database(), &["--grace", "60s"]).await;
    let mut company = Company::gather(&server).await;
    let id = company.session.id.to_string();
    let knock = async || {
        let join = Join::invite(&company.session.invite, "Late");
        let knocks = (0..NEWCOMERS).map(|_| Client::refused_at_once(server.address(), &id, &join));
        for refused in join_all(knocks).await {
            assert_eq!((refused.code, &refused.error["code"]), (1013, &json!("unavailable")));
        }
        server.metric("lastseen_compensations").await
    };

    let paused = own.pause().await;
    let in_doubt = knock().await;
    // There is no connection left on which a request could be sent.
    for _ in 0..2 {
        assert!(knock().await <= in_doubt, "a request that was not sent is in doubt");
    }
    drop(paused);
    eventually("nothing in doubt", async || (server.metric("lastseen_compensations").await == 0.0).then_some(())).await;
    let seen = company.is_alive(1).await;
    company.is_well(&server, seen, 1).await;
    own.stop(server).await;
}

#[tokio::test]
async fn a_database_that_is_killed_comes_back_and_nothing_that_was_seen_is_lost() {
    let own = Own::start().await;
    let server = TestServer::on(own.database(), &["--grace", "60s"]).await;
    let mut company = Company::gather(&server).await;
    let killed = own.embedded.pid();
    kill(Pid::from_raw(killed.cast_signed()), Signal::SIGKILL).expect("killed");
    let seen = company.is_alive(1).await;
    eventually("another postmaster", async || (own.embedded.pid() != killed).then_some(())).await;
    company.is_well(&server, seen, 1).await;
    own.stop(server).await;
}

#[tokio::test]
async fn a_database_without_a_free_connection_keeps_newcomers_out_and_nobody_else() {
    let own = Own::start().await;
    let server = TestServer::on(own.database(), &["--grace", "60s"]).await;
    let mut company = Company::gather(&server).await;

    // Another client takes every connection of PostgreSQL, those of the server too.
    let options = own.embedded.admin().application_name("hog");
    let mut hog: Vec<PgConnection> = vec![options.connect().await.expect("a connection")];
    eventually("every connection taken", async || {
        sqlx::query("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lastseen'")
            .execute(&mut hog[0])
            .await
            .expect("an answer");
        while let Ok(connection) = options.connect().await {
            hog.push(connection);
        }
        let others: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'hog'",
        )
        .fetch_one(&mut hog[0])
        .await
        .expect("a count");
        (others == 0 && hog.len() == MAX_CONNECTIONS as usize).then_some(())
    })
    .await;

    let seen = company.is_alive(1).await;
    company.is_closed_to_newcomers(&server).await;
    for connection in hog {
        connection.close().await.expect("given back");
    }
    company.is_well(&server, seen, 1).await;
    own.stop(server).await;
}

#[tokio::test]
async fn a_flush_that_fails_keeps_its_rows_and_says_so() {
    let server = TestServer::start(&[]).await;
    let mut company = Company::gather(&server).await;
    eventually("readiness", async || (server.get("/readyz", None).await.status == 200).then_some(())).await;
    for statement in [
        "CREATE FUNCTION out_of_space() RETURNS trigger LANGUAGE plpgsql AS
         $$ BEGIN RAISE EXCEPTION 'no space' USING ERRCODE = '53100'; END $$",
        "CREATE TRIGGER out_of_space BEFORE UPDATE ON session_participants EXECUTE FUNCTION out_of_space()",
    ] {
        sqlx::query(statement).execute(&server.database.pool).await.expect(statement);
    }
    let seen = company.is_alive(1).await;
    for failures in [1.0, 2.0] {
        eventually("flushes that fail", async || {
            let figures =
                [server.metric("lastseen_flush_failures_total").await, server.metric("lastseen_flush_backlog").await];
            // Both of them wait to be written.
            (figures[0] >= failures && figures[1] == 2.0).then_some(())
        })
        .await;
    }
    let detail = server.get("/readyz", None).await.refused(503, "unavailable");
    assert!(detail.contains("kept and tried again"), "{detail}");
    let stats = server.get("/v1/admin/stats", Some(&service())).await.expect(200);
    assert!(stats["flush_backlog"].is_u64(), "{stats}");
    let row = person(&server.database.pool, company.ada.id()).await;
    assert_eq!(row.state, json!({}));

    sqlx::query("DROP TRIGGER out_of_space ON session_participants")
        .execute(&server.database.pool)
        .await
        .expect("it is gone");
    company.is_well(&server, seen, 1).await;
    eventually("nothing waits", async || (server.metric("lastseen_flush_backlog").await == 0.0).then_some(())).await;
}

#[tokio::test]
async fn a_newcomer_whose_admission_came_too_late_leaves_no_trace() {
    for hangs_up in [false, true] {
        let server = TestServer::start(&[]).await;
        let session = server.open_as(Some(&service()), json!({})).await;
        let path = format!("/v1/reading-sessions/{}/invites", session.id);
        let invite: Value = server.post(&path, Some(&service()), json!({"max_uses": 1})).await.expect(201);
        let join = Join::invite(invite["token"].as_str().expect("a token"), "Ada");

        // The admission waits for us, longer than anybody wants to wait for it.
        for statement in [
            "CREATE TABLE go ()",
            "GRANT SELECT ON go TO PUBLIC",
            "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$
             BEGIN
                WHILE NOT EXISTS (SELECT FROM public.go) LOOP PERFORM pg_sleep(0.01); END LOOP;
                RETURN NULL;
             END $$",
            "CREATE TRIGGER wait AFTER INSERT ON session_participants FOR EACH ROW EXECUTE FUNCTION wait()",
        ] {
            sqlx::query(statement).execute(&server.database.pool).await.expect(statement);
        }
        let id = session.id.to_string();
        if hangs_up {
            tokio::select! {
                _ = Client::connect(server.address(), &id, &join) => panic!("let in before its row was made"),
                () = eventually("an admission at work", async || (at_work(&server, "wait_event = 'PgSleep'").await > 0).then_some(())) => {}
            }
        } else {
            let refused = Client::refused_at_once(server.address(), &id, &join).await;
            assert_eq!((refused.code, &refused.error["code"]), (1013, &json!("unavailable")));
        }
        sqlx::query("INSERT INTO go DEFAULT VALUES").execute(&server.database.pool).await.expect("on it goes");

        eventually("no statement runs for the newcomer", async || {
            (at_work(&server, "state <> 'idle'").await == 0).then_some(())
        })
        .await;
        eventually("no person is in the database as present", async || {
            let people: i64 =
                server.sql("SELECT count(*) FROM session_participants WHERE session_id = $1", session.id).await;
            (people == 0).then_some(())
        })
        .await;
        // The one use of the invite is not gone.
        let ada = Client::join(server.address(), session.id, &join).await;
        assert_eq!(ada.welcome["occupancy"], 1);
    }
}

/// How many others on this database are in this condition.
async fn at_work(server: &TestServer, condition: &'static str) -> i64 {
    let query = format!(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() AND {condition}"
    );
    sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&server.database.pool).await.expect("a count")
}
