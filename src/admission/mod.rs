//! Admission: decides whether a connection may join a session. Nothing else opens a room.

mod claimant;
mod granted;
pub mod limits;
pub mod rates;
mod refusal;
mod single_flight;

use std::sync::Arc;

use tokio::time::timeout;

use crate::identity::{Caller, Keys};
use crate::ids::SessionId;
use crate::protocol::{Code, Refusal};
use crate::room::{Registry, Room};
use crate::store::admission::{AdmissionRequest, Admitted, Verdict};
use crate::store::{PATIENCE, Store, Viewer};
use claimant::Claimant;
pub use granted::Admission;
use granted::Admittee;
pub use refusal::{dead_invite, join_refusal};
use single_flight::SingleFlight;

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
    opening: SingleFlight,
}

impl Admissions {
    /// Admissions to the rooms in `registry`.
    pub fn new(keys: Arc<Keys>, store: Store, registry: Arc<Registry>) -> Self {
        Self { keys, store, registry, opening: SingleFlight::default() }
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
                Caller::Service { .. } if shown.invite.is_none() => return self.admit_observer(session).await,
                caller => Claimant::called(caller, shown, &self.registry.shared().clock)?,
            },
        };
        match self.recall(session, &claimant) {
            Some(admission) => Ok(admission),
            // The limit covers the wait for another admission to open the room.
            None => match timeout(PATIENCE, self.admit_by_store(session, claimant)).await {
                Ok(answer) => answer,
                Err(_) => Err(Code::Unavailable.into()),
            },
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

    async fn admit_by_store(&self, session: SessionId, claimant: Claimant) -> Result<Admission, Refusal> {
        if let Some(room) = self.registry.find(session) {
            return self.admit_into(room, claimant).await;
        }
        let flight = self.opening.enter(session).await;
        // The admission before this one may have opened the room; then the next need not wait for this answer.
        if let Some(room) = self.registry.find(session) {
            drop(flight);
            return self.admit_into(room, claimant).await;
        }
        let admitted = self.ask(session, &claimant).await?;
        let room = self.registry.open(admitted.session.clone());
        let mut admission = self.admission(Arc::clone(&room), admitted, &claimant);
        admission.hold(room.reserve(claimant.applicant).map_err(join_refusal)?);
        Ok(admission)
    }

    /// Reserves a place first, so that a full room refuses without a question to the store.
    async fn admit_into(&self, room: Arc<Room>, claimant: Claimant) -> Result<Admission, Refusal> {
        let reservation = room.reserve(claimant.applicant).map_err(join_refusal)?;
        let admitted = self.ask(room.id(), &claimant).await?;
        let mut admission = self.admission(room, admitted, &claimant);
        admission.hold(reservation);
        Ok(admission)
    }

    async fn ask(&self, session: SessionId, claimant: &Claimant) -> Result<Admitted, Refusal> {
        let request = AdmissionRequest {
            session,
            resume: claimant.resume,
            user: claimant.user,
            invite_sha256: claimant.invite,
            name: claimant.name.clone(),
        };
        match self.store.admit(request).await? {
            Verdict::Admitted(admitted) => Ok(*admitted),
            Verdict::Rejected(rejection) => Err(refusal::of_rejection(rejection, self.store.idle())),
        }
    }

    fn admission(&self, room: Arc<Room>, admitted: Admitted, claimant: &Claimant) -> Admission {
        let Admitted { session, entrant, compensation, uncounted_invite } = admitted;
        Admission {
            room,
            admittee: Admittee::Participant { entrant, reservation: None },
            compensation: Some(compensation),
            uncounted_invite,
            until: claimant.until,
            session,
            store: self.store.clone(),
        }
    }

    async fn admit_observer(&self, id: SessionId) -> Result<Admission, Refusal> {
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
            until: None,
            session,
            store: self.store.clone(),
        })
    }
}
