//! A sit: a timed sitting of one person.

use super::words::words;

words! {
    /// What became of a sit.
    SitStatus {
        /// Not completed yet.
        Open = "open",
        /// Completed.
        Completed = "completed",
        /// Nobody completed it within its length and the grace.
        Abandoned = "abandoned",
    }
}
