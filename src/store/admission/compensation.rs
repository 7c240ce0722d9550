//! Compensation: what an admission wrote is undone where no connection was made.

use std::collections::HashSet;
use std::time::Duration;

use tokio::time::Instant;

use super::AdmissionRequest;
use super::batcher::Doubt;
use crate::domain::ids::{InviteId, ParticipantId, SessionId, UserId};
use crate::domain::subject::Subject;
use crate::room::Applicant;
use crate::store::{PATIENCE, Store, StoreError};

/// After this long no part of a request can be under way any more: it is sent within [`PATIENCE`], the database
/// gives up after as long again, and its answer takes a moment.
const SETTLED_AFTER: Duration = PATIENCE.saturating_mul(3);

/// Admissions that are undone by one statement.
const BATCH: usize = 500;

/// An admission that may have to be undone, since its answer was lost or its connection failed: the database then
/// holds a participant as present who is not here.
#[derive(Clone, Debug)]
pub struct Compensation {
    session: SessionId,
    new_id: ParticipantId,
    resumed: Option<ParticipantId>,
    user: Option<UserId>,
    invite_sha256: Option<[u8; 32]>,
    /// What the admission made, where its answer is known.
    made: Option<Made>,
    since: Instant,
}

impl Compensation {
    /// The same, with what the admission made.
    pub(super) fn with(self, made: Option<Made>) -> Self {
        Self { made, ..self }
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// The person whom the admission was for, as far as known.
    pub fn applicant(&self) -> Applicant {
        match (self.resumed, self.user) {
            (Some(participant), _) => Applicant::Participant(participant),
            (None, Some(user)) => Applicant::User(user),
            (None, None) => Applicant::Stranger,
        }
    }
}

/// Queues a compensation when it is dropped, unless the answer arrived before, or the database was never asked.
pub(super) struct CompensationGuard<'a> {
    store: &'a Store,
    doubt: Doubt,
    compensation: Option<Compensation>,
}

impl<'a> CompensationGuard<'a> {
    pub(super) fn new(store: &'a Store, request: &AdmissionRequest, new_id: ParticipantId) -> Self {
        let compensation = Compensation {
            session: request.session,
            new_id,
            resumed: request.resume.map(|(participant, _)| participant),
            user: request.user.as_ref().map(Subject::id),
            invite_sha256: request.invite_sha256,
            made: None,
            since: Instant::now(),
        };
        Self { store, doubt: Doubt::default(), compensation: Some(compensation) }
    }

    /// Set while the database may have carried out the request.
    pub(super) fn doubt(&self) -> Doubt {
        self.doubt.clone()
    }

    /// The answer has arrived: what is left to do is the caller's.
    pub(super) fn disarm(mut self) -> Option<Compensation> {
        self.compensation.take()
    }
}

impl Drop for CompensationGuard<'_> {
    fn drop(&mut self) {
        if let Some(compensation) = self.compensation.take()
            && self.doubt.is_there()
        {
            self.store.compensations.push(compensation);
        }
    }
}

/// What an admission made: a new participant, and the invite of which a use was counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    pub participant: ParticipantId,
    pub counted_invite: Option<InviteId>,
}

impl Store {
    /// Undoes an admission whose connection failed. What it made is deleted at once, so that the place and the use
    /// of the invite are free for the next attempt; the rest, and what fails, is undone by
    /// [`Store::run_compensations`].
    pub fn compensate(&self, mut compensation: Compensation) {
        compensation.since = Instant::now();
        let Some(made) = compensation.made else {
            self.compensations.push(compensation);
            return;
        };
        let store = self.clone();
        self.background.spawn(async move {
            if let Err(error) = store.give_back(made).await {
                tracing::warn!(%error, "an admission could not be undone yet; retrying");
                store.compensations.push(compensation);
            }
        });
    }

    async fn give_back(&self, made: Made) -> Result<(), StoreError> {
        self.ask(async {
            sqlx::query("SELECT lastseen.give_back($1, $2)")
                .bind(made.participant)
                .bind(made.counted_invite)
                .execute(&self.requests)
                .await
                .map(drop)
        })
        .await
    }

    /// How many admissions wait to be undone.
    pub fn compensations(&self) -> usize {
        self.compensations.len()
    }

    /// Undoes what admissions have written, or may have written, for which no connection was made. `is_here` says
    /// whether the person has joined since by another attempt.
    ///
    /// # Errors
    /// [`StoreError`]; what could not be undone is tried again next time.
    pub async fn run_compensations(&self, is_here: impl Fn(&Compensation) -> bool) -> Result<(), StoreError> {
        if !self.may_undo().await? {
            return Ok(());
        }
        let mut left = self.compensations.len();
        while left > 0 {
            let mut due = Due { store: self, admissions: Vec::new() };
            while left > 0 && due.admissions.len() < BATCH {
                left -= 1;
                let Some(compensation) = self.compensations.pop() else { break };
                if compensation.since.elapsed() < SETTLED_AFTER {
                    self.compensations.push(compensation);
                } else {
                    due.admissions.push(compensation);
                }
            }
            if due.admissions.is_empty() {
                continue;
            }
            let undone = self.withdraw(&due.admissions, &is_here).await?;
            due.admissions.retain(|admission| !undone.contains(&admission.new_id));
        }
        Ok(())
    }

    /// Whether there is something to undo, and the database has answered for so long that all it was sent before is
    /// carried out or given up: what reached a database that hangs is carried out when it goes on.
    async fn may_undo(&self) -> Result<bool, StoreError> {
        if self.compensations.is_empty() {
            *self.answers_since.lock() = None;
            return Ok(false);
        }
        if let Err(error) = self.ping().await {
            *self.answers_since.lock() = None;
            return Err(error);
        }
        let since = *self.answers_since.lock().get_or_insert_with(Instant::now);
        Ok(since.elapsed() >= SETTLED_AFTER)
    }

    /// Returns the `new_id` of those that are undone: the others need a row that another transaction has locked.
    async fn withdraw(
        &self,
        admissions: &[Compensation],
        is_here: impl Fn(&Compensation) -> bool,
    ) -> Result<HashSet<ParticipantId>, StoreError> {
        let here: Vec<_> = admissions.iter().map(is_here).collect();
        let gone = || admissions.iter().zip(&here).map(|(admission, here)| (!*here).then_some(admission));
        let undone: Vec<ParticipantId> = self
            .batch(
                sqlx::query_scalar("SELECT * FROM lastseen.withdraw_admissions($1, $2, $3, $4, $5, $6)")
                    .bind(admissions.iter().map(|admission| admission.session).collect::<Vec<_>>())
                    .bind(admissions.iter().map(|admission| admission.new_id).collect::<Vec<_>>())
                    .bind(gone().map(|admission| admission?.resumed).collect::<Vec<_>>())
                    .bind(gone().map(|admission| admission?.user).collect::<Vec<_>>())
                    .bind(
                        admissions
                            .iter()
                            .map(|admission| admission.invite_sha256.map(|hash| hash.to_vec()))
                            .collect::<Vec<_>>(),
                    )
                    .bind(&self.node)
                    .fetch_all(&self.batches),
            )
            .await?;
        Ok(undone.into_iter().collect())
    }
}

/// Admissions that are being undone. What is left when this is dropped goes back into the queue.
struct Due<'a> {
    store: &'a Store,
    admissions: Vec<Compensation>,
}

impl Drop for Due<'_> {
    fn drop(&mut self) {
        for admission in self.admissions.drain(..) {
            self.store.compensations.push(admission);
        }
    }
}
