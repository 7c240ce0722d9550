//! A reading session as it is stored.

use super::words::words;

words! {
    /// Why a session is closed.
    CloseReason {
        /// Its participants were not seen for the idle timeout.
        Idle = "idle",
        /// A host closed it.
        Host = "host",
        /// The service closed it.
        Admin = "admin",
        /// It reached its greatest age.
        Expired = "expired",
    }
}
