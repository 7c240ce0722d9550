//! The codes of refusals: the one table behind error frames, close codes and HTTP errors.

use axum::http::StatusCode;

/// Defines the codes, and the list of all codes, so that none is missing in the document.
macro_rules! codes {
    ($(#[$meta:meta])* pub enum $name:ident { $($variant:ident),+ $(,)? }) => {
        $(#[$meta])*
        pub enum $name { $($variant),+ }

        impl $name {
            /// Every one of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];
        }
    };
}

codes! {
/// Why a request is refused or a connection closed: the table of docs/reference/PROTOCOL.md, section 2, and the HTTP errors
/// of section 5.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[expect(missing_docs, reason = "each is the code of the same name; see `Code::row`")]
pub enum Code {
    Internal,
    Draining,
    Unavailable,
    TokenExpired,
    BeatTimeout,
    SlowConsumer,
    RateLimited,
    BadFrame,
    Unauthenticated,
    Forbidden,
    SessionNotFound,
    InviteNotFound,
    SessionFull,
    InviteExpired,
    SessionClosed,
    Removed,
    InvalidRequest,
    OriginNotAllowed,
    AtCapacity,
    NotFound,
    ParticipantNotFound,
    UserSessionNotFound,
    SessionIdTaken,
    SessionEnded,
    CheckInNotFound,
    AlreadyCheckedOut,
    PartnershipNotFound,
    SitNotFound,
    AlreadyCompleted,
    TooEarly,
    Conflict,
    MethodNotAllowed,
    PayloadTooLarge,
    BadRequest,
    UpgradeRequired,
    SimulatorExists,
    SimulatorStopped,
    SimulatorsNotConfigured,
    RequestTimeout,
}
}

struct Row {
    code: &'static str,
    close: Option<u16>,
    http: StatusCode,
    message: &'static str,
}

impl Code {
    const fn row(self) -> Row {
        let (code, close, http, message) = match self {
            Self::Internal => ("internal", 1011, 500, "Something went wrong in the server. Try again."),
            Self::Draining => ("draining", 1012, 503, "The server is being restarted. Come back in a moment."),
            Self::Unavailable => {
                ("unavailable", 1013, 503, "The server cannot do this just now. Try again in a moment.")
            }
            Self::TokenExpired => ("token_expired", 4001, 401, "The token has expired. Get a fresh one and come back."),
            Self::BeatTimeout => ("beat_timeout", 4008, 408, "Nothing was heard from this connection for too long."),
            Self::SlowConsumer => ("slow_consumer", 4020, 408, "This connection took no data for too long."),
            Self::RateLimited => ("rate_limited", 4029, 429, "Too many requests. Slow down."),
            Self::BadFrame => ("bad_frame", 4500, 400, "The frame could not be understood."),
            Self::Unauthenticated => ("unauthenticated", 4501, 401, "A valid token is needed."),
            Self::Forbidden => ("forbidden", 4503, 403, "This is not open to you."),
            Self::SessionNotFound => ("session_not_found", 4504, 404, "Session not found or inactive"),
            Self::InviteNotFound => ("invite_not_found", 4504, 404, "There is no such invitation link."),
            Self::SessionFull => ("session_full", 4509, 409, "This session is full."),
            Self::InviteExpired => ("invite_expired", 4510, 410, "This invitation link has expired."),
            Self::SessionClosed => ("session_closed", 4511, 410, "This session is closed."),
            Self::Removed => ("removed", 4512, 403, "You were removed from this session."),
            Self::InvalidRequest => ("invalid_request", 4522, 422, "Something in the request cannot be used."),
            Self::OriginNotAllowed => ("origin_not_allowed", 0, 403, "Pages of this origin may not use this server."),
            Self::AtCapacity => {
                ("at_capacity", 0, 503, "The server holds as many connections as it may. Try again later.")
            }
            Self::NotFound => ("not_found", 0, 404, "There is nothing here."),
            Self::ParticipantNotFound => ("not_found", 0, 404, "There is no such participant in this session."),
            Self::UserSessionNotFound => ("session_not_found", 0, 404, "There is no such user session."),
            Self::SessionIdTaken => {
                ("session_id_taken", 0, 409, "This session_id belongs to another user session. Make a new one.")
            }
            Self::SessionEnded => ("session_ended", 0, 409, "This user session has ended. Start a new one."),
            Self::CheckInNotFound => ("not_found", 0, 404, "There is no such check-in."),
            Self::AlreadyCheckedOut => ("already_checked_out", 0, 409, "This check-in was checked out before."),
            Self::PartnershipNotFound => ("not_found", 0, 404, "There is no such partnership."),
            Self::SitNotFound => ("sit_not_found", 0, 404, "There is no such sit."),
            Self::AlreadyCompleted => ("already_completed", 0, 409, "This sit is over: it was completed before."),
            Self::TooEarly => {
                ("too_early", 0, 409, "This sit is not over yet. Say \"early\": true to complete it before its time.")
            }
            Self::Conflict => ("conflict", 0, 409, "This cannot be done beside what is there already."),
            Self::MethodNotAllowed => ("method_not_allowed", 0, 405, "This method does not work here."),
            Self::PayloadTooLarge => ("payload_too_large", 0, 413, "The request is too large."),
            Self::BadRequest => ("invalid_request", 0, 400, "The request could not be understood."),
            Self::SimulatorExists => ("simulator_exists", 0, 409, "This session has a simulator already."),
            Self::SimulatorStopped => ("simulator_stopped", 0, 409, "This simulator is over, or is being stopped."),
            Self::SimulatorsNotConfigured => {
                ("simulators_not_configured", 0, 503, "This server launches no simulators.")
            }
            Self::UpgradeRequired => ("invalid_request", 0, 426, "Only WebSockets are served here."),
            Self::RequestTimeout => ("invalid_request", 0, 408, "The request took too long. Try again."),
        };
        let http = match StatusCode::from_u16(http) {
            Ok(status) => status,
            Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Row { code, close: if close == 0 { None } else { Some(close) }, http, message }
    }

    /// The word in error frames, HTTP errors and metrics.
    pub const fn as_str(self) -> &'static str {
        self.row().code
    }

    /// The WebSocket close code; `None` for a code that is sent over HTTP only.
    pub const fn close_code(self) -> Option<u16> {
        self.row().close
    }

    /// The HTTP status.
    pub const fn status(self) -> StatusCode {
        self.row().http
    }

    /// The message where the refusal has none of its own.
    pub const fn message(self) -> &'static str {
        self.row().message
    }

    /// Whether the client should come back by itself.
    pub const fn retry(self) -> bool {
        match self.row().close {
            Some(close) => reconnects(close),
            None => matches!(self, Self::AtCapacity),
        }
    }
}

/// Whether a client reconnects after this close code: below 4500, except for those after which the next attempt
/// would end the same way.
pub const fn reconnects(close_code: u16) -> bool {
    close_code < 4500 && !matches!(close_code, 1000 | 1002 | 1003 | 1007 | 1009)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_to_come_back_has_a_code_that_says_so() {
        for code in [
            Code::Internal,
            Code::Draining,
            Code::Unavailable,
            Code::TokenExpired,
            Code::BeatTimeout,
            Code::RateLimited,
        ] {
            assert!(code.retry(), "{code:?}");
        }
        for code in [Code::Unauthenticated, Code::SessionClosed, Code::Removed, Code::SessionFull, Code::InvalidRequest]
        {
            assert!(!code.retry(), "{code:?}");
        }
        for close_code in [1000, 1002, 1003, 1007, 1009, 4500, 4999] {
            assert!(!reconnects(close_code), "{close_code}");
        }
    }
}
