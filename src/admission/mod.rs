//! Admission: decides whether a connection may join a session. Nothing else opens a room.

mod claimant;
mod granted;
pub mod limits;
pub mod rates;
mod refusal;
pub mod refusal_log;
pub mod tarpit;

use std::sync::Arc;
use std::time::Instant;

use crate::clock::Moment;
use crate::domain::ids::SessionId;
use crate::identity::{Caller, Keys, jwt};
use crate::protocol::{Code, Refusal};
use crate::room::Registry;
use crate::store::admission::{AdmissionRequest, Admitted, Verdict};
use crate::store::{Store, Viewer};
use claimant::Claimant;
pub use granted::Admission;
use granted::Admittee;
pub use refusal::{dead_invite, join_refusal};

/// What a client sends to join a session.
#[derive(Clone, Default)]
pub struct Credentials {
    /// A resume token.
    pub resume: Option<String>,
    /// A JWT.
    pub bearer: Option<String>,
    /// An invite token.
    pub invite: Option<String>,
    /// The display name that is asked for, checked.
    pub name: Option<String>,
}

/// Decides on admissions to all rooms of a server.
#[derive(Debug)]
pub struct Admissions {
    keys: Arc<Keys>,
    store: Store,
    registry: Arc<Registry>,
}

impl Admissions {
    /// Admissions to the rooms in `registry`.
    pub fn new(keys: Arc<Keys>, store: Store, registry: Arc<Registry>) -> Self {
        Self { keys, store, registry }
    }

    /// The keys that credentials are checked with.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Decides on one admission. The first credential that applies decides: a resume token, being host or
    /// participant already, an invite, the service as an observer.
    ///
    /// # Errors
    /// The refusal of the first credential that applies; the next one is then not tried.
    pub async fn admit(&self, session: SessionId, shown: &Credentials) -> Result<Admission, Refusal> {
        if self.registry.is_draining() {
            return Err(Code::Draining.into());
        }
        let claimant = match &shown.resume {
            Some(token) => Claimant::resumed(self.keys.resume(), session, token, shown)?,
            None => match self.keys.caller(shown.bearer.as_deref()).await? {
                Caller::Service { expires_at } if shown.invite.is_none() => {
                    let until = jwt::deadline(expires_at, &self.registry.shared().clock);
                    return self.admit_observer(session, until).await;
                }
                caller => Claimant::called(caller, shown, &self.registry.shared().clock)?,
            },
        };
        match self.recall(session, &claimant) {
            Some(admission) => Ok(admission),
            None => self.admit_by_store(session, claimant).await,
        }
    }

    /// Admits a participant who is in the live room without asking the store, also while the database is
    /// away. A new name has to be stored and needs the store.
    fn recall(&self, session: SessionId, claimant: &Claimant) -> Option<Admission> {
        let room = self.registry.find(session)?;
        let (session, entrant) = room.recall(claimant.applicant)?;
        let same_generation = claimant.resume.is_none_or(|(_, generation)| generation == entrant.generation);
        let same_name = claimant.name.as_deref().is_none_or(|name| *name == *entrant.name);
        (same_generation && same_name).then(|| Admission {
            room,
            admittee: Admittee::Participant { entrant, reservation: None },
            compensation: None,
            uncounted_invite: None,
            until: claimant.until,
            session,
            store: self.store.clone(),
        })
    }

    /// Asks the store, then opens the room where it is not in memory, then reserves a place. Before the
    /// verdict a request holds nothing that others wait for: anybody can send bad credentials.
    async fn admit_by_store(&self, session: SessionId, claimant: Claimant) -> Result<Admission, Refusal> {
        // A room that is full of people refuses without a question to the store.
        if let Some(room) = self.registry.find(session) {
            room.check_capacity(claimant.applicant).map_err(join_refusal)?;
        }
        let asked = Instant::now();
        let admitted = self.ask(session, &claimant).await?;
        let Admitted { session, mut entrant, compensation, uncounted_invite } = admitted;
        // Whoever has just left is known here as of then, and to the store as of the last flush.
        if let Some(state) = self.registry.shared().write_behind.departed_state(entrant.id, asked) {
            entrant.state = state;
        }
        let room = self.registry.open(session.clone());
        let mut admission = Admission {
            room,
            admittee: Admittee::Participant { entrant, reservation: None },
            compensation: Some(compensation),
            uncounted_invite,
            until: claimant.until,
            session,
            store: self.store.clone(),
        };
        admission.reserve().map_err(join_refusal)?;
        Ok(admission)
    }

    async fn ask(&self, session: SessionId, claimant: &Claimant) -> Result<Admitted, Refusal> {
        let request = AdmissionRequest {
            session,
            resume: claimant.resume,
            user: claimant.user.clone(),
            invite_sha256: claimant.invite,
            name: claimant.name.clone(),
        };
        match self.store.admit(request).await? {
            Verdict::Admitted(admitted) => Ok(*admitted),
            Verdict::Rejected(rejection) => Err(refusal::of_rejection(rejection, self.store.idle())),
        }
    }

    /// Admits the service, whose JWT is good until then.
    async fn admit_observer(&self, id: SessionId, until: Moment) -> Result<Admission, Refusal> {
        let stored = self.store.session(Viewer::Service, id).await?;
        let (session, _) = stored.ok_or(Code::SessionNotFound)?;
        if let Some(reason) = session.close_reason() {
            return Err(Refusal::closed(reason));
        }
        let room = self.registry.open(session.clone());
        Ok(Admission {
            room,
            admittee: Admittee::Observer,
            compensation: None,
            uncounted_invite: None,
            until: Some(until),
            session,
            store: self.store.clone(),
        })
    }
}
