//! `/v1/users/{user}`: all that is kept of one user, for the service: to hand it over, and to delete it.

use axum::Json;
use axum::extract::{FromRef, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::access::Sessions;
use super::extract::Ids;
use crate::app::App;
use crate::domain::ids::{SessionId, UserId};
use crate::domain::subject::Subject;
use crate::identity::Caller;
use crate::protocol::v1::Timestamp;
use crate::protocol::{Code, Refusal};
use crate::room::Applicant;
use crate::store::users::{Erased, ErasedCounts};
use crate::store::{Store, Viewer};

/// The largest export, in bytes: it is in memory as a whole.
const MAX_EXPORT_BYTES: i32 = 16 * 1024 * 1024;

/// How many rows were deleted, by system, and what stays for others without the user.
#[derive(Serialize, ToSchema)]
#[schema(example = json!({
    "participants": 12, "user_sessions": 3, "check_ins": 8, "sits": 40, "partnership_memberships": 1,
    "partnerships": 0, "simulators": 2, "simulators_stopping": 1, "sessions_hosted": 4, "invites_created": 5,
}))]
pub struct Erasure {
    participants: i64,
    user_sessions: i64,
    check_ins: i64,
    sits: i64,
    partnership_memberships: i64,
    /// Those in which nobody is left, and nothing was sat by others.
    partnerships: i64,
    /// Those that were over.
    simulators: i64,
    /// Those that were live: their servers stop them, and their rows and user sessions are deleted then.
    simulators_stopping: i64,
    /// Reading sessions that stay, without a host.
    sessions_hosted: i64,
    /// Invites that stay, without who made them.
    invites_created: i64,
}

impl From<ErasedCounts> for Erasure {
    fn from(counts: ErasedCounts) -> Self {
        Self {
            participants: counts.participants,
            user_sessions: counts.user_sessions,
            check_ins: counts.check_ins,
            sits: counts.sits,
            partnership_memberships: counts.partnership_memberships,
            partnerships: counts.partnerships,
            simulators: counts.simulators,
            simulators_stopping: counts.simulators_stopping,
            sessions_hosted: counts.sessions_hosted,
            invites_created: counts.invites_created,
        }
    }
}

/// Deletes all that is kept of a user, in all systems. The user's connections end with 4512; whoever still has a good
/// token may come back as somebody new. For the service.
#[utoipa::path(
    delete, path = "/v1/users/{user}", tag = "users",
    params(("user" = Subject, Path, description = "The user")),
    responses((status = OK, description = "Nothing is left, or nothing was there", body = Erasure)),
)]
pub async fn erase(State(app): State<App>, caller: Caller, Ids(user): Ids<Subject>) -> Result<Json<Erasure>, Refusal> {
    caller.service()?;
    let user = user.id();
    let erased = {
        // What was read before the rows are gone, and is written after it, would be there again.
        let _recording = app.sits.pause().await;
        let _flushing = app.flusher.pause().await;
        let erased = app.store.erase_user(user).await?;
        end_presence(&app, user, &erased);
        app.sits.forget_user(user);
        app.user_sessions.forget_user(user);
        erased
    };
    app.supervisor.wake();
    for session in &erased.hosted {
        show_without_host(&app, *session).await?;
    }
    tracing::info!(rows = ?erased.counts, "a user was erased");
    Ok(Json(erased.counts.into()))
}

/// Ends the connections and event streams of a user who is erased.
fn end_presence(app: &App, user: UserId, erased: &Erased) {
    for (session, participant) in &erased.participants {
        if let Some(room) = app.registry.find(*session) {
            room.remove(*participant);
        }
    }
    // Whoever came in at this moment.
    for room in app.registry.rooms() {
        if let Some((_, entrant)) = room.recall(Applicant::User(user)) {
            room.remove(entrant.id);
        }
    }
}

/// Shows the people of a session that it has no host any more.
async fn show_without_host(app: &App, id: SessionId) -> Result<(), Refusal> {
    if let Some(room) = app.registry.find(id)
        && let Some((session, _)) = app.store.session(Viewer::Service, id).await?
    {
        room.revise(Sessions::from_ref(app).with_live_signs(session));
    }
    Ok(())
}

/// All that is kept of a user: rows by system, as they are in the database, without hashes of tokens and other people.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the database makes the document; this describes it")]
#[schema(example = json!({
    "user_id": "6f1c2d3e-0000-4000-8000-000000000001", "exported_at": "2026-11-21T09:30:00.123456+00:00",
    "reading_sessions": [], "participants": [], "invites": [], "room_sits": [], "user_sessions": [],
    "check_ins": [{
        "id": "0193a1b2-0000-7000-8000-000000000005", "name": "Ada", "status": "active",
        "checked_in_at": "2026-11-21T09:30:00.123456+00:00", "expires_at": "2026-11-21T10:30:00.123456+00:00",
        "checked_out_at": null, "created_at": "2026-11-21T09:30:00.123456+00:00", "extended_at": null,
        "extension_count": 0,
    }],
    "sits": [], "partnerships": [], "simulators": [],
}))]
pub struct UserExport {
    user_id: Subject,
    exported_at: Timestamp,
    /// Those that the user hosts.
    #[schema(value_type = Vec<Object>)]
    reading_sessions: Vec<Value>,
    #[schema(value_type = Vec<Object>)]
    participants: Vec<Value>,
    /// Those that the user made.
    #[schema(value_type = Vec<Object>)]
    invites: Vec<Value>,
    /// Those that the user started.
    #[schema(value_type = Vec<Object>)]
    room_sits: Vec<Value>,
    #[schema(value_type = Vec<Object>)]
    user_sessions: Vec<Value>,
    #[schema(value_type = Vec<Object>)]
    check_ins: Vec<Value>,
    #[schema(value_type = Vec<Object>)]
    sits: Vec<Value>,
    #[schema(value_type = Vec<Object>)]
    partnerships: Vec<Value>,
    #[schema(value_type = Vec<Object>)]
    simulators: Vec<Value>,
}

/// All that is kept of a user, in all systems, as one document of at most 16 MiB. For the service.
#[utoipa::path(
    get, path = "/v1/users/{user}/export", tag = "users",
    params(("user" = Subject, Path, description = "The user")),
    responses(
        (status = OK, description = "With empty lists where nothing is kept", body = UserExport),
        (status = PAYLOAD_TOO_LARGE, description = "`payload_too_large`: call `export_user()` in SQL"),
    ),
)]
pub async fn export(State(store): State<Store>, caller: Caller, Ids(user): Ids<Subject>) -> Result<Response, Refusal> {
    caller.service()?;
    let document = store.export_user(user.id(), MAX_EXPORT_BYTES).await?.ok_or_else(|| {
        let message = "This export has more than 16 MiB: get it from the database, by export_user().";
        Refusal::new(Code::PayloadTooLarge, message)
    })?;
    Ok(([(header::CONTENT_TYPE, "application/json")], document).into_response())
}
