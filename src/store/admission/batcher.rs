//! The batcher: requests that arrive while a statement is under way are sent together in the next one.
//!
//! Under load one statement, one commit and one round trip serve many requests; without load a request never
//! waits. All requests for one session go to one queue, so that two statements of this server never contend for
//! the rows of a session. A fixed number of queues leaves the other connections of the pool to other requests.

use std::hash::{BuildHasher, RandomState};
use std::slice;
use std::sync::Arc;

use sqlx::postgres::PgPool;
use tokio::sync::{mpsc, oneshot};

use super::{AdmissionRequest, Row};
use crate::domain::idle::IdleRule;
use crate::domain::ids::ParticipantId;
use crate::store::{PATIENCE, StoreError, patiently};

/// Queues, each with one statement under way at a time.
const QUEUES: u64 = 4;

/// The most requests of one statement, which then takes some milliseconds.
const BATCH: usize = 64;

/// Locks are taken in the order of the whole schema, for all requests before the first is admitted: sessions,
/// then known participants, each by id. `admit()` takes them again, without a wait. Invites follow in the order
/// of the requests, which are sorted for that.
const ADMIT: &str = "
with requests as materialized (
  select *
  from unnest($1::uuid[], $2::uuid[], $3::int[], $4::uuid[], $5::bytea[], $6::text[], $7::uuid[])
    with ordinality as r (session, resume, generation, caller, invite, name, new_id, nth)
), sessions as materialized (
  select s.id from reading_sessions as s where s.id = any($1) order by s.id for share
), known as materialized (
  select p.id
  from session_participants as p
  where (select count(*) from sessions) >= 0
    and p.id in (
      select r.resume from requests as r where r.resume is not null
      union all
      select m.id from requests as r join session_participants as m on m.session_id = r.session and m.user_id = r.caller
    )
  order by p.id
  for no key update
)
select r.nth, a.*
from requests as r
cross join lateral lastseen.admit(
  r.session, r.resume, r.generation, r.caller, r.invite, r.name, make_interval(secs => $8), $9, $10, r.new_id
) as a
where (select count(*) from known) >= 0";

/// Sends requests for admission to the database, in batches.
#[derive(Debug)]
pub struct Batcher {
    queues: Vec<mpsc::UnboundedSender<Waiting>>,
    hasher: RandomState,
}

/// A request in a queue. Where `answer` is closed, it has been given up and is not sent.
#[derive(Debug)]
struct Waiting {
    request: AdmissionRequest,
    new_id: ParticipantId,
    answer: oneshot::Sender<Result<Row, StoreError>>,
}

impl Batcher {
    /// Starts a worker for each queue; they end when the batcher is dropped.
    pub fn start(pool: PgPool, idle: IdleRule, node: &str) -> Self {
        let worker = Arc::new(Worker { pool, idle, node: node.to_owned() });
        let start_queue = |_| {
            let (queue, waiting) = mpsc::unbounded_channel();
            tokio::spawn(Arc::clone(&worker).run(waiting));
            queue
        };
        Self { queues: (0..QUEUES).map(start_queue).collect(), hasher: RandomState::new() }
    }

    /// The database's answer to one request.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn ask(&self, request: AdmissionRequest, new_id: ParticipantId) -> Result<Row, StoreError> {
        let (answer, answered) = oneshot::channel();
        let queue = usize::try_from(self.hasher.hash_one(request.session) % QUEUES).expect("fits, it is below QUEUES");
        // Without a worker the request is dropped, and `answer` with it.
        let _ = self.queues[queue].send(Waiting { request, new_id, answer });
        patiently(PATIENCE, async { Ok(answered.await) })
            .await?
            .unwrap_or_else(|_| Err(StoreError::Unavailable("the request was dropped".to_owned())))
    }
}

/// Serves the queues.
#[derive(Debug)]
struct Worker {
    pool: PgPool,
    idle: IdleRule,
    node: String,
}

impl Worker {
    async fn run(self: Arc<Self>, mut queue: mpsc::UnboundedReceiver<Waiting>) {
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            // A task of its own: a panic costs these answers, not the queue.
            let _ = tokio::spawn(Arc::clone(&self).answer(std::mem::take(&mut batch))).await;
        }
    }

    async fn answer(self: Arc<Self>, mut batch: Vec<Waiting>) {
        batch.retain(|waiting| !waiting.answer.is_closed());
        if batch.is_empty() {
            return;
        }
        batch.sort_unstable_by_key(|waiting| (waiting.request.session, waiting.request.invite_sha256));
        match self.ask(&batch).await {
            Ok(rows) => {
                for (waiting, row) in batch.into_iter().zip(rows) {
                    waiting.send(Ok(row));
                }
            }
            Err(StoreError::Unavailable(why)) => {
                for waiting in batch {
                    waiting.send(Err(StoreError::Unavailable(why.clone())));
                }
            }
            // One request made the statement fail: each is sent alone, so that the others do not fail with it.
            Err(_) => {
                for waiting in batch {
                    if !waiting.answer.is_closed() {
                        let row = self.ask(slice::from_ref(&waiting)).await.map(|mut rows| rows.remove(0));
                        waiting.send(row);
                    }
                }
            }
        }
    }

    /// One row for each request, in their order.
    async fn ask(&self, batch: &[Waiting]) -> Result<Vec<Row>, StoreError> {
        let requests = || batch.iter().map(|waiting| &waiting.request);
        let statement = sqlx::query_as(ADMIT)
            .bind(requests().map(|request| request.session).collect::<Vec<_>>())
            .bind(requests().map(|request| request.resume.map(|(participant, _)| participant)).collect::<Vec<_>>())
            .bind(requests().map(|request| request.resume.map(|(_, generation)| generation)).collect::<Vec<_>>())
            .bind(requests().map(|request| request.user).collect::<Vec<_>>())
            .bind(
                requests().map(|request| request.invite_sha256.as_ref().map(<[u8; 32]>::as_slice)).collect::<Vec<_>>(),
            )
            .bind(requests().map(|request| request.name.as_deref()).collect::<Vec<_>>())
            .bind(batch.iter().map(|waiting| waiting.new_id).collect::<Vec<_>>())
            .bind(self.idle.timeout.as_secs_f64())
            .bind(self.idle.counts.as_str())
            .bind(&self.node);
        let mut rows: Vec<Row> = patiently(PATIENCE, statement.fetch_all(&self.pool)).await?;
        rows.sort_unstable_by_key(|row| row.nth);
        if rows.len() != batch.len() {
            return Err(StoreError::Incomplete(super::ADMIT));
        }
        Ok(rows)
    }
}

impl Waiting {
    fn send(self, row: Result<Row, StoreError>) {
        // A request that was given up has queued its compensation.
        let _ = self.answer.send(row);
    }
}
