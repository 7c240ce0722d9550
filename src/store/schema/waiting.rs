//! Waiting for locks. A statement that waits for the lock of a whole table keeps everything from that table that comes
//! behind it, so a migration gives up after a moment, leaves the queue, and tries again. Meanwhile a second connection says
//! what it waits for.

use std::convert::Infallible;
use std::time::Duration;

use parking_lot::Mutex;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, FromRow};
use tokio::time::{Instant, sleep};

use super::apply::apply;
use super::compat::{Compat, CompatChange};
use super::error::SchemaError;
use super::files::Schema;
use super::plan::Redefine;

/// Between two attempts.
const PAUSE: Duration = Duration::from_millis(500);

/// How long it is tried.
const PATIENCE: Duration = Duration::from_mins(5);

/// How often it is looked what is waited for, first after this time.
const LOOK: Duration = Duration::from_millis(700);

/// How often the same is said again.
const SAY_AGAIN: Duration = Duration::from_secs(15);

/// What a session waits for, and which session holds it. Any role may see the name and the user of another's session, not
/// its state or statement.
const HOLDER: &str = "
    SELECT l.locktype, l.relation::regclass::text AS relation, b.pid, a.application_name, a.usename::text AS usename, a.state
    FROM pg_locks AS l
    CROSS JOIN LATERAL unnest(pg_blocking_pids(l.pid)) AS b (pid)
    LEFT JOIN pg_stat_activity AS a ON a.pid = b.pid
    WHERE l.pid = $1 AND NOT l.granted
    ORDER BY b.pid LIMIT 1";

#[derive(FromRow)]
struct Holder {
    locktype: String,
    relation: Option<String>,
    pid: i32,
    application_name: Option<String>,
    usename: Option<String>,
    state: Option<String>,
}

impl Holder {
    fn in_words(&self) -> String {
        let what = match (&self.relation, self.locktype.as_str()) {
            (Some(relation), _) => relation.as_str(),
            (None, "advisory") => "the right to migrate",
            (None, locktype) => locktype,
        };
        let name = self.application_name.as_deref().filter(|name| !name.is_empty()).unwrap_or("without a name");
        let more = [self.usename.as_ref().map(|user| format!("user {user}")), self.state.clone()];
        let more: String = more.into_iter().flatten().map(|more| format!(", {more}")).collect();
        let pid = self.pid;
        format!(
            "{what} is locked by the process {pid} of the database ({name}{more}); it is waited for, and SELECT \
             pg_terminate_backend({pid}) ends it"
        )
    }
}

/// What was last found to be waited for, and when that was said.
#[derive(Debug, Default)]
struct Found(Mutex<Option<(String, Instant)>>);

impl Found {
    fn note(&self, text: String) {
        let mut last = self.0.lock();
        if last.as_ref().is_none_or(|(said, at)| *said != text || at.elapsed() >= SAY_AGAIN) {
            tracing::warn!("the migration waits: {text}");
            *last = Some((text, Instant::now()));
        }
    }
}

/// Applies what is missing, again and again until nothing that it needs is locked.
pub(super) async fn apply_when_free(
    schema: &Schema,
    change: &CompatChange,
    redefine: Redefine,
    options: &PgConnectOptions,
    connection: &mut PgConnection,
) -> Result<Vec<Compat>, SchemaError> {
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut *connection).await?;
    let (found, deadline) = (Found::default(), Instant::now() + PATIENCE);
    loop {
        let outcome = tokio::select! {
            outcome = apply(schema, change, redefine, connection) => outcome,
            never = watch(options, pid, &found) => match never {},
        };
        match outcome {
            Err(SchemaError::Locked(_)) if Instant::now() < deadline => sleep(PAUSE).await,
            Err(SchemaError::Locked(fault)) => {
                let found = found.0.lock().take();
                return Err(SchemaError::Locked(found.map_or(fault, |(text, _)| text)));
            }
            outcome => return outcome,
        }
    }
}

/// Says what this session of the database waits for, for as long as it is asked. Without a connection nothing is said.
async fn watch(options: &PgConnectOptions, pid: i32, found: &Found) -> Infallible {
    let mut connection = None;
    loop {
        sleep(LOOK).await;
        match &mut connection {
            None => connection = options.clone().extra_float_digits(None).connect().await.ok(),
            Some(open) => match sqlx::query_as::<_, Holder>(HOLDER).bind(pid).fetch_optional(open).await {
                Ok(holder) => holder.into_iter().for_each(|holder| found.note(holder.in_words())),
                Err(_) => connection = None,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_holder_of_a_lock_is_named() {
        let holder = |locktype: &str, relation: Option<&str>, name: &str| Holder {
            locktype: locktype.to_owned(),
            relation: relation.map(str::to_owned),
            pid: 42,
            application_name: Some(name.to_owned()),
            usename: Some("ada".to_owned()),
            state: None,
        };
        let text = holder("relation", Some("public.sits"), "psql").in_words();
        assert!(text.starts_with("public.sits is locked by the process 42 of the database (psql, user ada)"), "{text}");
        let text = holder("advisory", None, "").in_words();
        assert!(
            text.starts_with("the right to migrate is locked by the process 42 of the database (without a name"),
            "{text}"
        );
    }
}
