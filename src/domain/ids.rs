//! Ids as types of their own, so that a session can never be taken for a participant.

use std::fmt;

use uuid::Uuid;

macro_rules! id {
    ($($(#[doc = $doc:literal])+ $name:ident;)+) => {
        $(
            $(#[doc = $doc])+
            #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
            pub struct $name(pub Uuid);

            impl $name {
                /// What it identifies, for documents.
                pub const MEANING: &'static str = concat!($($doc),+);

                /// A new id, a UUID of version 7: ids made later sort later.
                #[expect(clippy::new_without_default, reason = "a default id would be a surprise")]
                pub fn new() -> Self {
                    Self(Uuid::now_v7())
                }
            }

            impl From<Uuid> for $name {
                fn from(id: Uuid) -> Self {
                    Self(id)
                }
            }

            impl fmt::Display for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.fmt(f)
                }
            }

            impl fmt::Debug for $name {
                fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    self.0.fmt(f)
                }
            }
        )+
    };
}

id! {
    /// A reading session, and the room that is its live side.
    SessionId;
    /// One person in one reading session.
    ParticipantId;
    /// One WebSocket.
    ConnectionId;
    /// An invite to a reading session.
    InviteId;
    /// A user of the embedding application, as the database names it; what the application calls it is its subject.
    UserId;
    /// The row of a user session; clients use the `session_id` that they made.
    UserSessionId;
    /// A user's hour of being here.
    CheckInId;
    /// People who sit together.
    PartnershipId;
    /// A timed sitting.
    SitId;
    /// A sit of a room, for all people in it.
    RoomSitId;
    /// A companion instance of a user session.
    SimulatorId;
}
