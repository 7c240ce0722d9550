//! The flush: what is seen ends up in the database, once, and never moves time backwards; what the
//! database has ended meanwhile leaves memory.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::TimeDelta;
use futures_util::future::join;
use lastseen::clock::Clock;
use lastseen::config::SchemaName;
use lastseen::domain::idle::{IdleCounts, IdleRule};
use lastseen::domain::ids::{ParticipantId, SessionId};
use lastseen::domain::participant::LeaveReason;
use lastseen::domain::user_session;
use lastseen::metrics::Metrics;
use lastseen::room::{Liveness, Registry, RoomMetrics, Rules, Schedule, Shared, State, Timings, WriteBehind};
use lastseen::store::Store;
use lastseen::task::flush::Flusher;
use lastseen::user_session::UserSessions;
use serde_json::json;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::harness::cluster::TestDatabase;
use crate::harness::rest::{Opened, service, user};
use crate::harness::rows::{self, Person, execute, person, stored};
use crate::harness::{Client, Join, TestServer, eventually, pass, quiet};

/// Joins as a guest.
async fn guest(server: &TestServer, session: &Opened, name: &str) -> Client {
    Client::join(server.address(), session.id, &Join::invite(&session.invite, name)).await
}

/// Waits until the database shows a person like this.
async fn shows(server: &TestServer, client: &Client, what: &str, condition: impl Fn(&Person) -> bool) -> Person {
    eventually(what, async || Some(person(&server.database.pool, client.id()).await).filter(&condition)).await
}

/// Writes everything that was noted before: a state is noted after it and then seen in the database.
async fn flushed(server: &TestServer, client: &mut Client) {
    let state = json!({"flush": Uuid::now_v7()});
    client.send(json!({"type": "update", "state": state})).await;
    shows(server, client, "the state of a flush", |row| row.state == state).await;
}

#[tokio::test]
async fn a_join_a_state_and_a_leave_reach_the_database() {
    let server = TestServer::start(&[]).await;
    let session = server.open().await;
    let mut ada = guest(&server, &session, "Ada").await;
    let row = person(&server.database.pool, ada.id()).await;
    assert_eq!((row.is_active, row.node.as_deref(), row.leave_reason), (true, Some("test"), None));

    ada.send(json!({"type": "update", "state": {"page": 4}})).await;
    shows(&server, &ada, "the state", |row| row.state == json!({"page": 4})).await;

    let mut bob = guest(&server, &session, "Bob").await;
    let bob_id = bob.id();
    bob.send(json!({"type": "leave"})).await;
    assert_eq!(bob.ended().await.code, 1000);
    let left = shows(&server, &bob, "the leave", |row| !row.is_active).await;
    assert_eq!(left.leave_reason.as_deref(), Some("left"));
    assert!(left.left_at.is_some_and(|at| at >= left.joined_at - TimeDelta::seconds(1)), "{left:?}");

    // A person who comes back is in the database as if never gone.
    let bob = Client::join(server.address(), session.id, &Join::resume(&bob.resume_token())).await;
    assert_eq!(bob.id(), bob_id);
    let back = shows(&server, &bob, "the return", |row| row.is_active).await;
    assert_eq!((back.left_at, back.leave_reason), (None, None));
}

#[tokio::test]
async fn who_comes_back_before_a_flush_shows_what_it_showed_last() {
    let server = TestServer::start(&["--flush-interval", "20m"]).await;
    let session = server.open().await;
    let pool = &server.database.pool;
    let mut ada = guest(&server, &session, "Ada").await;
    ada.send(json!({"type": "update", "state": {"page": 1}})).await;
    ada.catch_up().await;
    server.sweep().await;
    assert_eq!(person(pool, ada.id()).await.state, json!({"page": 1}));

    ada.send(json!({"type": "update", "state": {"page": 2}})).await;
    let (id, resume) = (ada.id(), ada.resume_token());
    assert_eq!(ada.leave().await.code, 1000);
    let back = Client::join(server.address(), session.id, &Join::resume(&resume)).await;
    assert_eq!(back.view[&id]["state"], json!({"page": 2}));
    server.sweep().await;
    let row = person(pool, id).await;
    assert_eq!((row.is_active, row.state), (true, json!({"page": 2})));

    // Also where the leave was written before.
    assert_eq!(back.leave().await.code, 1000);
    server.sweep().await;
    let back = Client::join(server.address(), session.id, &Join::resume(&resume)).await;
    assert_eq!(back.view[&id]["state"], json!({"page": 2}));
}

