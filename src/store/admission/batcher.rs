//! The batcher: requests that arrive while a statement is under way are sent together in the next one.
//!
//! Under load one statement, one commit and one round trip serve many requests; without load a request never
//! waits. All requests for one session go to one queue, so that two statements of this server never contend for
//! the rows of a session. A fixed number of queues leaves the other connections of the pool to other requests.

use std::hash::{BuildHasher, RandomState};
use std::slice;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;

use super::{AdmissionRequest, Row};
use crate::domain::idle::IdleRule;
use crate::domain::ids::ParticipantId;
use crate::domain::subject::Subject;
use crate::store::StoreError;
use crate::store::pool::Pool;

/// Queues, each with one statement under way at a time.
const QUEUES: u64 = 4;

/// The most requests of one statement, which then takes some milliseconds.
const BATCH: usize = 64;

/// How long a request that needs a locked row waits until it is sent again.
const LOCK_PAUSE: Duration = Duration::from_millis(25);

/// How long a statement waits for a lock that it did not look for beforehand: that of a user whose account is being
/// deleted, or of a row that is being made.
const LOCK_PATIENCE: Duration = Duration::from_millis(250);

/// Locks are taken for all requests before the first is admitted, and none is waited for: a request that needs a row
/// which another transaction holds is left out, so that it does not hold up those that are sent with it. `admit()` takes
/// the same locks again, without a wait.
///
/// Those who are admitted and have a subject are noted last: no one who holds a row of `subjects` waits for a row here.
const ADMIT: &str = "
with settings as materialized (
  select set_config('lock_timeout', $11, true)
), requests as materialized (
  select *
  from unnest($1::uuid[], $2::uuid[], $3::int[], $4::uuid[], $5::bytea[], $6::text[], $7::uuid[], $12::text[])
    with ordinality as r (session, resume, generation, caller, invite, name, new_id, subject, nth)
), sessions as materialized (
  select s.id
  from reading_sessions as s
  where (select count(*) from settings) >= 0 and s.id = any($1)
  order by s.id
  for share skip locked
), known as materialized (
  select r.nth, p.id from requests as r join session_participants as p on p.id = r.resume
  union all
  select r.nth, m.id from requests as r join session_participants as m on m.session_id = r.session and m.user_id = r.caller
), participants as materialized (
  select p.id
  from session_participants as p
  where (select count(*) from sessions) >= 0 and p.id in (select k.id from known as k)
  order by p.id
  for no key update skip locked
), counted as materialized (
  select r.nth, i.id
  from requests as r
  join session_invites as i on i.token_sha256 = r.invite
  where i.max_uses is not null
), invites as materialized (
  select i.id
  from session_invites as i
  where (select count(*) from participants) >= 0 and i.id in (select c.id from counted as c)
  order by i.id
  for no key update skip locked
), held as materialized (
  select r.nth
  from requests as r
  join reading_sessions as s on s.id = r.session
  where s.id not in (select s.id from sessions as s)
  union all
  select k.nth from known as k where k.id not in (select p.id from participants as p)
  union all
  select c.nth from counted as c where c.id not in (select i.id from invites as i)
), free as materialized (
  select r.* from requests as r where r.nth not in (select h.nth from held as h) order by r.nth
), answers as materialized (
  select r.nth, r.subject, a.*
  from free as r
  cross join lateral lastseen.admit(
    r.session, r.resume, r.generation, r.caller, r.invite, r.name, make_interval(secs => $8), $9, $10, r.new_id
  ) as a
), noted as (
  insert into lastseen.subjects (user_id, subject)
  select distinct a.user_id, a.subject from answers as a
  where a.subject is not null and a.user_id is not null
  order by a.user_id
  on conflict do nothing
)
select a.*, coalesce(a.subject, lastseen.subject_of(a.user_id)) as known_as,
       lastseen.subject_of(a.host_user_id) as host_known_as
from answers as a";

