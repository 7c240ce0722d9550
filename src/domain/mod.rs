//! The values of lastseen and their rules: plain Rust without SQL, JSON or settings.
//!
//! `store/codec` gives ids and words their form in SQL, `protocol/values` theirs in JSON and in the document
//! of the HTTP interface. Both go over the lists below, so a new id or word is added to them once.

pub mod admission;
pub mod check_in;
pub mod document;
pub mod idle;
pub mod ids;
pub mod invite;
pub mod participant;
pub mod partnership;
pub mod reading_session;
pub mod role;
pub mod simulator;
pub mod sit;
pub mod subject;
pub mod user_session;
pub(crate) mod words;

/// Hands all ids to a macro.
macro_rules! every_id {
    ($then:ident) => {
        $then! {
            $crate::domain::ids::SessionId,
            $crate::domain::ids::ParticipantId,
            $crate::domain::ids::ConnectionId,
            $crate::domain::ids::InviteId,
            $crate::domain::ids::UserId,
            $crate::domain::ids::UserSessionId,
            $crate::domain::ids::CheckInId,
            $crate::domain::ids::PartnershipId,
            $crate::domain::ids::SitId,
            $crate::domain::ids::RoomSitId,
            $crate::domain::ids::SimulatorId,
        }
    };
}

/// Hands all closed sets of words to a macro.
macro_rules! every_word {
    ($then:ident) => {
        $then! {
            $crate::domain::idle::IdleCounts,
            $crate::domain::role::Role,
            $crate::domain::participant::Status,
            $crate::domain::participant::Quality,
            $crate::domain::participant::LeaveReason,
            $crate::domain::reading_session::CloseReason,
            $crate::domain::user_session::Platform,
            $crate::domain::user_session::UserSessionStatus,
            $crate::domain::user_session::EndReason,
            $crate::domain::user_session::OpenVerdict,
            $crate::domain::participant::StaleCause,
            $crate::domain::admission::AdmissionVerdict,
            $crate::domain::invite::InviteFault,
            $crate::domain::invite::InspectionVerdict,
            $crate::domain::check_in::CheckInStatus,
            $crate::domain::sit::SitStatus,
            $crate::domain::simulator::SimulatorStatus,
            $crate::domain::simulator::LauncherKind,
            $crate::domain::simulator::MakeVerdict,
        }
    };
}

pub(crate) use {every_id, every_word};
