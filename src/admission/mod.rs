//! Admission: the proof that somebody may come into a session, and the only thing that opens a room.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::clock::Moment;
use crate::domain::admission::Rejection;
use crate::domain::invite::InviteFault;
use crate::identity::invite::InviteToken;
use crate::identity::resume::ResumeClaims;
use crate::identity::{Caller, Keys, jwt};
use crate::ids::{InviteId, ParticipantId, SessionId, UserId};
use crate::protocol::{Code, Refusal};
use crate::room::{self, Entrant, JoinError, Joined, Listener, Place, Registry, Room, Who};
use crate::store::admission::{AdmissionRequest, Admitted, Compensation, Verdict};
use crate::store::{IdleRule, PATIENCE, Store, Viewer};

/// Sessions whose rooms can be opened at the same time without waiting for each other.
const DOORS: u64 = 256;

/// What somebody shows to come into a session.
#[derive(Clone, Default)]
pub struct Credentials {
    /// A resume token.
    pub resume: Option<String>,
    /// A JWT.
    pub bearer: Option<String>,
    /// An invite token.
    pub invite: Option<String>,
    /// The display name that it asks for, checked.
    pub name: Option<String>,
}

/// Lets people in.
#[derive(Debug)]
pub struct Admissions {
    keys: Arc<Keys>,
    store: Store,
    registry: Arc<Registry>,
    /// Of those who come to a session that is not in memory only the first asks while the others
    /// wait: it opens the room, and they find it open.
    doors: Box<[Mutex<()>]>,
    hasher: RandomState,
}

/// Who was let in, by what.
struct Identity {
    who: Who,
    resume: Option<(ParticipantId, i32)>,
    user: Option<UserId>,
    invite: Option<[u8; 32]>,
    name: Option<String>,
    /// When what it showed expires.
    until: Option<Moment>,
}

/// The proof that somebody may come in, with a place held for it. Dropped unused, it gives back what
/// it made in the store.
#[derive(Debug)]
pub struct Admission {
    room: Arc<Room>,
    admittee: Admittee,
    /// What the store has granted and has to take back where nobody comes in by it; `None` for whoever
    /// is here already.
    granted: Option<Compensation>,
    uncounted_invite: Option<InviteId>,
    /// When the credential expires, and the connection with it.
    pub until: Option<Moment>,
    /// What it opens.
    pub session: room::Session,
    store: Store,
}

#[derive(Debug)]
enum Admittee {
    Participant { entrant: Entrant, place: Option<Place> },
    Observer,
}

impl Admissions {
    /// Admissions to the rooms in `registry`.
    pub fn new(keys: Arc<Keys>, store: Store, registry: Arc<Registry>) -> Self {
        let doors = (0..DOORS).map(|_| Mutex::default()).collect();
        Self { keys, store, registry, doors, hasher: RandomState::new() }
    }

    /// Signs and reads tokens.
    pub fn keys(&self) -> &Keys {
        &self.keys
    }

    /// Decides whether somebody may come into a session. First match wins: a resume token, being host
    /// or participant already, an invite, the service as an observer.
    ///
    /// # Errors
    /// The refusal of the first credential that applies; one that is refused never falls through.
    pub async fn admit(&self, session: SessionId, shown: &Credentials) -> Result<Admission, Refusal> {
        if self.registry.is_draining() {
            return Err(Code::Draining.into());
        }
        let identity = match &shown.resume {
            Some(token) => self.resumed(session, token, shown)?,
            None => match self.keys.caller(shown.bearer.as_deref()).await? {
                Caller::Service { .. } if shown.invite.is_none() => return self.admit_observer(session).await,
                caller => self.identify(caller, shown)?,
            },
        };
        match self.recall(session, &identity) {
            Some(admission) => Ok(admission),
            // The wait at a door counts too: whoever joins has an answer in time.
            None => match timeout(PATIENCE, self.admit_by_store(session, identity)).await {
                Ok(answer) => answer,
                Err(_) => Err(Code::Unavailable.into()),
            },
        }
    }

    fn resumed(&self, session: SessionId, token: &str, shown: &Credentials) -> Result<Identity, Refusal> {
        let claims = self
            .keys
            .resume()
            .verify(token)
            .ok_or_else(|| Refusal::new(Code::Unauthenticated, "The resume token is not valid."))?;
        if claims.session != session.0 {
            return Err(Refusal::new(Code::Forbidden, "This resume token is for another session."));
        }
        let participant = ParticipantId(claims.participant);
        Ok(Identity {
            who: Who::Participant(participant),
            resume: Some((participant, claims.generation)),
            user: None,
            invite: None,
            name: shown.name.clone(),
            until: None,
        })
    }