/// Sends requests for admission to the database, in batches.
#[derive(Debug)]
pub struct Batcher {
    pool: Pool,
    queues: Vec<mpsc::UnboundedSender<Waiting>>,
    hasher: RandomState,
}

/// Whether the database may have carried out a request whose answer is not known.
#[derive(Clone, Debug, Default)]
pub struct Doubt(Arc<AtomicBool>);

impl Doubt {
    /// Sets it. The swap orders this before or after a swap of the other side: either the request is seen to be
    /// given up, or the doubt is seen.
    fn set(&self, in_doubt: bool) {
        self.0.swap(in_doubt, Ordering::AcqRel);
    }

    /// Whether there is one; asked after the request was given up.
    pub fn is_there(&self) -> bool {
        self.0.fetch_or(false, Ordering::AcqRel)
    }
}

/// A request in a queue. Where `answer` is closed, it has been given up and is not sent.
#[derive(Debug)]
struct Waiting {
    request: AdmissionRequest,
    new_id: ParticipantId,
    doubt: Doubt,
    answer: oneshot::Sender<Result<Row, StoreError>>,
}

impl Batcher {
    /// Starts a worker for each queue; they end when the batcher is dropped.
    pub(in crate::store) fn start(pool: Pool, idle: IdleRule, node: &str) -> Self {
        let worker = Arc::new(Worker { pool: pool.clone(), idle, node: node.to_owned() });
        let start_queue = |_| {
            let (queue, waiting) = mpsc::unbounded_channel();
            tokio::spawn(Arc::clone(&worker).run(queue.downgrade(), waiting));
            queue
        };
        Self { pool, queues: (0..QUEUES).map(start_queue).collect(), hasher: RandomState::new() }
    }

    /// The database's answer to one request. `doubt` is set while an answer is missing.
    ///
    /// # Errors
    /// [`StoreError`].
    pub(super) async fn ask(
        &self,
        request: AdmissionRequest,
        new_id: ParticipantId,
        doubt: Doubt,
    ) -> Result<Row, StoreError> {
        let (answer, answered) = oneshot::channel();
        let queue = usize::try_from(self.hasher.hash_one(request.session) % QUEUES).expect("fits, it is below QUEUES");
        // Without a worker the request is dropped, and `answer` with it.
        let _ = self.queues[queue].send(Waiting { request, new_id, doubt, answer });
        self.pool
            .patiently(async { Ok(answered.await) })
            .await?
            .unwrap_or_else(|_| Err(StoreError::Unavailable("the request was dropped".to_owned())))
    }
}

/// Serves the queues.
#[derive(Debug)]
struct Worker {
    pool: Pool,
    idle: IdleRule,
    node: String,
}

/// What the database made of a request; `None` where another transaction holds a row that it needs.
type Answer = Option<Row>;

impl Worker {
    async fn run(
        self: Arc<Self>,
        again: mpsc::WeakUnboundedSender<Waiting>,
        mut queue: mpsc::UnboundedReceiver<Waiting>,
    ) {
        let mut batch = Vec::new();
        while queue.recv_many(&mut batch, BATCH).await > 0 {
            // A task of its own: a panic costs these answers, not the queue.
            let answering = Arc::clone(&self).answer(std::mem::take(&mut batch));
            let held = tokio::spawn(answering).await.unwrap_or_default();
            if !held.is_empty() {
                let again = again.clone();
                tokio::spawn(async move {
                    sleep(LOCK_PAUSE).await;
                    if let Some(queue) = again.upgrade() {
                        held.into_iter().for_each(|waiting| drop(queue.send(waiting)));
                    }
                });
            }
        }
    }

