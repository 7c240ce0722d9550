//! Ids as types of their own, so that a session can never be taken for a participant.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, sqlx::Type,
            utoipa::ToSchema,
        )]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
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

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id! {
    /// A reading session, and the room that is its live side.
    SessionId
}
id! {
    /// One person in one reading session.
    ParticipantId
}
id! {
    /// One WebSocket.
    ConnectionId
}
id! {
    /// An invite to a reading session.
    InviteId
}
id! {
    /// A user of the embedding application: the `sub` of its JWT.
    UserId
}
id! {
    /// The row of a user session; clients know it by the `session_id` that they made.
    UserSessionId
}
id! {
    /// Somebody's hour of being here.
    CheckInId
}
id! {
    /// People who sit together.
    PartnershipId
}
id! {
    /// A timed sitting.
    SitId
}
id! {
    /// A sit of everybody in a room.
    RoomSitId
}
id! {
    /// A companion instance of a user session.
    SimulatorId
}