#[tokio::test]
async fn a_lost_connection_is_written_as_a_timeout_once_the_grace_has_run_out() {
    let server = TestServer::start(&["--grace", "200ms"]).await;
    let session = server.open().await;
    let ada = guest(&server, &session, "Ada").await;
    let id = ada.id();
    ada.vanish();
    let row =
        eventually("the timeout", async || Some(person(&server.database.pool, id).await).filter(|row| !row.is_active))
            .await;
    assert_eq!(row.leave_reason.as_deref(), Some("timeout"));
    assert!(row.left_at.is_some());
}

#[tokio::test]
async fn a_pong_is_being_seen_and_a_beat_is_activity_too() {
    let server = TestServer::start(&["--ping-interval", "50ms"]).await;
    let session = server.open().await;
    let mut ada = guest(&server, &session, "Ada").await;
    let id = ada.id();
    // Pings are answered while this reads.
    let gap = TimeDelta::milliseconds(300);
    let reading = tokio::spawn(async move {
        ada.until("an end that the test brings about", |client| {
            client.heard.iter().any(|frame| frame["type"] == "beat")
        })
        .await;
    });
    let ponged = eventually("Pongs alone move what is seen", async || {
        Some(person(&server.database.pool, id).await).filter(|row| row.last_seen_at - row.last_activity_at > gap)
    })
    .await;
    assert!(ponged.is_active);
    reading.abort();

    let mut bob = guest(&server, &session, "Bob").await;
    // A beat of an unattended tab is like a Pong.
    let unattended = eventually("beats without activity move what is seen", async || {
        bob.send(json!({"type": "beat", "active": false})).await;
        bob.frame("beat").await;
        // One for each flush: more than a burst would be refused.
        eventually("the flush", async || (server.metric("lastseen_flush_backlog").await == 0.0).then_some(())).await;
        Some(person(&server.database.pool, bob.id()).await).filter(|row| row.last_seen_at - row.last_activity_at > gap)
    })
    .await;
    bob.send(json!({"type": "beat"})).await;
    bob.frame("beat").await;
    shows(&server, &bob, "the activity", |row| row.last_activity_at > unattended.last_activity_at + gap).await;
}

#[tokio::test]
async fn time_never_runs_backwards_and_a_row_in_the_future_is_left_as_it_is() {
    let server = TestServer::start(&[]).await;
    let session = server.open().await;
    let mut ada = guest(&server, &session, "Ada").await;
    flushed(&server, &mut ada).await;
    execute(
        &server.database.pool,
        "UPDATE session_participants SET last_seen_at = now() + interval '1 day', last_activity_at = now() + interval '1 day' WHERE id = $1",
        ada.id(),
    )
    .await;
    let ahead = person(&server.database.pool, ada.id()).await;

    // A beat alone has nothing to write.
    let mut bob = guest(&server, &session, "Bob").await;
    ada.send(json!({"type": "beat"})).await;
    ada.frame("beat").await;
    flushed(&server, &mut bob).await;
    assert_eq!(person(&server.database.pool, ada.id()).await, ahead);

    // A state is written, and the stamps stay.
    flushed(&server, &mut ada).await;
    let after = person(&server.database.pool, ada.id()).await;
    assert_ne!(after.version, ahead.version);
    assert_eq!((after.last_seen_at, after.last_activity_at), (ahead.last_seen_at, ahead.last_activity_at));
}

