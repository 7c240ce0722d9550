//! Whom the credentials of an admission stand for.

use super::Credentials;
use crate::clock::{Clock, Moment};
use crate::domain::ids::{ParticipantId, SessionId};
use crate::domain::subject::Subject;
use crate::identity::Caller;
use crate::identity::invite::InviteToken;
use crate::identity::jwt;
use crate::identity::resume::ResumeKey;
use crate::protocol::{Code, Refusal};
use crate::room::Applicant;

/// Whom valid credentials stand for.
pub(super) struct Claimant {
    pub(super) applicant: Applicant,
    pub(super) resume: Option<(ParticipantId, i32)>,
    pub(super) user: Option<Subject>,
    pub(super) invite: Option<[u8; 32]>,
    pub(super) name: Option<String>,
    /// When the JWT expires.
    pub(super) until: Option<Moment>,
}

impl Claimant {
    /// The participant of a resume token.
    pub(super) fn resumed(
        key: &ResumeKey,
        session: SessionId,
        token: &str,
        shown: &Credentials,
    ) -> Result<Self, Refusal> {
        let claims =
            key.verify(token).ok_or_else(|| Refusal::new(Code::Unauthenticated, "The resume token is not valid."))?;
        if claims.session != session.0 {
            return Err(Refusal::new(Code::Forbidden, "This resume token is for another session."));
        }
        let participant = ParticipantId(claims.participant);
        Ok(Self {
            applicant: Applicant::Participant(participant),
            resume: Some((participant, claims.generation)),
            user: None,
            invite: None,
            name: shown.name.clone(),
            until: None,
        })
    }

    /// The user of a JWT, or the holder of an invite.
    pub(super) fn called(caller: Caller, shown: &Credentials, clock: &Clock) -> Result<Self, Refusal> {
        let invite = shown.invite.as_deref().map(|token| InviteToken::presented(token).sha256());
        let stranger = Self {
            applicant: Applicant::Stranger,
            resume: None,
            user: None,
            invite,
            name: shown.name.clone(),
            until: None,
        };
        match caller {
            Caller::User { subject, name, expires_at } => Ok(Self {
                applicant: Applicant::User(subject.id()),
                user: Some(subject),
                name: shown.name.clone().or(name),
                until: Some(jwt::deadline(expires_at, clock)),
                ..stranger
            }),
            Caller::Anonymous if invite.is_none() => {
                Err(Refusal::new(Code::Unauthenticated, "An invite, a resume token or a JWT is needed to join."))
            }
            Caller::Anonymous | Caller::Service { .. } => Ok(stranger),
            Caller::Guest(_) => Err(Refusal::new(Code::Unauthenticated, "Show a resume token as 'resume'.")),
        }
    }
}
