//! Admission to a reading session, as the database decides it.

use super::invite::InviteFault;
use super::reading_session::CloseReason;
use super::words::words;

words! {
    /// What `lastseen.admit()` answers.
    AdmissionVerdict {
        /// The person is admitted.
        Admitted = "admitted",
        /// There is no such session.
        SessionNotFound = "session_not_found",
        /// The session is closed; the detail is a [`CloseReason`].
        SessionClosed = "session_closed",
        /// The person was removed from the session.
        Removed = "removed",
        /// Nothing valid was presented, or a resume token of an earlier generation.
        Unauthenticated = "unauthenticated",
        /// Neither host nor participant, and without an invite to this session.
        Forbidden = "forbidden",
        /// There is no such invite.
        InviteNotFound = "invite_not_found",
        /// The invite is dead; the detail is an [`InviteFault`].
        InviteExpired = "invite_expired",
        /// A display name is needed, and none is known.
        NameNeeded = "name_needed",
    }
}

/// Why a person is not admitted: each verdict but `admitted`, with its detail.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "each is the verdict of the same name")]
pub enum Rejection {
    SessionNotFound,
    SessionClosed(CloseReason),
    Removed,
    Unauthenticated,
    Forbidden,
    InviteNotFound,
    InviteExpired(InviteFault),
    NameNeeded,
}