#[tokio::test]
async fn what_did_not_change_is_not_written() {
    // No Pings: nothing is received from Ada but what she sends.
    let server = TestServer::start(&["--ping-interval", "10m", "--dead-after", "20m"]).await;
    let session = server.open().await;
    let mut ada = guest(&server, &session, "Ada").await;
    let mut bob = guest(&server, &session, "Bob").await;
    flushed(&server, &mut ada).await;
    // What Ada's last frame noted after the flush had read goes with the next one.
    flushed(&server, &mut bob).await;

    let (silent, beating) =
        (person(&server.database.pool, ada.id()).await, person(&server.database.pool, bob.id()).await);
    for _ in 0..3 {
        flushed(&server, &mut bob).await;
    }
    assert_eq!(person(&server.database.pool, ada.id()).await, silent);
    assert_ne!(person(&server.database.pool, bob.id()).await.version, beating.version);

    // The same state once more is no change of state.
    let state = person(&server.database.pool, ada.id()).await.state;
    ada.send(json!({"type": "update", "state": state})).await;
    shows(&server, &ada, "the update as a sign of life", |row| {
        row.last_seen_at > silent.last_seen_at && row.state == state
    })
    .await;
}

#[tokio::test]
async fn the_row_of_a_session_is_moved_only_when_it_lags_far_behind_its_people() {
    // By min(60 s, idle timeout / 10).
    for (idle_timeout, small_lag, large_lag) in [("1h", 1.0, 61.0), ("5m", 1.0, 31.0)] {
        let server = TestServer::start(&["--idle-timeout", idle_timeout]).await;
        let session = server.open().await;
        let mut ada = guest(&server, &session, "Ada").await;
        flushed(&server, &mut ada).await;
        let lag = async |seconds: f64| {
            sqlx::query(
                "UPDATE reading_sessions SET last_seen_at = clock_timestamp() - make_interval(secs => $2),
                    last_activity_at = clock_timestamp() - make_interval(secs => $2) WHERE id = $1",
            )
            .bind(session.id)
            .bind(seconds)
            .execute(&server.database.pool)
            .await
            .expect("an update");
            stored(&server.database.pool, session.id).await
        };

        let before = lag(small_lag).await;
        flushed(&server, &mut ada).await;
        assert_eq!(stored(&server.database.pool, session.id).await, before, "{idle_timeout}: beats moved the session");

        let before = lag(large_lag).await;
        flushed(&server, &mut ada).await;
        let after = stored(&server.database.pool, session.id).await;
        let step = TimeDelta::seconds(25);
        assert!(after.last_seen_at > before.last_seen_at + step, "{idle_timeout}: {before:?} {after:?}");
        assert!(after.last_activity_at > before.last_activity_at + step, "{idle_timeout}: {before:?} {after:?}");
    }
}

#[tokio::test]
async fn a_person_removed_by_sql_leaves_memory_with_the_next_flush_of_its_beats() {
    let server = TestServer::start(&[]).await;
    let session = server.open().await;
    let mut ada = guest(&server, &session, "Ada").await;
    let mut bob = guest(&server, &session, "Bob").await;
    flushed(&server, &mut bob).await;
    let removed: bool = sqlx::query_scalar("SELECT lastseen.remove_participant($1, $2)")
        .bind(session.id)
        .bind(ada.id())
        .fetch_one(&server.database.pool)
        .await
        .expect("an answer");
    assert!(removed);
    let row = person(&server.database.pool, ada.id()).await;

    ada.send(json!({"type": "beat"})).await;
    let ended = ada.ended().await;
    assert_eq!((ended.code, &ended.error["code"], &ended.error["retry"]), (4512, &json!("removed"), &json!(false)));
    bob.sees(&[bob.id()]).await;
    assert_eq!(bob.heard.last().expect("a diff")["leaves"], json!([{"id": ada.id(), "reason": "removed"}]));
    let refused = Client::refused(server.address(), &session.id.to_string(), &Join::resume(&ada.resume_token())).await;
    assert_eq!((refused.code, &refused.error["code"]), (4512, &json!("removed")));
    // The beat did not touch the row.
    flushed(&server, &mut bob).await;
    assert_eq!(person(&server.database.pool, ada.id()).await, row);
}