    fn identify(&self, caller: Caller, shown: &Credentials) -> Result<Identity, Refusal> {
        let invite = shown.invite.as_deref().map(|token| InviteToken::presented(token).sha256());
        let stranger =
            Identity { who: Who::Stranger, resume: None, user: None, invite, name: shown.name.clone(), until: None };
        match caller {
            Caller::User { id, name, expires_at } => Ok(Identity {
                who: Who::User(id),
                user: Some(id),
                name: shown.name.clone().or(name),
                until: Some(jwt::deadline(expires_at, &self.registry.shared().clock)),
                ..stranger
            }),
            Caller::Anonymous if invite.is_none() => {
                Err(Refusal::new(Code::Unauthenticated, "An invite, a resume token or a JWT is needed to join."))
            }
            Caller::Anonymous | Caller::Service { .. } => Ok(stranger),
            Caller::Guest(_) => Err(Refusal::new(Code::Unauthenticated, "Show a resume token as 'resume'.")),
        }
    }

    /// Somebody who is in the live room comes back without the store being asked, also while it is
    /// away. A new name has to be stored, so that goes the long way.
    fn recall(&self, session: SessionId, identity: &Identity) -> Option<Admission> {
        let room = self.registry.find(session)?;
        let (session, entrant) = room.recall(identity.who)?;
        let same_generation = identity.resume.is_none_or(|(_, generation)| generation == entrant.generation);
        let same_name = identity.name.as_deref().is_none_or(|name| *name == *entrant.name);
        (same_generation && same_name).then(|| Admission {
            room,
            admittee: Admittee::Participant { entrant, place: None },
            granted: None,
            uncounted_invite: None,
            until: identity.until,
            session,
            store: self.store.clone(),
        })
    }

    async fn admit_by_store(&self, session: SessionId, identity: Identity) -> Result<Admission, Refusal> {
        if let Some(room) = self.registry.find(session) {
            return self.admit_into(room, identity).await;
        }
        let door = self.door(session).lock().await;
        // Whoever was here before may have opened the room; those behind need not wait for this answer.
        if let Some(room) = self.registry.find(session) {
            drop(door);
            return self.admit_into(room, identity).await;
        }
        let admitted = self.ask(session, &identity).await?;
        let room = self.registry.open(admitted.session.clone());
        let mut admission = self.admission(Arc::clone(&room), admitted, &identity);
        admission.take_place(reserve(&room, identity.who)?);
        Ok(admission)
    }

    async fn admit_into(&self, room: Arc<Room>, identity: Identity) -> Result<Admission, Refusal> {
        let place = reserve(&room, identity.who)?;
        let admitted = self.ask(room.id(), &identity).await?;
        let mut admission = self.admission(room, admitted, &identity);
        admission.take_place(place);
        Ok(admission)
    }

    fn door(&self, session: SessionId) -> &Mutex<()> {
        let hash = usize::try_from(self.hasher.hash_one(session) % DOORS).expect("fits, it is below DOORS");
        &self.doors[hash]
    }

    async fn ask(&self, session: SessionId, identity: &Identity) -> Result<Admitted, Refusal> {
        let request = AdmissionRequest {
            session,
            resume: identity.resume,
            user: identity.user,
            invite_sha256: identity.invite,
            name: identity.name.clone(),
        };
        match self.store.admit(request).await? {
            Verdict::Admitted(admitted) => Ok(*admitted),
            Verdict::Rejected(rejection) => Err(refusal(rejection, self.store.idle())),
        }
    }

    fn admission(&self, room: Arc<Room>, admitted: Admitted, identity: &Identity) -> Admission {
        let Admitted { session, entrant, compensation, uncounted_invite } = admitted;
        Admission {
            room,
            admittee: Admittee::Participant { entrant, place: None },
            granted: Some(compensation),
            uncounted_invite,
            until: identity.until,
            session,
            store: self.store.clone(),
        }
    }

    async fn admit_observer(&self, id: SessionId) -> Result<Admission, Refusal> {
        let stored = self.store.session(Viewer::Service, id).await?;
        let (session, _) = stored.ok_or(Code::SessionNotFound)?;
        if let Some(reason) = session.close_reason {
            return Err(Refusal::closed(reason));
        }
        let session = session.live();
        let room = self.registry.open(session.clone());
        Ok(Admission {
            room,
            admittee: Admittee::Observer,
            granted: None,
            uncounted_invite: None,
            until: None,
            session,
            store: self.store.clone(),
        })
    }
}