    /// Answers requests. Returns those that another transaction holds up.
    async fn answer(self: Arc<Self>, mut batch: Vec<Waiting>) -> Vec<Waiting> {
        batch.retain(|waiting| !waiting.answer.is_closed());
        if batch.is_empty() {
            return Vec::new();
        }
        batch.sort_unstable_by_key(|waiting| (waiting.request.session, waiting.request.invite_sha256));
        match self.ask(&batch).await {
            Ok(answers) => batch.into_iter().zip(answers).filter_map(|(waiting, row)| waiting.settle(row)).collect(),
            Err(StoreError::Unavailable(why)) => fail(batch, || StoreError::Unavailable(why.clone())),
            Err(StoreError::ReadOnly(why)) => fail(batch, || StoreError::ReadOnly(why)),
            // One request made the statement fail: each is sent alone, so that the others do not fail with it.
            Err(_) => {
                let mut held = Vec::new();
                for waiting in batch {
                    if waiting.answer.is_closed() {
                        continue;
                    }
                    match self.ask(slice::from_ref(&waiting)).await {
                        Ok(mut answers) => held.extend(waiting.settle(answers.remove(0))),
                        Err(error) => waiting.send(Err(error)),
                    }
                }
                held
            }
        }
    }

    /// One answer for each request, in their order.
    async fn ask(&self, batch: &[Waiting]) -> Result<Vec<Answer>, StoreError> {
        let answering = async {
            let mut transaction = self.pool.single().await?;
            // From here on the database may have carried out what it was sent.
            batch.iter().for_each(|waiting| waiting.doubt.set(true));
            let open: Vec<_> = (0..batch.len()).filter(|place| !batch[*place].answer.is_closed()).collect();
            let requests = || open.iter().map(|place| &batch[*place].request);
            let rows: Vec<Row> = sqlx::query_as(ADMIT)
                .bind(requests().map(|request| request.session).collect::<Vec<_>>())
                .bind(requests().map(|request| request.resume.map(|(participant, _)| participant)).collect::<Vec<_>>())
                .bind(requests().map(|request| request.resume.map(|(_, generation)| generation)).collect::<Vec<_>>())
                .bind(requests().map(|request| request.user.as_ref().map(Subject::id)).collect::<Vec<_>>())
                .bind(requests().map(|request| request.invite_sha256.map(|hash| hash.to_vec())).collect::<Vec<_>>())
                .bind(requests().map(|request| request.name.clone()).collect::<Vec<_>>())
                .bind(open.iter().map(|place| batch[*place].new_id).collect::<Vec<_>>())
                .bind(self.idle.timeout.as_secs_f64())
                .bind(self.idle.counts.as_str())
                .bind(&self.node)
                .bind(LOCK_PATIENCE.as_millis().to_string())
                .bind(requests().map(|request| request.user.as_ref().and_then(Subject::name)).collect::<Vec<_>>())
                .fetch_all(&mut *transaction)
                .await?;
            transaction.commit().await?;
            let mut answers: Vec<Answer> = batch.iter().map(|_| None).collect();
            for row in rows {
                let place = usize::try_from(row.nth).ok().and_then(|nth| open.get(nth.checked_sub(1)?));
                if let Some(place) = place {
                    answers[*place] = Some(row);
                }
            }
            Ok(answers)
        };
        let answers = self.pool.patiently(answering).await;
        if answers.as_ref().is_err_and(StoreError::is_settled) {
            batch.iter().for_each(|waiting| waiting.doubt.set(false));
        }
        answers
    }
}

/// Answers all with the same error.
fn fail(batch: Vec<Waiting>, error: impl Fn() -> StoreError) -> Vec<Waiting> {
    for waiting in batch {
        waiting.send(Err(error()));
    }
    Vec::new()
}

impl Waiting {
    /// Sends the answer; without one the request is to be sent again.
    fn settle(self, row: Answer) -> Option<Self> {
        match row {
            Some(row) => {
                self.send(Ok(row));
                None
            }
            None => {
                self.doubt.set(false);
                Some(self)
            }
        }
    }

    fn send(self, row: Result<Row, StoreError>) {
        // A request that was given up has queued its compensation.
        let _ = self.answer.send(row);
    }
}