#[tokio::test]
async fn a_session_closed_by_sql_leaves_memory_with_the_next_flush_and_everybody_is_told_why() {
    for (statement, reason) in [
        ("SELECT FROM lastseen.close_session($1, 'admin')", "admin"),
        ("SELECT FROM lastseen.close_session($1, 'expired')", "expired"),
        (
            "UPDATE reading_sessions SET is_active = false, closed_at = now(), close_reason = 'host' WHERE id = $1",
            "host",
        ),
    ] {
        let server = TestServer::start(&[]).await;
        let session = server.open().await;
        let mut ada = guest(&server, &session, "Ada").await;
        let mut bob = guest(&server, &session, "Bob").await;
        flushed(&server, &mut ada).await;
        execute(&server.database.pool, statement, session.id).await;

        // One of them sends a beat, both are closed.
        ada.send(json!({"type": "beat"})).await;
        for client in [&mut ada, &mut bob] {
            let ended = client.ended().await;
            assert_eq!(ended.code, 4511, "{statement}");
            assert_eq!((&ended.error["code"], &ended.error["reason"]), (&json!("session_closed"), &json!(reason)));
            assert!(
                client.heard.iter().all(|frame| frame["leaves"].as_array().is_none_or(Vec::is_empty)),
                "{:?}",
                client.heard
            );
        }
        let refused =
            Client::refused(server.address(), &session.id.to_string(), &Join::resume(&ada.resume_token())).await;
        assert_eq!((refused.code, &refused.error["reason"]), (4511, &json!(reason)));
        assert_eq!(server.metric("lastseen_rooms").await, 0.0);
    }
}

#[tokio::test]
async fn an_observer_who_comes_in_while_the_session_is_being_closed_is_told_at_once() {
    let began = Instant::now();
    let server = TestServer::start(&quiet(&[])).await;
    let pool = &server.database.pool;
    for statement in [
        "CREATE TABLE go ()",
        "GRANT SELECT ON go TO PUBLIC",
        "INSERT INTO go DEFAULT VALUES",
        // A read waits for it after it has seen the row.
        "CREATE FUNCTION held() RETURNS boolean LANGUAGE plpgsql AS $$
         BEGIN WHILE NOT EXISTS (SELECT FROM public.go) LOOP PERFORM pg_sleep(0.01); END LOOP; RETURN true; END $$",
        "CREATE POLICY held ON reading_sessions AS RESTRICTIVE FOR SELECT USING (held())",
    ] {
        sqlx::query(statement).execute(pool).await.expect(statement);
    }
    let mut observer = eventually("an observer for whom the session was open", async || {
        let session = server.open().await;
        sqlx::query("DELETE FROM go").execute(pool).await.expect("reads wait");
        let answered = Cell::new(false);
        let joining = async {
            let joined = Client::try_join(server.address(), session.id, &Join::token(&service())).await;
            answered.set(true);
            joined
        };
        let closing = async {
            eventually("a read that waits", async || {
                let waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep')";
                let waits: bool = sqlx::query_scalar(waits).fetch_one(pool).await.expect("an answer");
                (waits || answered.get()).then_some(())
            })
            .await;
            execute(pool, "SELECT FROM lastseen.close_session($1, 'admin')", session.id).await;
            sqlx::query("INSERT INTO go DEFAULT VALUES").execute(pool).await.expect("reads go on");
        };
        join(joining, closing).await.0.ok()
    })
    .await;
    let ended = observer.ended().await;
    assert_eq!((ended.code, &ended.error["reason"]), (4511, &json!("admin")));
    assert!(began.elapsed() < Duration::from_mins(1), "it was the audit that found it");
}

