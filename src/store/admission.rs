//! Admission as the database decides it: one call and one verdict for each request, one round trip for all requests
//! that arrive together.

mod batcher;
mod compensation;

use std::str::FromStr;

use chrono::{DateTime, Utc};
use sqlx::FromRow;

pub(super) use self::batcher::Batcher;
pub use self::compensation::Compensation;
use self::compensation::{CompensationGuard, Made};
use super::participants::shown_state;
use super::{Store, StoreError};
use crate::domain::admission::{AdmissionVerdict, Rejection};
use crate::domain::document::Document;
use crate::domain::ids::{InviteId, ParticipantId, SessionId};
use crate::domain::reading_session::ReadingSession;
use crate::domain::role::Role;
use crate::domain::subject::Subject;
use crate::room::Entrant;

/// A request for admission: what a person presents to join a session.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the arguments of lastseen.admit()")]
pub struct AdmissionRequest {
    pub session: SessionId,
    /// From a resume token whose signature was checked.
    pub resume: Option<(ParticipantId, i32)>,
    pub user: Option<Subject>,
    pub invite_sha256: Option<[u8; 32]>,
    pub name: Option<String>,
}

/// What the database decides.
#[derive(Debug)]
pub enum Verdict {
    /// The person is admitted.
    Admitted(Box<Admitted>),
    /// Not, and why.
    Rejected(Rejection),
}

/// A person who is admitted.
#[derive(Debug)]
pub struct Admitted {
    /// The session.
    pub session: ReadingSession,
    /// The person.
    pub entrant: Entrant,
    /// What to undo where no connection is made.
    pub compensation: Compensation,
    /// The invite that the person used, where it has no limit of uses: its use is counted with the flush.
    pub uncounted_invite: Option<InviteId>,
}

#[derive(Debug, FromRow)]
struct Row {
    /// Which request of its batch it answers, from 1.
    nth: i64,
    verdict: String,
    detail: Option<String>,
    #[sqlx(flatten)]
    granted: Granted,
}

/// The most admissions that may wait to be undone: beyond them nobody is admitted, so that an outage of any length
/// leaves no more to do.
const MOST_IN_DOUBT: usize = 10_000;

/// The function that decides, for error messages.
const ADMIT: &str = "lastseen.admit()";

/// Why the person is not admitted; `None` where it is.
fn rejection(verdict: &str, detail: Option<&str>) -> Result<Option<Rejection>, StoreError> {
    let rejection = match word(verdict)? {
        AdmissionVerdict::Admitted => return Ok(None),
        AdmissionVerdict::SessionNotFound => Rejection::SessionNotFound,
        AdmissionVerdict::SessionClosed => Rejection::SessionClosed(word(detail.unwrap_or_default())?),
        AdmissionVerdict::Removed => Rejection::Removed,
        AdmissionVerdict::Unauthenticated => Rejection::Unauthenticated,
        AdmissionVerdict::Forbidden => Rejection::Forbidden,
        AdmissionVerdict::InviteNotFound => Rejection::InviteNotFound,
        AdmissionVerdict::InviteExpired => Rejection::InviteExpired(word(detail.unwrap_or_default())?),
        AdmissionVerdict::NameNeeded => Rejection::NameNeeded,
    };
    Ok(Some(rejection))
}

/// A word of the answer. Read here and not with the row: an unknown one must not fail those who were asked for
/// by the same statement.
fn word<Word: FromStr>(text: &str) -> Result<Word, StoreError> {
    text.parse().map_err(|_| StoreError::UnknownWord { function: ADMIT, word: text.to_owned() })
}

/// All null where the verdict is a refusal.
#[derive(Debug, FromRow)]
struct Granted {
    participant_id: Option<ParticipantId>,
    known_as: Option<Subject>,
    name: Option<String>,
    role: Option<Role>,
    state: Option<Document>,
    joined_at: Option<DateTime<Utc>>,
    resume_generation: Option<i32>,
    newly_made: Option<bool>,
    invite_id: Option<InviteId>,
    invite_counted: Option<bool>,
    invite_uncounted: Option<bool>,
    session_id: Option<SessionId>,
    title: Option<String>,
    host_known_as: Option<Subject>,
    max_participants: Option<i32>,
    session_created_at: Option<DateTime<Utc>>,
    session_last_seen_at: Option<DateTime<Utc>>,
    session_last_activity_at: Option<DateTime<Utc>>,
}

impl Granted {
    fn admitted(self, compensation: Compensation) -> Option<Admitted> {
        let id = self.participant_id?;
        let counted_invite = self.invite_id.filter(|_| self.invite_counted == Some(true));
        Some(Admitted {
            session: ReadingSession {
                id: self.session_id?,
                title: self.title,
                host_user_id: self.host_known_as,
                max_participants: usize::try_from(self.max_participants?).ok()?,
                created_at: self.session_created_at?,
                last_seen_at: self.session_last_seen_at?,
                last_activity_at: self.session_last_activity_at?,
                closed: None,
            },
            entrant: Entrant {
                id,
                user_id: self.known_as,
                name: self.name?.into(),
                role: self.role?,
                state: shown_state(self.state?),
                joined_at: self.joined_at?,
                generation: self.resume_generation?,
            },
            compensation: compensation.with(self.newly_made?.then_some(Made { participant: id, counted_invite })),
            uncounted_invite: self.invite_id.filter(|_| self.invite_uncounted == Some(true)),
        })
    }
}

impl Store {
    /// Asks the database to admit a person, which writes that it is present. Where the caller stops waiting, or the
    /// answer is lost, what was written is undone later.
    ///
    /// # Errors
    /// [`StoreError`].
    pub async fn admit(&self, request: AdmissionRequest) -> Result<Verdict, StoreError> {
        if self.compensations.len() >= MOST_IN_DOUBT {
            return Err(StoreError::Unavailable("too many admissions wait to be undone".to_owned()));
        }
        let new_id = ParticipantId::new();
        let guard = CompensationGuard::new(self, &request, new_id);
        let row = self.batcher.ask(request, new_id, guard.doubt()).await?;
        let compensation = guard.disarm();
        if let Some(rejection) = rejection(&row.verdict, row.detail.as_deref())? {
            return Ok(Verdict::Rejected(rejection));
        }
        match compensation.and_then(|compensation| row.granted.admitted(compensation)) {
            Some(admitted) => Ok(Verdict::Admitted(Box::new(admitted))),
            None => Err(StoreError::Incomplete(ADMIT)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::invite::InviteFault;
    use crate::domain::reading_session::CloseReason;

    #[test]
    fn a_verdict_is_read_with_its_detail() {
        let read = |verdict, detail| rejection(verdict, detail).map_err(|error| error.to_string());
        assert_eq!(read("admitted", None), Ok(None));
        assert_eq!(read("removed", None), Ok(Some(Rejection::Removed)));
        assert_eq!(read("session_closed", Some("host")), Ok(Some(Rejection::SessionClosed(CloseReason::Host))));
        assert_eq!(read("invite_expired", Some("used_up")), Ok(Some(Rejection::InviteExpired(InviteFault::UsedUp))));
    }

    #[test]
    fn an_unknown_word_is_an_error_that_names_it() {
        for (verdict, detail, word) in [("maybe", None, "maybe"), ("session_closed", Some("boredom"), "boredom")] {
            let error = rejection(verdict, detail).expect_err(word).to_string();
            assert_eq!(error, format!("lastseen.admit() answered with the unknown word '{word}'"));
        }
    }
}
