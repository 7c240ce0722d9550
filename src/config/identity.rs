//! Settings of identity: which tokens are accepted, and where they say what.

use std::str::FromStr;

use clap::builder::NonEmptyStringValueParser;
use clap::{ArgAction, Args};

/// A claim, and the value that it must be or hold.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimValue {
    /// The name of the claim, or the path to it.
    pub claim: String,
    /// The value.
    pub value: String,
}

impl FromStr for ClaimValue {
    type Err = String;

    /// Reads `CLAIM=VALUE`. The first `=` divides: values have one more often than names.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once('=') {
            Some((claim, value)) if !claim.is_empty() && !value.is_empty() => {
                Ok(Self { claim: claim.to_owned(), value: value.to_owned() })
            }
            _ => Err("write it like role=service_role".to_owned()),
        }
    }
}

/// Which tokens are accepted.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Identity")]
pub struct IdentitySettings {
    /// Secret of HS256 tokens; without it and --jwks one is made in the data directory at first start
    #[arg(long, env = "LASTSEEN_JWT_SECRET", hide_env_values = true, value_name = "SECRET")]
    pub jwt_secret: Option<String>,
    /// Public keys of an identity provider: a file or an https URL, refreshed; needs --jwt-iss or --jwt-aud
    #[arg(long, env = "LASTSEEN_JWKS", value_name = "FILE|URL")]
    pub jwks: Option<String>,
    /// Read the JWKS from an http URL as well, if its host has a private address, as in a network of containers
    #[arg(long, env = "LASTSEEN_JWKS_ALLOW_HTTP", default_value = "false", num_args = 0..=1, default_missing_value = "true", require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    pub jwks_allow_http: bool,
    /// Issuer that every token must name; one of several, with commas between them
    #[arg(long, env = "LASTSEEN_JWT_ISS", value_name = "ISSUER", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    pub jwt_iss: Vec<String>,
    /// Audience that every token must name, by `aud` or else by `azp` or `client_id`; one of several, with commas between them
    #[arg(long, env = "LASTSEEN_JWT_AUD", value_name = "AUDIENCE", value_delimiter = ',', value_parser = NonEmptyStringValueParser::new())]
    pub jwt_aud: Vec<String>,
    /// Claim that is the user's id, or the path to it [default: sub]
    #[arg(long, env = "LASTSEEN_JWT_SUB_CLAIM", value_name = "CLAIM", value_parser = NonEmptyStringValueParser::new())]
    pub jwt_sub_claim: Option<String>,
    /// Claim that is the user's display name, or the path to it [default: the first that there is of name, user_metadata.full_name, user_metadata.name, preferred_username and cognito:username]
    #[arg(long, env = "LASTSEEN_JWT_NAME_CLAIM", value_name = "CLAIM", value_parser = NonEmptyStringValueParser::new())]
    pub jwt_name_claim: Option<String>,
    /// Claim that is the role or a list of roles, or the path to it [default: role]
    #[arg(long, env = "LASTSEEN_JWT_ROLE_CLAIM", value_name = "CLAIM", value_parser = NonEmptyStringValueParser::new())]
    pub jwt_role_claim: Option<String>,
    /// Tokens of the JWKS with this value in this claim have the rights of the service; without it none has
    #[arg(long, env = "LASTSEEN_JWT_SERVICE_CLAIM", value_name = "CLAIM=VALUE")]
    pub jwt_service_claim: Option<ClaimValue>,
}

impl IdentitySettings {
    /// Whether the settings make sense together.
    ///
    /// # Errors
    /// One line that names the settings which contradict each other.
    pub(super) fn validate(&self) -> Result<(), String> {
        match &self.jwks {
            Some(_) if self.jwt_iss.is_empty() && self.jwt_aud.is_empty() => Err(
                "jwks needs jwt-iss, jwt-aud or both, since others may have tokens of the same keys: set jwt-iss to the `iss` of your tokens, or jwt-aud to their `aud`"
                    .to_owned(),
            ),
            None if self.jwks_allow_http => Err("jwks-allow-http needs jwks".to_owned()),
            None if self.jwt_service_claim.is_some() => {
                Err("jwt-service-claim needs jwks: a token of jwt-secret is the service's by its role, `service_role`"
                    .to_owned())
            }
            _ => Ok(()),
        }
    }
}
