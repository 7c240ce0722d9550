//! The role of a participant, which an invite can give.

use super::words::words;

words! {
    /// What a participant may do in a session.
    Role {
        /// Opened the session, or came by an invite with this role: may rename, invite, remove, close.
        Host = "host",
        /// A regular member.
        Participant = "participant",
        /// A person without an account, or invited as one.
        Guest = "guest",
    }
}
