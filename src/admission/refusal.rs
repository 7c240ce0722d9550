//! Why an admission, the user session of a connection, or whatever the store does not answer is refused, in the codes
//! and texts of the protocol.

use std::time::Duration;

use crate::domain::admission::Rejection;
use crate::domain::idle::IdleRule;
use crate::domain::invite::InviteFault;
use crate::protocol::{Code, Refusal};
use crate::room::JoinError;
use crate::store::StoreError;
use crate::store::user_sessions::UserSessionError;

/// The refusal for an admission that the room itself does not take.
pub fn join_refusal(error: JoinError) -> Refusal {
    match error {
        JoinError::Full => Code::SessionFull.into(),
        JoinError::Promised => {
            Refusal::new(Code::Unavailable, "The last places are being taken just now. Try again in a moment.")
                .retry_about(Duration::from_secs(1))
        }
        JoinError::Closed(reason) => Refusal::closed(reason),
        JoinError::Draining => Code::Draining.into(),
        // The room was dropped from memory in between: the next attempt opens it again.
        JoinError::Retired => Code::Unavailable.into(),
    }
}

/// The refusal for a rejection by the store.
pub(super) fn of_rejection(rejection: Rejection, idle: IdleRule) -> Refusal {
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

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable(_) | StoreError::Locked => {
                tracing::warn!(%error, "refused a request");
                Code::Unavailable.into()
            }
            StoreError::ReadOnly(_) => {
                tracing::warn!(%error, "refused a request");
                Refusal { message: "The database takes no writes just now.".into(), ..Code::Unavailable.into() }
            }
            StoreError::NoSuchUser => {
                Refusal::new(Code::Unauthenticated, "The user of this token is not in the table auth.users (any more).")
            }
            StoreError::Refused(_)
            | StoreError::Pooler(_)
            | StoreError::UnknownWord { .. }
            | StoreError::Incomplete(_) => {
                tracing::error!(%error, "failed a request");
                Code::Internal.into()
            }
        }
    }
}

impl From<UserSessionError> for Refusal {
    fn from(error: UserSessionError) -> Self {
        match error {
            UserSessionError::Store(error) => error.into(),
            UserSessionError::NotFound => Code::UserSessionNotFound.into(),
            UserSessionError::Ended => Code::SessionEnded.into(),
            UserSessionError::Taken => Code::SessionIdTaken.into(),
        }
    }
}

/// The refusal for an invite that is not valid any more, as a text for the person who holds the link.
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

/// `1 hour`, `90 seconds`: the largest unit in which the duration is a whole number.
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
