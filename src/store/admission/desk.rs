//! The desk: who comes while others are being asked about is asked about together with all who wait.
//!
//! Under load one statement, one commit and one round trip serve many; without load nobody waits for
//! anybody. All who come to one session wait in one queue, so that two statements of this server never
//! contend for a session's rows, and however many come, the other requests keep their connections.

use std::hash::{BuildHasher, RandomState};
use std::slice;
use std::sync::Arc;

use sqlx::postgres::PgPool;
use tokio::sync::{mpsc, oneshot};

use super::{Knock, Row};
use crate::ids::ParticipantId;
use crate::store::{IdleRule, PATIENCE, StoreError, patiently};

/// Queues in front of the desk, each served by one statement at a time.
const QUEUES: u64 = 4;

/// How many are asked about together at most: so many take some milliseconds.
const TOGETHER: usize = 64;

/// Locks are taken in the order of the whole schema, for all who come before the first of them is
/// let in: sessions, then participants who are known, each by id. `admit()` takes them again, at no
/// wait. Invites follow in the order of the rows, which are sorted for that.
const ADMIT: &str = "
with knocks as materialized (
  select *
  from unnest($1::uuid[], $2::uuid[], $3::int[], $4::uuid[], $5::bytea[], $6::text[], $7::uuid[])
    with ordinality as k (session, resume, generation, caller, invite, name, new_id, nth)
), sessions as materialized (
  select s.id from reading_sessions as s where s.id = any($1) order by s.id for share
), known as materialized (
  select p.id
  from session_participants as p
  where (select count(*) from sessions) >= 0
    and p.id in (
      select k.resume from knocks as k where k.resume is not null
      union all
      select m.id from knocks as k join session_participants as m on m.session_id = k.session and m.user_id = k.caller
    )
  order by p.id
  for no key update
)
select k.nth, a.*
from knocks as k
cross join lateral lastseen.admit(
  k.session, k.resume, k.generation, k.caller, k.invite, k.name, make_interval(secs => $8), $9, $10, k.new_id
) as a
where (select count(*) from known) >= 0";

/// Where admissions are asked for.
#[derive(Debug)]
pub struct Desk {
    queues: Vec<mpsc::UnboundedSender<Waiting>>,
    hasher: RandomState,
}

/// Somebody at the desk. Who does not wait any more is not asked about.
#[derive(Debug)]
struct Waiting {
    knock: Knock,
    new_id: ParticipantId,
    answer: oneshot::Sender<Result<Row, StoreError>>,
}

impl Desk {
    /// Opens the desk; it is served until it is dropped.
    pub fn open(requests: PgPool, idle: IdleRule, node: &str) -> Self {
        let clerk = Arc::new(Clerk { requests, idle, node: node.to_owned() });
        let open_queue = |_| {
            let (queue, waiting) = mpsc::unbounded_channel();
            tokio::spawn(Arc::clone(&clerk).serve(waiting));
            queue
        };
        Self { queues: (0..QUEUES).map(open_queue).collect(), hasher: RandomState::new() }
    }

    /// Asks about somebody.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn ask(&self, knock: Knock, new_id: ParticipantId) -> Result<Row, StoreError> {
        let (answer, answered) = oneshot::channel();
        let queue = usize::try_from(self.hasher.hash_one(knock.session) % QUEUES).expect("fits, it is below QUEUES");
        // Where nobody takes it, `answer` is dropped with it.
        let _ = self.queues[queue].send(Waiting { knock, new_id, answer });
        patiently(PATIENCE, async { Ok(answered.await) })
            .await?
            .unwrap_or_else(|_| Err(StoreError::Unavailable("the question was lost".to_owned())))
    }
}

/// Who asks the database.
#[derive(Debug)]
struct Clerk {
    requests: PgPool,
    idle: IdleRule,
    node: String,
}

impl Clerk {
    async fn serve(self: Arc<Self>, mut queue: mpsc::UnboundedReceiver<Waiting>) {
        let mut first = Vec::new();
        while queue.recv_many(&mut first, TOGETHER).await > 0 {
            // A task of its own: should it fail, that costs these answers and not the queue.
            let _ = tokio::spawn(Arc::clone(&self).answer(std::mem::take(&mut first))).await;
        }
    }

    async fn answer(self: Arc<Self>, mut waiting: Vec<Waiting>) {
        waiting.retain(|one| !one.answer.is_closed());
        if waiting.is_empty() {
            return;
        }
        waiting.sort_unstable_by_key(|one| (one.knock.session, one.knock.invite_sha256));
        match self.ask(&waiting).await {
            Ok(rows) => {
                for (one, row) in waiting.into_iter().zip(rows) {
                    one.tell(Ok(row));
                }
            }
            Err(StoreError::Unavailable(why)) => {
                for one in waiting {
                    one.tell(Err(StoreError::Unavailable(why.clone())));
                }
            }
            // One of them is at fault: the others must not suffer for it.
            Err(_) => {
                for one in waiting {
                    if !one.answer.is_closed() {
                        let row = self.ask(slice::from_ref(&one)).await.map(|mut rows| rows.remove(0));
                        one.tell(row);
                    }
                }
            }
        }
    }

    /// One row for each, in their order.
    async fn ask(&self, waiting: &[Waiting]) -> Result<Vec<Row>, StoreError> {
        let knocks = || waiting.iter().map(|one| &one.knock);
        let statement = sqlx::query_as(ADMIT)
            .bind(knocks().map(|knock| knock.session).collect::<Vec<_>>())
            .bind(knocks().map(|knock| knock.resume.map(|(participant, _)| participant)).collect::<Vec<_>>())
            .bind(knocks().map(|knock| knock.resume.map(|(_, generation)| generation)).collect::<Vec<_>>())
            .bind(knocks().map(|knock| knock.user).collect::<Vec<_>>())
            .bind(knocks().map(|knock| knock.invite_sha256.as_ref().map(<[u8; 32]>::as_slice)).collect::<Vec<_>>())
            .bind(knocks().map(|knock| knock.name.as_deref()).collect::<Vec<_>>())
            .bind(waiting.iter().map(|one| one.new_id).collect::<Vec<_>>())
            .bind(self.idle.timeout.as_secs_f64())
            .bind(self.idle.counts.as_str())
            .bind(&self.node);
        let mut rows: Vec<Row> = patiently(PATIENCE, statement.fetch_all(&self.requests)).await?;
        rows.sort_unstable_by_key(|row| row.nth);
        if rows.len() != waiting.len() {
            return Err(StoreError::Refused(sqlx::Error::Protocol("not everybody was decided about".into())));
        }
        Ok(rows)
    }
}

impl Waiting {
    fn tell(self, row: Result<Row, StoreError>) {
        // Who has stopped waiting has noted a doubt.
        let _ = self.answer.send(row);
    }
}