#[tokio::test]
async fn the_leave_of_another_server_does_not_touch_somebody_who_moved_to_this_one() {
    let here = TestServer::start(&["--grace", "200ms"]).await;
    let there = here.beside("there", &["--grace", "60s"]).await;
    let session = here.open().await;
    let mut watcher = guest(&here, &session, "Watcher").await;
    let ada = Uuid::now_v7();
    let join = Join { token: Some(user(ada, "Ada")), ..Join::invite(&session.invite, "Ada") };
    let at_first = Client::join(here.address(), session.id, &join).await;
    let id = at_first.id();
    watcher.sees(&[watcher.id(), id]).await;
    flushed(&here, &mut watcher).await;

    let mut now = Client::join(there.address(), session.id, &Join::token(&user(ada, "Ada"))).await;
    assert_eq!(now.id(), id, "one user is one participant");
    at_first.vanish();
    watcher.sees(&[watcher.id()]).await;
    assert_eq!(watcher.heard.last().expect("a diff")["leaves"], json!([{"id": id, "reason": "timeout"}]));
    // The leave was noted before this.
    flushed(&here, &mut watcher).await;

    let row = person(&here.database.pool, id).await;
    assert_eq!((row.is_active, row.node.as_deref(), row.leave_reason), (true, Some("there"), None));
    flushed(&there, &mut now).await;
    // And once she leaves the server where she is, she is gone.
    now.send(json!({"type": "leave"})).await;
    assert_eq!(now.ended().await.code, 1000);
    let gone = shows(&there, &now, "the leave", |row| !row.is_active).await;
    assert_eq!(gone.leave_reason.as_deref(), Some("left"));
}

#[tokio::test]
async fn two_tabs_on_two_servers_that_leave_one_after_the_other_leave_nobody_present() {
    let here = TestServer::start(&[]).await;
    let there = here.beside("there", &[]).await;
    let session = here.open().await;
    let ada = Join { token: Some(user(Uuid::now_v7(), "Ada")), ..Join::invite(&session.invite, "Ada") };
    for first_leaves_first in [false, true] {
        let mut one = Client::join(here.address(), session.id, &ada).await;
        let mut two = Client::join(there.address(), session.id, &ada).await;
        flushed(&here, &mut one).await;
        flushed(&there, &mut two).await;
        let (id, (stays_at, mut stays), goes) =
            if first_leaves_first { (one.id(), (&there, two), one) } else { (one.id(), (&here, one), two) };
        assert_eq!(goes.leave().await.code, 1000);
        // The tab that stays is seen, and holds the person present.
        flushed(stays_at, &mut stays).await;
        let row = shows(stays_at, &stays, "who stays", |row| row.is_active).await;
        assert_eq!(row.node.as_deref(), Some(if first_leaves_first { "there" } else { "test" }));
        assert_eq!(stays.leave().await.code, 1000);
        let gone = eventually("nobody", async || {
            let row = person(&here.database.pool, id).await;
            (!row.is_active).then_some(row)
        })
        .await;
        assert_eq!(gone.leave_reason.as_deref(), Some("left"));
    }
}

#[tokio::test]
async fn of_the_states_that_two_servers_know_the_one_that_was_shown_last_stays() {
    let flags = quiet(&["--flush-interval", "20m"]);
    let here = TestServer::start(&flags).await;
    let there = here.beside("there", &flags).await;
    let session = here.open().await;
    let ada = Join { token: Some(user(Uuid::now_v7(), "Ada")), ..Join::invite(&session.invite, "Ada") };
    let mut one = Client::join(here.address(), session.id, &ada).await;
    let mut two = Client::join(there.address(), session.id, &ada).await;
    let show = async |client: &mut Client, page: u8| {
        client.send(json!({"type": "update", "state": {"page": page}})).await;
        client.catch_up().await;
        // By far more than a flush takes.
        pass(Duration::from_secs(10)).await;
    };
    let id = one.id();
    // A sweep begins with a flush.
    let stored_by = async |server: &TestServer| {
        server.sweep().await;
        person(&here.database.pool, id).await.state["page"].clone()
    };
    show(&mut one, 1).await;
    show(&mut two, 2).await;
    assert_eq!(stored_by(&there).await, 2);
    assert_eq!(stored_by(&here).await, 2, "shown before, written after");
    show(&mut one, 3).await;
    assert_eq!(stored_by(&here).await, 3);
    assert_eq!(stored_by(&there).await, 3);
    // A server that wrote last is not held up by its own times.
    execute(
        &here.database.pool,
        "UPDATE session_participants SET state_at = state_at + interval '1 hour' WHERE id = $1",
        id,
    )
    .await;
    show(&mut one, 4).await;
    assert_eq!(stored_by(&here).await, 4);
}

