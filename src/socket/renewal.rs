//! A fresh JWT on a connection that was let in by one: the connection then ends when the fresh one expires.
//!
//! To check a token may take a question to its issuer for keys. The task of the connection waits for it and reads no
//! further frame meanwhile, so that a client has one check at a time, and as many as its pace allows.

use super::inbound::{Inbound, MAX_TOKEN_BYTES};
use crate::app::App;
use crate::clock::Moment;
use crate::domain::ids::UserId;
use crate::identity::{Caller, jwt};
use crate::protocol::v1::{self, Secret};
use crate::protocol::{Code, Refusal};
use crate::room::Text;

/// Whom the JWT of a connection stands for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Holder {
    /// A user.
    User(UserId),
    /// The service.
    Service,
}

/// A frame `token` that is to be answered.
#[derive(Debug)]
pub struct Renewal {
    /// The `ref` of the frame.
    pub reference: Option<u64>,
    /// The fresh JWT.
    pub token: Secret,
}

impl Renewal {
    /// Checks the token and moves the end of the connection. A token that is not good changes nothing. The frame that
    /// is the answer.
    pub async fn answer(self, app: &App, holder: Option<Holder>, inbound: &mut Inbound) -> Text {
        match self.check(app, holder.filter(|_| inbound.expires_at().is_some())).await {
            Ok(deadline) => {
                inbound.renew(deadline);
                app.frames.token(self.reference, jwt::expiry(deadline))
            }
            Err(refusal) => {
                app.metrics.refusals(refusal.code.as_str()).inc();
                v1::error(&refusal, self.reference)
            }
        }
    }

    /// When a connection of this holder ends by the token.
    async fn check(&self, app: &App, holder: Option<Holder>) -> Result<Moment, Refusal> {
        let Some(holder) = holder else {
            return Err(Refusal::new(Code::Forbidden, "This connection was not let in by a JWT, and needs none."));
        };
        if self.token.as_str().len() > MAX_TOKEN_BYTES {
            return Err(Refusal::new(Code::PayloadTooLarge, "The token must not be larger than 16 KiB."));
        }
        let (shown, expires_at) = match app.admissions.keys().caller(Some(self.token.as_str())).await? {
            Caller::User { subject, expires_at, .. } => (Some(Holder::User(subject.id())), expires_at),
            Caller::Service { expires_at } => (Some(Holder::Service), expires_at),
            Caller::Guest(_) | Caller::Anonymous => (None, 0),
        };
        if shown != Some(holder) {
            let message = "The token is not of the one whom this connection was let in for.";
            return Err(Refusal::new(Code::Forbidden, message));
        }
        Ok(jwt::deadline(expires_at, &app.clock))
    }
}
