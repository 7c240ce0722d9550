//! The roles of JWTs.

use std::str::FromStr;

/// The role of a token that is nobody's.
pub(super) const ANONYMOUS: &str = "anon";

/// The role that a JWT gives to its holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JwtRole {
    /// A user of the embedding application.
    Authenticated,
    /// The embedding application itself, which has all rights.
    Service,
}

impl JwtRole {
    /// The value of the claim `role`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authenticated => "authenticated",
            Self::Service => "service_role",
        }
    }
}

/// A role that this server has no meaning for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the role must be `authenticated` or `service_role`")]
pub struct UnknownRole;

impl FromStr for JwtRole {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, UnknownRole> {
        [Self::Authenticated, Self::Service].into_iter().find(|role| role.as_str() == text).ok_or(UnknownRole)
    }
}
