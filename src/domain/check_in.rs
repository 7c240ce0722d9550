//! A check-in: a person is here for the next hour.

use super::words::words;

words! {
    /// Whether somebody is still here, as far as that was said.
    CheckInStatus {
        /// Nobody checked out.
        Active = "active",
        /// Checked out.
        Inactive = "inactive",
    }
}
