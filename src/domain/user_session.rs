//! A user session: one device of one user.

use super::words::words;

words! {
    /// Where a user session runs.
    Platform {
        /// A browser.
        Web = "web",
        /// An app on iOS, as it is sold.
        IosExternal = "ios-external",
        /// An app on iOS, for those who make it.
        IosInternal = "ios-internal",
        /// A widget on iOS.
        IosWidget = "ios-widget",
        /// An app on macOS, for those who make it.
        MacosInternal = "macos-internal",
    }
}

words! {
    /// How a user session is.
    UserSessionStatus {
        /// Alive, and somebody did something lately.
        Active = "active",
        /// Alive, and nobody did anything for `idle-after`.
        Idle = "idle",
        /// The last connection was lost; it may come back until the session expires.
        Reconnecting = "reconnecting",
        /// It was ended.
        Ended = "ended",
        /// Nothing was heard of it any more.
        Timeout = "timeout",
    }
}

words! {
    /// Why a user session ended.
    EndReason {
        /// The person logged out.
        Logout = "logout",
        /// Nothing was heard of it any more.
        Timeout = "timeout",
        /// Somebody ended it.
        Manual = "manual",
        /// The app was closed.
        AppClose = "app_close",
        /// The app crashed.
        Crash = "crash",
    }
}

words! {
    /// What came of opening a session.
    OpenVerdict {
        /// It was made.
        Opened = "opened",
        /// It was there, alive.
        Continued = "continued",
        /// It is another user's, or on another platform.
        Taken = "session_id_taken",
        /// It has ended.
        Ended = "session_ended",
    }
}
