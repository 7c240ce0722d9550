//! The closed sets of words are the same in Rust and in the database.

use std::collections::{BTreeMap, BTreeSet};

use lastseen::domain::admission::AdmissionVerdict;
use lastseen::domain::check_in::CheckInStatus;
use lastseen::domain::idle::IdleCounts;
use lastseen::domain::invite::{InspectionVerdict, InviteFault};
use lastseen::domain::participant::{LeaveReason, Quality};
use lastseen::domain::reading_session::CloseReason;
use lastseen::domain::role::Role;
use lastseen::domain::simulator::{LauncherKind, MakeVerdict, SimulatorStatus};
use lastseen::domain::sit::SitStatus;
use lastseen::domain::user_session::{EndReason, OpenVerdict, Platform, UserSessionStatus};

use crate::harness::cluster::TestDatabase;

/// Every constraint on one column, or on a domain.
const CONSTRAINTS: &str = "
    SELECT c.conrelid::regclass || '.' || a.attname, pg_get_constraintdef(c.oid)
    FROM pg_constraint AS c JOIN pg_attribute AS a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
    WHERE c.contype = 'c' AND c.connamespace IN ('public'::regnamespace, 'lastseen'::regnamespace)
    UNION ALL
    SELECT c.contypid::regtype::text, pg_get_constraintdef(c.oid)
    FROM pg_constraint AS c
    WHERE c.contypid <> 0 AND c.connamespace IN ('public'::regnamespace, 'lastseen'::regnamespace)";

type Words = BTreeSet<String>;

fn words(set: &[&str]) -> Words {
    set.iter().map(|word| (*word).to_owned()).collect()
}

/// The literals of a text that stand right behind one of these.
fn literals_behind(text: &str, before: &[&str]) -> Words {
    let of = |before: &&str| text.split(&format!("{before}'")).skip(1).map(until_quote).collect::<Vec<_>>();
    before.iter().flat_map(of).collect()
}

fn until_quote(text: &str) -> String {
    text.chars().take_while(|c| *c != '\'').collect()
}

#[tokio::test]
async fn columns_hold_the_words_that_rust_knows_and_no_others() {
    let database = TestDatabase::new().await;
    let constraints: Vec<(String, String)> =
        sqlx::query_as(CONSTRAINTS).fetch_all(&database.pool).await.expect("the constraints");
    let found: BTreeMap<_, _> = constraints
        .into_iter()
        .filter(|(_, check)| check.contains("ARRAY['"))
        .map(|(column, check)| (column, literals_behind(&check, &["ARRAY[", ", "])))
        .collect();
    let known = [
        ("reading_sessions.close_reason", words(CloseReason::WORDS)),
        ("session_participants.role", words(Role::WORDS)),
        ("session_participants.leave_reason", words(LeaveReason::WORDS)),
        ("session_invites.role", words(Role::WORDS)),
        ("user_sessions.platform", words(Platform::WORDS)),
        ("user_sessions.status", words(UserSessionStatus::WORDS)),
        ("user_sessions.end_reason", words(EndReason::WORDS)),
        ("user_sessions.connection_quality", words(Quality::WORDS)),
        ("check_ins.status", words(CheckInStatus::WORDS)),
        ("sits.status", words(SitStatus::WORDS)),
        ("room_sits.status", words(SitStatus::WORDS)),
        ("simulators.status", words(SimulatorStatus::WORDS)),
        ("simulators.launcher", words(LauncherKind::WORDS)),
        ("lastseen.idle_counts", words(IdleCounts::WORDS)),
    ];
    assert_eq!(found, known.map(|(column, words)| (column.to_owned(), words)).into());
}

#[tokio::test]
async fn functions_answer_with_the_words_that_rust_knows_and_no_others() {
    let database = TestDatabase::new().await;
    let source = async |function: &str| {
        let text: String =
            sqlx::query_scalar("SELECT pg_get_functiondef(oid) FROM pg_proc WHERE oid::regproc::text = $1")
                .bind(function)
                .fetch_one(&database.pool)
                .await
                .unwrap_or_else(|error| panic!("{function}: {error}"));
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let answers = async |function: &str, before: &[&str]| literals_behind(&source(function).await, before);

    let admit = source("lastseen.admit").await;
    let verdicts = literals_behind(&admit, &["lastseen.refusal(", "return ( "]);
    assert_eq!(verdicts, words(AdmissionVerdict::WORDS));
    let details = literals_behind(&admit, &["'invite_expired', "]);
    assert!(details.is_subset(&words(InviteFault::WORDS)), "{details:?}");

    assert_eq!(answers("lastseen.invite_fault", &["then "]).await, words(InviteFault::WORDS));
    assert_eq!(answers("lastseen.inspect_invite", &["then ", "else "]).await, words(InspectionVerdict::WORDS));
    assert_eq!(
        answers("lastseen.open_user_session", &["return query select ", "then ", "else "]).await,
        words(OpenVerdict::WORDS)
    );
    assert_eq!(answers("lastseen.make_simulator", &["return "]).await, words(MakeVerdict::WORDS));
}
