//! The keys of the server: from its settings, or from the secret in its data directory.

use std::sync::Arc;

use anyhow::Context;

use crate::config::{DatabaseSettings, IdentitySettings};
use crate::identity::jwks::JwksSource;
use crate::identity::jwt::{Claim, JwtRole, TokenRules, Verifier};
use crate::identity::resume::ResumeKey;
use crate::identity::{Keys, secret};
use crate::metrics::Metrics;

/// The secret of this server: the configured one, else the one made at first start.
///
/// # Errors
/// Where the data directory cannot be used.
pub fn server_secret(identity: &IdentitySettings, database: &DatabaseSettings) -> anyhow::Result<Vec<u8>> {
    if let Some(secret) = &identity.jwt_secret {
        anyhow::ensure!(!secret.is_empty(), "jwt-secret must not be empty");
        if secret.len() < 32 {
            tracing::warn!("jwt-secret is shorter than 32 bytes and can be guessed");
        }
        return Ok(secret.as_bytes().to_vec());
    }
    let secret = secret::load_or_create(&database.data_dir).context("the server's secret cannot be read or made")?;
    Ok(secret.as_bytes().to_vec())
}

/// What tokens of the secret must say. Beside a key set they are this server's own: the settings are about the tokens
/// of the set, and a token of the secret needs neither issuer nor audience. One that is for another audience is refused.
pub fn secret_rules(identity: &IdentitySettings) -> TokenRules {
    match identity.jwks {
        None => {
            let rules = stated_rules(identity);
            TokenRules { service: Some((rules.role.clone(), JwtRole::Service.as_str().to_owned())), ..rules }
        }
        Some(_) => TokenRules { audiences: identity.jwt_aud.clone(), audience_optional: true, ..TokenRules::default() },
    }
}

/// What tokens must say by the settings.
fn stated_rules(identity: &IdentitySettings) -> TokenRules {
    let usual = TokenRules::default();
    let claim = |name: &Option<String>| name.as_ref().map(Claim::new);
    TokenRules {
        issuers: identity.jwt_iss.clone(),
        audiences: identity.jwt_aud.clone(),
        subject: claim(&identity.jwt_sub_claim).unwrap_or(usual.subject),
        role: claim(&identity.jwt_role_claim).unwrap_or(usual.role),
        names: claim(&identity.jwt_name_claim).map_or(usual.names, |name| vec![name]),
        service: identity.jwt_service_claim.as_ref().map(|of| (Claim::new(&of.claim), of.value.clone())),
        audience_optional: false,
    }
}

/// The keys of this server.
///
/// # Errors
/// Where the key set or the secret cannot be read.
pub(super) async fn keys(
    identity: &IdentitySettings,
    database: &DatabaseSettings,
    metrics: &Arc<Metrics>,
) -> anyhow::Result<Keys> {
    let secret = server_secret(identity, database)?;
    let verifier = match &identity.jwks {
        None => Verifier::with_secret(&secret, secret_rules(identity)),
        Some(source) => {
            let source = JwksSource::parse(source, identity.jwks_allow_http)?;
            let verifier = Verifier::with_jwks(source, stated_rules(identity)).await?;
            // The secret of the data directory is for resume tokens alone.
            match identity.jwt_secret {
                Some(_) => verifier.and_secret(&secret, secret_rules(identity)),
                None => verifier,
            }
        }
    };
    Ok(Keys::new(verifier, ResumeKey::derive(&secret), Arc::clone(metrics)))
}
