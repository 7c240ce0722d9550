//! What the claims of a token mean, where its signature is good.

use serde_json::{Map, Value};

use super::fault::TokenFault;
use super::role::{ANONYMOUS, JwtRole};
use crate::domain::subject::Subject;
use crate::protocol::name::display_name;

/// The accepted difference of the issuer's clock, in seconds.
pub const LEEWAY_SECONDS: u32 = 30;

/// Where issuers write the display name, in the order of preference.
const NAMES: [&str; 5] =
    ["name", "user_metadata.full_name", "user_metadata.name", "preferred_username", "cognito:username"];

/// All claims of a token.
pub(super) type ClaimSet = Map<String, Value>;

/// Where a claim is: its name, or a path of names with dots between them.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Claim(String);

impl Claim {
    /// The claim of this name or path.
    pub fn new(name: impl Into<String>) -> Self {
        Self(name.into())
    }

    fn of<'a>(&self, claims: &'a ClaimSet) -> Option<&'a Value> {
        find(claims, &self.0)
    }

    fn text<'a>(&self, claims: &'a ClaimSet) -> Option<&'a str> {
        self.of(claims)?.as_str()
    }

    /// Whether the claim is this value, or a list that holds it. The words of a scope are a list (RFC 8693,
    /// section 4.2).
    fn holds(&self, claims: &ClaimSet, value: &str) -> bool {
        let is_scope = matches!(self.0.as_str(), "scope" | "scp");
        self.of(claims).is_some_and(|claim| match claim {
            Value::String(text) if is_scope => text.split(' ').any(|word| word == value),
            Value::Bool(flag) => flag.to_string() == value,
            claim => is_or_holds(claim, value),
        })
    }

    /// Writes the claim to where [`Claim::of`] finds it first.
    pub(super) fn set(&self, claims: &mut ClaimSet, value: impl Into<Value>) {
        claims.insert(self.0.clone(), value.into());
    }
}

/// A claim by its name, also one that has dots in it, like `https://app.example/role`; else by the path.
fn find<'a>(claims: &'a ClaimSet, path: &str) -> Option<&'a Value> {
    let deeper =
        || path.match_indices('.').find_map(|(dot, _)| find(claims.get(&path[..dot])?.as_object()?, &path[dot + 1..]));
    claims.get(path).or_else(deeper).filter(|value| !value.is_null())
}

fn is_or_holds(claim: &Value, text: &str) -> bool {
    match claim {
        Value::Array(items) => items.iter().any(|item| item == text),
        claim => claim == text,
    }
}

/// The claims of a valid token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The user. A user's token always has one, a service's may have one.
    pub subject: Option<Subject>,
    /// What the holder may do.
    pub role: JwtRole,
    /// The user's display name, trimmed; `None` where the token has no valid one.
    pub name: Option<String>,
    /// When the token expires, in seconds since 1970, without leeway.
    pub expires_at: i64,
}

/// What the tokens of one issuer must say, and where they say what. By default they are of this server's own form.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TokenRules {
    /// Every token is of one of these. Where there are none, any issuer's is accepted.
    pub issuers: Vec<String>,
    /// Every token is for one of these. Where there are none, one for anybody is accepted.
    pub audiences: Vec<String>,
    /// Whether a token that is for nobody in particular is accepted beside those for the audiences.
    pub audience_optional: bool,
    /// The user's id.
    pub subject: Claim,
    /// The role, or a list of roles.
    pub role: Claim,
    /// The display name: the first of these that can be one.
    pub names: Vec<Claim>,
    /// The claim, and its value, that gives the rights of the service. Without it no token has them.
    pub service: Option<(Claim, String)>,
}

impl Default for TokenRules {
    fn default() -> Self {
        let role = Claim::new("role");
        Self {
            issuers: Vec::new(),
            audiences: Vec::new(),
            audience_optional: false,
            subject: Claim::new("sub"),
            names: NAMES.map(Claim::new).into(),
            service: Some((role.clone(), JwtRole::Service.as_str().to_owned())),
            role,
        }
    }
}

impl TokenRules {
    /// What the claims say at this time, in seconds since 1970.
    ///
    /// The expiry comes last: on `token_expired` a client fetches a fresh token and reconnects, which would be
    /// in vain if anything else was wrong.
    pub(super) fn check(&self, claims: &ClaimSet, now: i64) -> Result<Claims, TokenFault> {
        let is_early = match claims.get("nbf").filter(|value| !value.is_null()) {
            Some(from) => seconds(from).is_none_or(|from| from > now + i64::from(LEEWAY_SECONDS)),
            None => false,
        };
        if is_early {
            return Err(TokenFault::NotYetValid);
        }
        if !self.is_of_issuer(claims) {
            return Err(TokenFault::WrongIssuer);
        }
        if !self.is_for_audience(claims) {
            return Err(TokenFault::WrongAudience);
        }
        let role = self.role_of(claims)?;
        let subject = self.subject.text(claims).and_then(|subject| subject.parse::<Subject>().ok());
        if role == JwtRole::Authenticated && subject.is_none() {
            return Err(TokenFault::NoSubject);
        }
        let name = self.names.iter().find_map(|name| display_name(name.text(claims)?).ok());
        let expires_at = claims.get("exp").and_then(seconds).ok_or(TokenFault::NoExpiry)?;
        if expires_at.saturating_add(LEEWAY_SECONDS.into()) <= now {
            return Err(TokenFault::Expired);
        }
        Ok(Claims { subject, role, name, expires_at })
    }

