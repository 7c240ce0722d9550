//! One of everything that belongs to a user, made through the server: for tests that walk all calls.

use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::document::Operation;
use super::rest::{Opened, service, user};
use super::{Client, Join, TestServer};

/// A user and what is theirs.
pub struct Things {
    pub user: Uuid,
    pub token: String,
    pub session: Opened,
    pub guest: Client,
    /// A participant whom the host has removed.
    pub removed: Uuid,
    /// A second invite, so that the first one stays.
    pub spare_invite: Uuid,
    /// The name that a client made for a user session.
    pub user_session: String,
    pub check_in: Uuid,
    pub partnership: Uuid,
    pub sit: Uuid,
    pub simulator: Uuid,
}

fn id(thing: &Value) -> Uuid {
    thing["id"].as_str().unwrap_or_else(|| panic!("{thing} has an id")).parse().expect("a UUID")
}

impl Things {
    /// A new user with one of everything.
    pub async fn of(server: &TestServer, name: &str) -> Self {
        let user_id = Uuid::now_v7();
        let token = user(user_id, name);
        let make = async |path: &str, body: Value| server.post(path, Some(&token), body).await.made();
        let session = server.open_as(Some(&token), json!({"title": format!("{name}'s book")})).await;
        let guest = Client::join(server.address(), session.id, &Join::invite(&session.invite, "Gus")).await;
        let spare_invite = id(&make(&format!("/v1/reading-sessions/{}/invites", session.id), json!({})).await);
        let user_session = format!("{name}-{user_id}");
        make("/v1/user-sessions", json!({"session_id": user_session, "platform": "web"})).await;
        let check_in = id(&make("/v1/check-ins", json!({})).await);
        let members = json!({"user_ids": [user_id, Uuid::now_v7()]});
        let partnership = id(&server.post("/v1/partnerships", Some(&service()), members).await.expect(201));
        let sit = id(&make("/v1/sits", json!({"sit_length_seconds": 600, "partnership_id": partnership})).await);
        let things = Self {
            user: user_id,
            token,
            session,
            guest,
            removed: Uuid::now_v7(),
            spare_invite,
            user_session,
            check_in,
            partnership,
            sit,
            simulator: Uuid::now_v7(),
        };
        things.make_the_rest(server).await;
        things
    }

    /// Makes what no call makes: a sit of the room, and a simulator, which nothing
    /// launches here. And a participant who was removed.
    async fn make_the_rest(&self, server: &TestServer) {
        let statements = format!(
            "INSERT INTO room_sits (session_id, sit_length_seconds, ends_at, node) VALUES ('{}', 600, now() + interval '10 minutes', 'nobody');
             INSERT INTO simulators (id, user_session_id, user_id, node, launcher)
             SELECT '{}', id, user_id, 'nobody', 'process' FROM user_sessions WHERE session_id = '{}';
             INSERT INTO session_participants (id, session_id, name, left_at, leave_reason)
             VALUES ('{}', '{}', 'Rae', now(), 'removed');",
            self.session.id, self.simulator, self.user_session, self.removed, self.session.id
        );
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&server.database.pool).await.expect("the rest");
    }

    /// A path of the document with this user's things in it.
    ///
    /// # Panics
    /// For an unknown path: a new one has to be added here, with the thing that is in it.
    pub fn path(&self, template: &str) -> String {
        let mut path = template.to_owned();
        for (collection, parameter, value) in [
            ("/v1/reading-sessions/{id}/participants/{pid}/readmit", "{pid}", self.removed.to_string()),
            ("/v1/reading-sessions/{id}/participants/{pid}", "{pid}", self.guest.id().to_string()),
            ("/v1/reading-sessions/{id}/invites/{invite_id}", "{invite_id}", self.spare_invite.to_string()),
            ("/v1/reading-sessions/{id}", "{id}", self.session.id.to_string()),
            ("/v1/invites/{token}", "{token}", self.session.invite.clone()),
            ("/v1/user-sessions/{session_id}", "{session_id}", self.user_session.clone()),
            ("/v1/check-ins/{id}", "{id}", self.check_in.to_string()),
            ("/v1/partnerships/{id}", "{id}", self.partnership.to_string()),
            ("/v1/sits/{id}", "{id}", self.sit.to_string()),
            ("/v1/simulators/{id}", "{id}", self.simulator.to_string()),
            ("/v1/users/{user}", "{user}", self.user.to_string()),
        ] {
            if template.starts_with(collection) {
                path = path.replace(parameter, &value);
            }
        }
        assert!(!path.contains('{'), "{template}: add to harness/things.rs what this path names");
        path
    }

    /// The query that a call needs.
    ///
    /// # Panics
    /// For an unknown key.
    pub fn query(&self, operation: &Operation<'_>) -> String {
        let parameters = operation.said["parameters"].as_array().into_iter().flatten();
        let needed = parameters.filter(|parameter| parameter["in"] == "query" && parameter["required"] == true);
        let pairs: Vec<_> = needed
            .map(|parameter| match parameter["name"].as_str() {
                Some("partnership_id") => format!("partnership_id={}", self.partnership),
                other => panic!("{}: add to harness/things.rs what {other:?} is", operation.name()),
            })
            .collect();
        if pairs.is_empty() { String::new() } else { format!("?{}", pairs.join("&")) }
    }

    /// The body of a call with this user's things where it names any.
    pub fn body(&self, mut body: Value) -> Value {
        for (key, value) in
            [("partnership_id", json!(self.partnership)), ("user_ids", json!([self.user, Uuid::now_v7()]))]
        {
            if let Some(named) = body.get_mut(key) {
                *named = value;
            }
        }
        body
    }

    /// Texts that are only in answers about this user, and in rows of this user.
    pub fn marks(&self) -> Vec<String> {
        let ids = [
            self.user,
            self.session.id,
            self.guest.id(),
            self.spare_invite,
            self.check_in,
            self.partnership,
            self.sit,
            self.simulator,
        ];
        ids.iter().map(Uuid::to_string).collect()
    }
}