/// Rooms of a hundred in the database, and what flushes their people, without a server.
struct Crowd {
    database: TestDatabase,
    flusher: Flusher,
    write_behind: Arc<WriteBehind>,
    clock: Clock,
    people_here: Vec<Arc<Liveness>>,
    sessions: Vec<Uuid>,
}

impl Crowd {
    async fn of(rooms: usize) -> Self {
        let database = TestDatabase::new().await;
        let people: Vec<(Uuid, Uuid)> = sqlx::query_as(
            "WITH sessions AS (
                INSERT INTO reading_sessions (last_seen_at) SELECT now() FROM generate_series(1, $1) RETURNING id)
             INSERT INTO session_participants (session_id, name, is_active, node, last_seen_at, last_activity_at)
             SELECT s.id, 'Somebody', true, 'test', now() - interval '10 minutes', now() - interval '10 minutes'
             FROM sessions s, generate_series(1, 100) RETURNING id, session_id",
        )
        .bind(i32::try_from(rooms).expect("it fits"))
        .fetch_all(&database.pool)
        .await
        .expect("people");
        assert_eq!(people.len(), 100 * rooms);
        let mut sessions: Vec<_> = people.iter().map(|(_, session)| *session).collect();
        sessions.sort_unstable();
        sessions.dedup();
        assert_eq!(sessions.len(), rooms);
        let idle = IdleRule { timeout: Duration::from_secs(3600), counts: IdleCounts::Seen };
        let store = Store::open(database.options.clone(), &SchemaName::default(), 2, idle, "test".to_owned())
            .await
            .expect("a store");
        let (clock, metrics) = (Clock::new(), Arc::new(Metrics::default()));
        let shared = Shared {
            rules: Rules {
                timings: Timings { grace: Duration::from_secs(15), idle_after: Duration::from_secs(300) },
                diff_interval: Duration::from_millis(100),
                diff_interval_large: Duration::from_secs(1),
                detail_limit: 500,
                idle,
                expiring_notice: Duration::from_secs(300),
            },
            clock,
            write_behind: Arc::new(WriteBehind::default()),
            schedule: Schedule::default(),
            features: Vec::new(),
            metrics: Arc::clone(&metrics) as Arc<dyn RoomMetrics>,
        };
        let registry = Arc::new(Registry::new(Arc::new(shared)));
        let write_behind = Arc::clone(&registry.shared().write_behind);
        let rules = user_session::Rules { timeout: idle.timeout, idle_after: Duration::from_secs(300) };
        let user_sessions = Arc::new(UserSessions::new(clock, rules));
        let flusher = Flusher::new(registry, user_sessions, store, metrics, Duration::from_secs(5));
        let now = clock.now();
        let liveness = |&(id, session)| Liveness::new(ParticipantId(id), SessionId(session), now, now);
        let people_here = people.iter().map(liveness).collect();
        Self { database, flusher, write_behind, clock, people_here, sessions }
    }

    fn beat(&self) {
        self.people_here.iter().for_each(|liveness| self.write_behind.active(liveness, self.clock.now()));
    }
}

/// The people and the rounds of the large flush.
const PEOPLE: usize = 25_000;
const ROUNDS: usize = 2;

#[tokio::test]
async fn a_flush_of_many_rows_writes_each_once() {
    let crowd = Crowd::of(PEOPLE / 100).await;
    let Crowd { database, flusher, write_behind, .. } = &crowd;

    for round in 0..ROUNDS {
        let before = rows::now(&database.pool).await - TimeDelta::milliseconds(50);
        // Several beats of one person between two flushes are one row.
        for _ in 0..3 {
            crowd.beat();
        }
        assert_eq!(write_behind.backlog(), PEOPLE);
        assert_eq!(flusher.flush().await.expect("a flush"), PEOPLE);
        assert_eq!(write_behind.backlog(), 0);
        let (missed, in_future): (i64, i64) = sqlx::query_as(
            "SELECT count(*) FILTER (WHERE last_seen_at < $1 OR last_activity_at < $1),
                    count(*) FILTER (WHERE last_seen_at > clock_timestamp()) FROM session_participants",
        )
        .bind(before)
        .fetch_one(&database.pool)
        .await
        .expect("counts");
        assert_eq!((missed, in_future), (0, 0), "in round {round}");
    }
    // Nothing was seen: nothing is written.
    assert_eq!(flusher.flush().await.expect("a flush"), 0);

    let written = i64::try_from(PEOPLE * ROUNDS).expect("it fits");
    let updates = eventually("the statistics", async || {
        let updates: i64 =
            sqlx::query_scalar("SELECT n_tup_upd FROM pg_stat_user_tables WHERE relname = 'session_participants'")
                .fetch_one(&database.pool)
                .await
                .expect("statistics");
        (updates >= written).then_some(updates)
    })
    .await;
    // How many of them are made in place is measured by `cargo bench --bench million`.
    assert_eq!(updates, written, "each row is written once a flush");
}

