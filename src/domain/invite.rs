//! An invite to a reading session.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::ids::{InviteId, SessionId, UserId};
use super::role::Role;
use super::words::words;

words! {
    /// Why an invite does not open its session any more: `lastseen.invite_fault()`.
    InviteFault {
        /// The session is closed.
        Closed = "closed",
        /// The session is idle, and about to be closed.
        Idle = "idle",
        /// The invite was revoked.
        Revoked = "revoked",
        /// The invite is past its own end.
        Expired = "expired",
        /// It was used as often as it may be.
        UsedUp = "used_up",
    }
}

words! {
    /// What `lastseen.inspect_invite()` answers.
    InspectionVerdict {
        /// The invite opens its session.
        Ok = "ok",
        /// There is no such invite.
        NotFound = "invite_not_found",
        /// The invite is dead; the detail is an [`InviteFault`].
        Expired = "invite_expired",
    }
}

/// What an invite link opens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Inspection {
    /// It opens a session.
    Open {
        /// Which one.
        session: SessionId,
        /// The session's title.
        title: Option<String>,
        /// When the link expires: the invite's own end or the session's, whichever is sooner.
        expires_at: DateTime<Utc>,
    },
    /// It does not open its session any more.
    Dead(InviteFault),
    /// There is no such invite.
    Unknown,
}

/// A stored invite. Its token is not stored.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the table's, see migrations")]
pub struct Invite {
    pub id: InviteId,
    pub role: Role,
    pub max_uses: Option<i32>,
    pub uses: i32,
    pub expires_at: Option<DateTime<Utc>>,
    pub created_at: DateTime<Utc>,
    pub revoked_at: Option<DateTime<Utc>>,
}

/// An invite that is about to be made.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the table's, see migrations")]
pub struct NewInvite {
    pub token_sha256: [u8; 32],
    pub role: Role,
    pub max_uses: Option<i32>,
    pub expires_in: Option<Duration>,
    pub created_by: Option<UserId>,
}
