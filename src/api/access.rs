//! The rights of a caller: in general, and in a session.

use std::sync::Arc;

use axum::extract::FromRef;

use crate::app::App;
use crate::domain::ids::{ParticipantId, SessionId, UserId};
use crate::domain::reading_session::{CloseReason, ReadingSession};
use crate::domain::role::Role;
use crate::domain::subject::Subject;
use crate::identity::Caller;
use crate::identity::resume::ResumeClaims;
use crate::protocol::{Code, Refusal};
use crate::room::Registry;
use crate::store::{Store, Viewer};

/// Reading sessions: what is stored of them, and their rooms in memory.
#[derive(Clone, Debug)]
pub struct Sessions {
    /// What is stored.
    pub store: Store,
    /// What is in memory.
    pub registry: Arc<Registry>,
}

/// A caller who may read a session.
#[derive(Debug)]
pub struct Access {
    /// The session.
    pub session: ReadingSession,
    /// The viewer as which the store is read. A guest has no row that row-level security could match: the rights
    /// of guests are checked here, and the store is read as the service.
    pub viewer: Viewer,
    role: Option<Role>,
}

impl Access {
    /// The reason of a session that this caller closes.
    pub fn close_reason(&self) -> CloseReason {
        match self.role {
            Some(_) => CloseReason::Host,
            None => CloseReason::Admin,
        }
    }

    /// The calling user; `None` for guests and the service.
    pub fn user(&self) -> Option<UserId> {
        self.viewer.user()
    }
}

impl Caller {
    /// Requires the embedding application.
    ///
    /// # Errors
    /// `unauthenticated`, or `forbidden` for all other callers.
    pub fn service(&self) -> Result<(), Refusal> {
        match self {
            Self::Service { .. } => Ok(()),
            Self::Anonymous => Err(Code::Unauthenticated.into()),
            Self::User { .. } | Self::Guest(_) => {
                Err(Refusal::new(Code::Forbidden, "Only the service role may do this."))
            }
        }
    }

    /// The viewer of lists: the service sees all, a user their own; guests have no lists.
    ///
    /// # Errors
    /// `unauthenticated`, or `forbidden` for guests.
    pub fn viewer(&self) -> Result<Viewer, Refusal> {
        match self {
            Self::Service { .. } => Ok(Viewer::Service),
            Self::User { subject, .. } => Ok(Viewer::User(subject.id())),
            Self::Anonymous => Err(Code::Unauthenticated.into()),
            Self::Guest(_) => Err(Refusal::new(Code::Forbidden, "A guest may not do this: a user's JWT is needed.")),
        }
    }

    /// The calling user, with the name in its token: for what belongs to users alone.
    ///
    /// # Errors
    /// `unauthenticated`, or `forbidden` for guests and the service.
    pub fn user(&self) -> Result<(&Subject, Option<&str>), Refusal> {
        match self {
            Self::User { subject, name, .. } => Ok((subject, name.as_deref())),
            Self::Anonymous => Err(Code::Unauthenticated.into()),
            Self::Guest(_) | Self::Service { .. } => {
                Err(Refusal::new(Code::Forbidden, "This is a user's own: call with the JWT of the user."))
            }
        }
    }
}

impl FromRef<App> for Sessions {
    fn from_ref(app: &App) -> Self {
        Self { store: app.store.clone(), registry: Arc::clone(&app.registry) }
    }
}

impl Sessions {
    /// Requires a caller who may read the session: its participants and the service. For others it does not
    /// exist.
    pub async fn access(&self, caller: &Caller, session: SessionId) -> Result<Access, Refusal> {
        match caller {
            Caller::Anonymous => Err(Code::Unauthenticated.into()),
            Caller::Service { .. } => self.read(Viewer::Service, session, None).await,
            Caller::User { subject, .. } => {
                let mut access = self.read(Viewer::User(subject.id()), session, None).await?;
                access.role = access.role.or(Some(Role::Participant));
                Ok(access)
            }
            Caller::Guest(claims) => {
                let role = self.guest_role(claims, session).await?;
                self.read(Viewer::Service, session, Some(role)).await
            }
        }
    }

    /// Requires a caller who may change the session: a host or the service.
    pub async fn host(&self, caller: &Caller, session: SessionId) -> Result<Access, Refusal> {
        let access = self.access(caller, session).await?;
        match access.role {
            None | Some(Role::Host) => Ok(access),
            Some(_) => Err(Refusal::new(Code::Forbidden, "Only a host of the session may do this.")),
        }
    }

    async fn read(&self, viewer: Viewer, session: SessionId, role: Option<Role>) -> Result<Access, Refusal> {
        let (session, own_role) = self.store.session(viewer, session).await?.ok_or(Code::SessionNotFound)?;
        Ok(Access { session: self.with_live_signs(session), viewer, role: role.or(own_role) })
    }

    async fn guest_role(&self, claims: &ResumeClaims, session: SessionId) -> Result<Role, Refusal> {
        if claims.session != session.0 {
            return Err(Refusal::new(Code::Forbidden, "This resume token is for another session."));
        }
        let membership = self.store.membership(session, ParticipantId(claims.participant)).await?;
        let stale = || Refusal::new(Code::Unauthenticated, "The resume token is not good any more.");
        let membership = membership.ok_or_else(stale)?;
        match membership.close_reason {
            _ if membership.removed => Err(Code::Removed.into()),
            _ if membership.resume_generation != claims.generation => Err(stale()),
            Some(reason) => Err(Refusal::closed(reason)),
            None => Ok(membership.role),
        }
    }

    /// The refusal for a session that is not open, or was closed since `known` was read.
    pub async fn closed(&self, known: &ReadingSession) -> Refusal {
        let reason = match known.close_reason() {
            Some(reason) => Some(reason),
            None => match self.store.session(Viewer::Service, known.id).await {
                Ok(now) => now.and_then(|(session, _)| session.close_reason()),
                Err(error) => return error.into(),
            },
        };
        reason.map_or_else(|| Code::SessionNotFound.into(), Refusal::closed)
    }

    /// Beats and activity of the room may not be in the store yet.
    pub fn with_live_signs(&self, mut session: ReadingSession) -> ReadingSession {
        if let Some((seen, active)) = self.registry.find(session.id).and_then(|room| room.last_signs()) {
            let clock = self.registry.shared().clock;
            session.last_seen_at = session.last_seen_at.max(clock.utc(seen));
            session.last_activity_at = session.last_activity_at.max(clock.utc(active));
        }
        session
    }
}
