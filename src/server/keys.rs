//! The keys of the server: from its settings, or from the secret in its data directory.

use anyhow::Context;

use crate::config::{DatabaseSettings, IdentitySettings};
use crate::identity::jwks::JwksSource;
use crate::identity::jwt::Verifier;
use crate::identity::resume::ResumeKey;
use crate::identity::{Keys, secret};

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

/// The keys of this server.
///
/// # Errors
/// Where the key set or the secret cannot be read.
pub(super) async fn keys(identity: &IdentitySettings, database: &DatabaseSettings) -> anyhow::Result<Keys> {
    let secret = server_secret(identity, database)?;
    let audience = identity.jwt_aud.clone();
    let verifier = match &identity.jwks {
        Some(source) => Verifier::with_jwks(JwksSource::parse(source)?, audience).await?,
        None => Verifier::with_secret(&secret, audience),
    };
    Ok(Keys::new(verifier, ResumeKey::derive(&secret)))
}
