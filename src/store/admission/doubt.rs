//! Doubts: what an admission did for somebody who then did not come in is taken back.

use std::time::Duration;

use tokio::time::Instant;

use super::Knock;
use crate::ids::{InviteId, ParticipantId, SessionId, UserId};
use crate::room::Who;
use crate::store::{PATIENCE, Store, StoreError};

/// How long after a question it is certain that none of it is still under way: it leaves within
/// [`PATIENCE`], the database gives up after as long again, and word of it takes a moment.
const DOUBTS_SETTLE_AFTER: Duration = PATIENCE.saturating_mul(3);

/// An admission that may have to be taken back: its answer was lost, or its connection failed, so that
/// the database has let somebody in who is not here.
#[derive(Clone, Debug)]
pub struct Doubtful {
    session: SessionId,
    new_id: ParticipantId,
    resumed: Option<ParticipantId>,
    user: Option<UserId>,
    invite_sha256: Option<[u8; 32]>,
    /// What it made, where the answer said so.
    made: Option<Made>,
    since: Instant,
}

impl Doubtful {
    /// The same, when it is known what it made.
    pub(super) fn having(self, made: Option<Made>) -> Self {
        Self { made, ..self }
    }

    /// The session.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Whom the admission was for, as far as it was somebody known.
    pub fn who(&self) -> Who {
        match (self.resumed, self.user) {
            (Some(participant), _) => Who::Participant(participant),
            (None, Some(user)) => Who::User(user),
            (None, None) => Who::Stranger,
        }
    }
}

/// Notes an admission as doubtful unless its answer arrives, however the wait for it ends.
pub(super) struct Doubt<'a> {
    store: &'a Store,
    doubtful: Option<Doubtful>,
}

impl<'a> Doubt<'a> {
    pub(super) fn new(store: &'a Store, knock: &Knock, new_id: ParticipantId) -> Self {
        let doubtful = Doubtful {
            session: knock.session,
            new_id,
            resumed: knock.resume.map(|(participant, _)| participant),
            user: knock.user,
            invite_sha256: knock.invite_sha256,
            made: None,
            since: Instant::now(),
        };
        Self { store, doubtful: Some(doubtful) }
    }

    pub(super) fn resolve(mut self) -> Option<Doubtful> {
        self.doubtful.take()
    }
}

impl Drop for Doubt<'_> {
    fn drop(&mut self) {
        if let Some(doubtful) = self.doubtful.take() {
            self.store.doubts.push(doubtful);
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
    /// Takes back an admission whose connection failed: what it made at once, so that the place and the
    /// use are free for the next attempt; the rest, and what fails, with a flush.
    pub fn take_back(&self, mut granted: Doubtful) {
        granted.since = Instant::now();
        let Some(made) = granted.made else {
            self.doubts.push(granted);
            return;
        };
        let store = self.clone();
        self.errands.spawn(async move {
            if let Err(error) = store.give_back(made).await {
                tracing::warn!(%error, "could not give back the place of a failed connection yet");
                store.doubts.push(granted);
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

    /// Takes back what admissions have done, or may have done, by which nobody came in. `is_here` says
    /// who has come in since by another attempt.
    ///
    /// # Errors
    /// [`StoreError`]; what could not be taken back is tried again next time.
    pub async fn settle_doubts(&self, is_here: impl Fn(&Doubtful) -> bool) -> Result<(), StoreError> {
        for _ in 0..self.doubts.len() {
            let Some(doubtful) = self.doubts.pop() else { break };
            // A statement that was on its way when the database went away may still be carried out.
            if doubtful.since.elapsed() < DOUBTS_SETTLE_AFTER {
                self.doubts.push(doubtful);
                continue;
            }
            let here = is_here(&doubtful);
            let withdrawn = self
                .batch(async {
                    sqlx::query("SELECT lastseen.withdraw_admission($1, $2, $3, $4, $5, $6)")
                        .bind(doubtful.session)
                        .bind(doubtful.new_id)
                        .bind(doubtful.resumed.filter(|_| !here))
                        .bind(doubtful.user.filter(|_| !here))
                        .bind(doubtful.invite_sha256.as_ref().map(<[u8; 32]>::as_slice))
                        .bind(&self.node)
                        .execute(&self.batches)
                        .await
                        .map(drop)
                })
                .await;
            if let Err(error) = withdrawn {
                self.doubts.push(doubtful);
                return Err(error);
            }
        }
        Ok(())
    }
}