    /// A slash at the end makes no other issuer: some write one and some do not.
    fn is_of_issuer(&self, claims: &ClaimSet) -> bool {
        let bare = |issuer: &str| issuer.trim_end_matches('/').to_owned();
        let issuer = claims.get("iss").and_then(Value::as_str).map(bare);
        self.issuers.is_empty() || issuer.is_some_and(|issuer| self.issuers.iter().any(|known| bare(known) == issuer))
    }

    /// Issuers that write no `aud` name the client that the token was made for.
    fn is_for_audience(&self, claims: &ClaimSet) -> bool {
        let is_named = |claim: &Value| self.audiences.iter().any(|audience| is_or_holds(claim, audience));
        if self.audiences.is_empty() {
            return true;
        }
        match claims.get("aud").filter(|value| !value.is_null()) {
            Some(audience) => is_named(audience),
            None => {
                self.audience_optional || ["azp", "client_id"].iter().filter_map(|key| claims.get(*key)).any(is_named)
            }
        }
    }

    /// A role of the app's own means nothing here: its token is a user's, like one without a role.
    fn role_of(&self, claims: &ClaimSet) -> Result<JwtRole, TokenFault> {
        let has = |role| self.role.holds(claims, role);
        if self.service.as_ref().is_some_and(|(claim, value)| claim.holds(claims, value)) {
            Ok(JwtRole::Service)
        } else if has(JwtRole::Service.as_str()) {
            Err(TokenFault::NoServiceRights)
        } else if has(ANONYMOUS) && !has(JwtRole::Authenticated.as_str()) {
            Err(TokenFault::AnonymousRole)
        } else {
            Ok(JwtRole::Authenticated)
        }
    }
}

/// A time in seconds since 1970. RFC 7519 allows times with fractions. The cast truncates, and saturates at the last
/// second.
fn seconds(time: &Value) -> Option<i64> {
    time.as_f64().map(|seconds| seconds as i64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(claims: &Value) -> &ClaimSet {
        claims.as_object().unwrap()
    }

    #[test]
    fn a_claim_is_found_by_its_name_or_by_a_path() {
        let claims = json!({
            "role": "top",
            "a.b": "literal",
            "a": {"b": "path", "c": {"d": "deep"}, "e.f": "dotted"},
            "https://app.example/role": "url",
            "https://app.example/claims": {"role": "in url"},
            "resource_access": {"my.client": {"roles": ["x"]}},
            "nothing": null,
            "text": "no object",
        });
        for (path, found) in [
            ("role", Some(json!("top"))),
            ("a.b", Some(json!("literal"))),
            ("a.c.d", Some(json!("deep"))),
            ("a.e.f", Some(json!("dotted"))),
            ("https://app.example/role", Some(json!("url"))),
            ("https://app.example/claims.role", Some(json!("in url"))),
            ("resource_access.my.client.roles", Some(json!(["x"]))),
            ("nothing", None),
            ("text.more", None),
            ("a.c.d.e", None),
            ("a..c", None),
            (".", None),
            ("a.", None),
            ("missing", None),
        ] {
            assert_eq!(Claim::new(path).of(set(&claims)), found.as_ref(), "{path}");
        }
    }

    #[test]
    fn a_claim_holds_a_value_that_it_is_or_lists() {
        let claims = json!({
            "text": "admin", "list": ["user", "admin", 7], "flag": true, "number": 7, "words": "user admin",
            "scope": "openid admin", "object": {"admin": "admin"},
        });
        let holds = |claim: &str, value| Claim::new(claim).holds(set(&claims), value);
        assert!(holds("text", "admin") && holds("list", "admin") && holds("scope", "admin") && holds("flag", "true"));
        for claim in ["number", "words", "object", "missing"] {
            assert!(!holds(claim, "admin"), "{claim}");
        }
        for (claim, value) in
            [("text", "Admin"), ("text", ""), ("list", "adm"), ("list", "7"), ("number", "7"), ("flag", "false")]
        {
            assert!(!holds(claim, value), "{claim} {value}");
        }
    }

    #[test]
    fn what_is_set_is_found() {
        for path in ["role", "realm_access.roles", "https://app.example/role"] {
            let (claim, mut claims) = (Claim::new(path), json!({"realm_access": {"roles": []}}));
            claim.set(claims.as_object_mut().unwrap(), "x");
            assert!(claim.holds(set(&claims), "x"), "{path}");
        }
    }
}
