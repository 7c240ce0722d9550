//! Tokens that this program makes itself.

use std::time::Duration;

use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, get_current_timestamp};

use super::claims::{ClaimSet, TokenRules};
use super::role::JwtRole;
use crate::domain::subject::Subject;

/// Makes a token signed with a shared secret (HS256), valid for `ttl` from now, in whole seconds.
pub fn issue(
    secret: &[u8],
    subject: Option<&Subject>,
    name: Option<&str>,
    role: JwtRole,
    audience: Option<&str>,
    ttl: Duration,
) -> String {
    let rules = TokenRules { audiences: audience.into_iter().map(str::to_owned).collect(), ..TokenRules::default() };
    issue_by(&rules, secret, subject, name, role, ttl)
}

/// The same for a server with these rules: with the first issuer and audience, and each claim where it looks for it.
pub fn issue_by(
    rules: &TokenRules,
    secret: &[u8],
    subject: Option<&Subject>,
    name: Option<&str>,
    role: JwtRole,
    ttl: Duration,
) -> String {
    let (now, mut claims) = (get_current_timestamp(), ClaimSet::new());
    for (key, value) in [("iss", rules.issuers.first()), ("aud", rules.audiences.first())] {
        if let Some(value) = value {
            claims.insert(key.to_owned(), value.as_str().into());
        }
    }
    claims.insert("iat".to_owned(), now.into());
    claims.insert("exp".to_owned(), now.saturating_add(ttl.as_secs()).into());
    rules.role.set(&mut claims, role.as_str());
    if let (Some(claim), Some(name)) = (rules.names.first(), name) {
        claim.set(&mut claims, name);
    }
    if let Some(subject) = subject {
        rules.subject.set(&mut claims, subject.to_string());
    }
    encode(&Header::new(Algorithm::HS256), &claims, &EncodingKey::from_secret(secret))
        .expect("plain claims become JSON, and HS256 takes any secret")
}
