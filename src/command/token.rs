//! `lastseen token`: prints a JWT, for development.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::config::{DatabaseSettings, IdentitySettings};
use crate::domain::subject::Subject;
use crate::identity::jwt::{self, JwtRole};
use crate::server::{secret_rules, server_secret};

/// The claims of the token, and the settings of its server.
#[derive(Debug, Args)]
pub struct Arguments {
    /// The user, as your app knows it: 1 to 255 characters; the service needs none
    #[arg(long, value_name = "SUBJECT", required_unless_present = "role")]
    sub: Option<Subject>,
    /// The user's display name
    #[arg(long)]
    name: Option<String>,
    /// authenticated or service_role
    #[arg(long, default_value = "authenticated")]
    role: JwtRole,
    /// How long it is good
    #[arg(long, default_value = "1h", value_parser = humantime::parse_duration, value_name = "TIME")]
    ttl: Duration,
    #[command(flatten)]
    identity: IdentitySettings,
    #[command(flatten)]
    database: DatabaseSettings,
}

/// Prints a token that a server with the same settings accepts.
///
/// # Errors
/// Where there is no secret to sign with, or no user to sign for.
pub fn run(mut arguments: Arguments) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        arguments.identity.jwks.is_none() || arguments.identity.jwt_secret.is_some(),
        "a server with --jwks and without --jwt-secret takes tokens of its issuer only: there is no secret here to sign with"
    );
    anyhow::ensure!(
        arguments.role == JwtRole::Service || arguments.sub.is_some(),
        "--sub is needed for a user's token"
    );
    super::settle_data_dir(&mut arguments.database)?;
    let secret = server_secret(&arguments.identity, &arguments.database)?;
    let rules = secret_rules(&arguments.identity);
    let Arguments { sub, name, role, ttl, .. } = arguments;
    let token = jwt::issue_by(&rules, &secret, sub.as_ref(), name.as_deref(), role, ttl);
    super::print(&format!("{token}\n"))?;
    Ok(ExitCode::SUCCESS)
}
