//! Compensation: what an admission wrote is undone where no connection was made.

use std::time::Duration;

use tokio::time::Instant;

use super::AdmissionRequest;
use crate::domain::ids::{InviteId, ParticipantId, SessionId, UserId};
use crate::room::Applicant;
use crate::store::{PATIENCE, Store, StoreError};

/// After this long no part of a request can be under way any more: it is sent within [`PATIENCE`], the database
/// gives up after as long again, and its answer takes a moment.
const SETTLED_AFTER: Duration = PATIENCE.saturating_mul(3);

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

/// Queues a compensation when it is dropped, unless the answer arrived before.
pub(super) struct CompensationGuard<'a> {
    store: &'a Store,
    compensation: Option<Compensation>,
}

impl<'a> CompensationGuard<'a> {
    pub(super) fn new(store: &'a Store, request: &AdmissionRequest, new_id: ParticipantId) -> Self {
        let compensation = Compensation {
            session: request.session,
            new_id,
            resumed: request.resume.map(|(participant, _)| participant),
            user: request.user,
            invite_sha256: request.invite_sha256,
            made: None,
            since: Instant::now(),
        };
        Self { store, compensation: Some(compensation) }
    }

    /// The answer has arrived: what is left to do is the caller's.
    pub(super) fn disarm(mut self) -> Option<Compensation> {
        self.compensation.take()
    }
}

impl Drop for CompensationGuard<'_> {
    fn drop(&mut self) {
        if let Some(compensation) = self.compensation.take() {
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
    /// of the invite are free for the next attempt; the rest, and what fails, is undone with a flush.
    pub fn compensate(&self, mut compensation: Compensation) {
        compensation.since = Instant::now();
        let Some(made) = compensation.made else {
            self.compensations.push(compensation);
            return;
        };
        let store = self.clone();
        self.background.spawn(async move {
            if let Err(error) = store.give_back(made).await {
                tracing::warn!(%error, "an admission could not be undone yet; the flush tries again");
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

    /// Undoes what admissions have written, or may have written, for which no connection was made. `is_here` says
    /// whether the person has joined since by another attempt.
    ///
    /// # Errors
    /// [`StoreError`]; what could not be undone is tried again next time.
    pub async fn run_compensations(&self, is_here: impl Fn(&Compensation) -> bool) -> Result<(), StoreError> {
        for _ in 0..self.compensations.len() {
            let Some(compensation) = self.compensations.pop() else { break };
            // A statement that was on its way when the database went away may still be carried out.
            if compensation.since.elapsed() < SETTLED_AFTER {
                self.compensations.push(compensation);
                continue;
            }
            if let Err(error) = self.withdraw(&compensation, is_here(&compensation)).await {
                self.compensations.push(compensation);
                return Err(error);
            }
        }
        Ok(())
    }

    async fn withdraw(&self, admission: &Compensation, is_here: bool) -> Result<(), StoreError> {
        self.batch(async {
            sqlx::query("SELECT lastseen.withdraw_admission($1, $2, $3, $4, $5, $6)")
                .bind(admission.session)
                .bind(admission.new_id)
                .bind(admission.resumed.filter(|_| !is_here))
                .bind(admission.user.filter(|_| !is_here))
                .bind(admission.invite_sha256.as_ref().map(<[u8; 32]>::as_slice))
                .bind(&self.node)
                .execute(&self.batches)
                .await
                .map(drop)
        })
        .await
    }
}