#[tokio::test]
async fn beats_leaves_and_states_of_one_flush_are_each_written() {
    let crowd = Crowd::of(1).await;
    let state = |page: u8| State::from(RawValue::from_string(format!("{{\"page\":{page}}}")).expect("JSON"));
    crowd.beat();
    for (place, liveness) in crowd.people_here.iter().enumerate() {
        match place % 3 {
            0 => crowd.write_behind.left(liveness, LeaveReason::Left, state(0)),
            1 => crowd.write_behind.state(liveness, state(7), crowd.clock.now()),
            _ => {}
        }
    }
    assert_eq!(crowd.flusher.flush().await.expect("a flush"), 100);
    for (place, liveness) in crowd.people_here.iter().enumerate() {
        let row = person(&crowd.database.pool, liveness.participant().0).await;
        let left = place % 3 == 0;
        assert_eq!((row.is_active, row.leave_reason.as_deref()), (!left, left.then_some("left")), "{row:?}");
        assert_eq!(row.left_at, left.then_some(row.last_seen_at));
        assert_eq!(row.state, if place % 3 == 1 { json!({"page": 7}) } else { json!({}) });
        assert!(row.last_seen_at > row.joined_at - TimeDelta::minutes(1), "{row:?}");
    }
}

#[tokio::test]
async fn flushes_and_closings_of_many_sessions_wait_for_each_other_in_one_order() {
    let crowd = Crowd::of(60).await;
    let present = async || -> i64 {
        sqlx::query_scalar("SELECT count(*) FROM session_participants WHERE is_active")
            .fetch_one(&crowd.database.pool)
            .await
            .expect("a count")
    };
    let flushing = async {
        while present().await > 0 {
            crowd.beat();
            crowd.flusher.flush().await.expect("a flush that waits for locks and gets them");
        }
    };
    let closing = async {
        for sessions in crowd.sessions.chunks(6) {
            // In no order: the function finds its own.
            let sessions: Vec<_> = sessions.iter().rev().collect();
            sqlx::query("SELECT FROM lastseen.close_sessions($1, 'admin')")
                .bind(sessions)
                .execute(&crowd.database.pool)
                .await
                .expect("a closing that waits for locks and gets them");
        }
    };
    tokio::join!(flushing, closing);
    crowd.beat();
    crowd.flusher.flush().await.expect("a flush of people who are put out");
    assert_eq!(present().await, 0, "a flush brought somebody back");
}

#[tokio::test]
async fn a_flush_that_does_not_come_shows_in_its_age_and_makes_the_server_not_ready() {
    // As after the end of the task that flushes: nothing fails, and nothing is written.
    let crowd = Crowd::of(1).await;
    crowd.flusher.flush().await.expect("a flush");
    pass(Duration::from_secs(5)).await;
    assert!(!crowd.flusher.is_behind());
    pass(Duration::from_mins(1)).await;
    assert!(crowd.flusher.age() >= Duration::from_secs(65) && crowd.flusher.is_behind());
    crowd.flusher.flush().await.expect("a flush");
    assert!(!crowd.flusher.is_behind());

    // The figure is that of the moment, and not of the last flush.
    let server = TestServer::start(&quiet(&["--flush-interval", "10m"])).await;
    pass(Duration::from_mins(5)).await;
    assert!(server.metric("lastseen_flush_age_seconds").await >= 300.0);
    server.get("/readyz", None).await.expect(200);
}