impl Admission {
    fn take_place(&mut self, promised: Option<Place>) {
        if let Admittee::Participant { place, .. } = &mut self.admittee {
            *place = promised;
        }
    }

    /// Which of its resume tokens are good, with the participant; `None` for an observer.
    pub fn resume_claims(&self) -> Option<ResumeClaims> {
        match &self.admittee {
            Admittee::Participant { entrant, .. } => Some(ResumeClaims {
                participant: entrant.id.0,
                session: self.session.id.0,
                generation: entrant.generation,
            }),
            Admittee::Observer => None,
        }
    }

    /// Comes in: takes a seat in the room, whose events the listener is told from then on.
    ///
    /// # Errors
    /// [`JoinError`] where the room changed since; what the admission made is given back.
    pub fn enter(mut self, listener: Arc<dyn Listener>) -> Result<Joined, JoinError> {
        let joined = match &mut self.admittee {
            Admittee::Observer => self.room.observe(listener)?,
            Admittee::Participant { entrant, place } => {
                // Without a place it was somebody who is here. Whoever went since may have been removed:
                // that is for the store to say.
                if place.is_none() && self.room.participant(entrant.id).is_none() {
                    return Err(JoinError::Retired);
                }
                self.room.join(entrant.clone(), place.take(), listener)?
            }
        };
        self.granted = None;
        if let Some(invite) = self.uncounted_invite {
            self.room.ledger().invite_used(invite, 1);
        }
        Ok(joined)
    }
}

impl Drop for Admission {
    fn drop(&mut self) {
        if let Some(granted) = self.granted.take() {
            self.store.compensate(granted);
        }
    }
}

fn reserve(room: &Arc<Room>, who: Who) -> Result<Option<Place>, Refusal> {
    room.reserve(who).map_err(join_refusal)
}

/// Why somebody who could have come in cannot join the room.
pub fn join_refusal(error: JoinError) -> Refusal {
    match error {
        JoinError::Full => Code::SessionFull.into(),
        JoinError::Closed(reason) => Refusal::closed(reason),
        JoinError::Draining => Code::Draining.into(),
        // The room left memory in this very moment: coming back opens it again.
        JoinError::Retired => Code::Unavailable.into(),
    }
}

/// The refusal of a person whom the store does not admit.
fn refusal(rejection: Rejection, idle: IdleRule) -> Refusal {
    match rejection {
        Rejection::SessionNotFound => Code::SessionNotFound.into(),
        Rejection::SessionClosed(reason) => Refusal::closed(reason),
        Rejection::Removed => Code::Removed.into(),
        Rejection::Unauthenticated => Refusal::new(Code::Unauthenticated, "The resume token is not good any more."),
        Rejection::Forbidden => Refusal::new(Code::Forbidden, "This session is not open to you."),
        Rejection::InviteNotFound => Code::InviteNotFound.into(),
        Rejection::InviteExpired(fault) => dead_invite(fault, idle),
        Rejection::NameNeeded => Refusal::invalid("name", "is needed to join"),
    }
}

/// Why an invitation link is dead, for the person who holds it.
pub fn dead_invite(fault: InviteFault, idle: IdleRule) -> Refusal {
    let message = match fault {
        InviteFault::Revoked => "This invitation link was revoked.".to_owned(),
        InviteFault::Expired => "This invitation link has expired: it was good for a limited time.".to_owned(),
        InviteFault::UsedUp => "This invitation link has been used as often as it may be.".to_owned(),
        InviteFault::Closed | InviteFault::Idle => format!(
            "This invitation link has expired. Sessions become inactive after {} of no activity.",
            in_words(idle.timeout)
        ),
    };
    Refusal::new(Code::InviteExpired, message)
}

/// `1 hour`, `90 seconds`: the largest unit that says it exactly.
fn in_words(duration: Duration) -> String {
    let milliseconds = duration.as_millis();
    let (unit, count) = [("hour", 3_600_000), ("minute", 60_000), ("second", 1000)]
        .into_iter()
        .find(|(_, size)| milliseconds.is_multiple_of(*size))
        .map_or(("millisecond", milliseconds), |(unit, size)| (unit, milliseconds / size));
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_said_in_words() {
        for (milliseconds, words) in [
            (3_600_000, "1 hour"),
            (7_200_000, "2 hours"),
            (5_400_000, "90 minutes"),
            (1000, "1 second"),
            (1500, "1500 milliseconds"),
        ] {
            assert_eq!(in_words(Duration::from_millis(milliseconds)), words);
        }
    }
}
