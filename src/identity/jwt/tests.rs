//! What a JWT must be to be accepted.

use std::fs;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use rcgen::PublicKeyData;
use serde_json::json;
use tempfile::TempDir;

use super::*;
use crate::identity::jwks::signers::{Signer, key_set};

const SECRET: &[u8] = b"a secret of the tests, of 32 bytes or more";
const USER: Uuid = Uuid::from_u128(0x0190_aaaa);

/// The present second, `offset` seconds on.
fn seconds_from_now(offset: i64) -> i64 {
    get_current_timestamp().cast_signed() + offset
}

/// A user's claims, with some changed; `null` takes one out.
fn claims(changes: Value) -> Value {
    let mut claims = json!({"sub": USER, "role": "authenticated", "exp": seconds_from_now(3600)});
    for (key, value) in changes.as_object().unwrap() {
        claims[key] = value.clone();
    }
    claims.as_object_mut().unwrap().retain(|_, value| !value.is_null());
    claims
}

fn hs(algorithm: Algorithm, secret: &[u8], claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret)).unwrap()
}

/// What becomes of a token with these claims.
async fn verify(changes: Value) -> Result<Claims, TokenError> {
    verify_for(None, changes).await
}

async fn verify_for(audience: Option<&str>, changes: Value) -> Result<Claims, TokenError> {
    let verifier = Verifier::with_secret(SECRET, audience.map(str::to_owned));
    verifier.verify(&hs(Algorithm::HS256, SECRET, &claims(changes))).await
}

#[track_caller]
fn assert_invalid(outcome: Result<Claims, TokenError>, about: &str) {
    match outcome {
        Err(TokenError::Invalid(reason)) => assert!(reason.contains(about), "{reason}"),
        outcome => panic!("{outcome:?}"),
    }
}

#[tokio::test]
async fn what_is_issued_is_verified() {
    let verifier = Verifier::with_secret(SECRET, Some("rooms".into()));
    let ttl = Duration::from_hours(1);
    let role = JwtRole::Authenticated;
    let token = issue(SECRET, Some(USER), Some("Ada"), role, Some("rooms"), ttl);
    let claims = verifier.verify(&token).await.unwrap();
    assert_eq!((claims.subject, claims.role), (Some(USER), role));
    assert_eq!(claims.name.as_deref(), Some("Ada"));
    assert!((3590..=3600).contains(&(claims.expires_at - seconds_from_now(0))));

    let token = issue(SECRET, None, None, JwtRole::Service, Some("rooms"), ttl);
    let claims = verifier.verify(&token).await.unwrap();
    assert_eq!((claims.subject, claims.role, claims.name), (None, JwtRole::Service, None));
}

#[tokio::test]
async fn a_token_is_good_until_it_expires() {
    assert_eq!(verify(json!({"exp": seconds_from_now(-60)})).await, Err(TokenError::Expired));
    assert!(verify(json!({"exp": seconds_from_now(60)})).await.is_ok());
    assert!(verify(json!({"exp": seconds_from_now(60) as f64 + 0.5})).await.is_ok());
    let forever = verify(json!({"exp": u64::MAX})).await.unwrap();
    assert_eq!(forever.expires_at, i64::MAX);
}

#[test]
fn expiry_has_thirty_seconds_of_leeway() {
    let check = |now| {
        let claims: UncheckedClaims = serde_json::from_value(claims(json!({"exp": 1000}))).unwrap();
        claims.check(now).map(|claims| claims.expires_at)
    };
    assert_eq!(check(1029), Ok(1000));
    assert_eq!(check(1030), Err(TokenError::Expired));
}

#[tokio::test]
async fn not_before_has_thirty_seconds_of_leeway() {
    assert!(verify(json!({"nbf": seconds_from_now(20)})).await.is_ok());
    assert_invalid(verify(json!({"nbf": seconds_from_now(40)})).await, "not valid yet");
    assert_invalid(verify(json!({"nbf": "soon"})).await, "nbf");
}

#[tokio::test]
async fn expired_means_that_nothing_else_is_wrong() {
    let expired = seconds_from_now(-3600);
    let forged = hs(Algorithm::HS256, b"another secret", &claims(json!({"exp": expired})));
    let verifier = Verifier::with_secret(SECRET, None);
    assert_invalid(verifier.verify(&forged).await, "signature");
    for other in [
        json!({"exp": expired, "role": "anon"}),
        json!({"exp": expired, "sub": null}),
        json!({"exp": expired, "nbf": seconds_from_now(3600)}),
    ] {
        assert_invalid(verify(other).await, "");
    }
    let elsewhere = verify_for(Some("rooms"), json!({"exp": expired, "aud": "games"}));
    assert_invalid(elsewhere.await, "audience");
}

#[tokio::test]
async fn an_expiry_is_required() {
    for exp in [json!(null), json!("tomorrow"), json!([]), json!(true)] {
        assert_invalid(verify(json!({"exp": exp})).await, "exp");
    }
}

#[tokio::test]
async fn the_audience_counts_where_one_is_configured() {
    for aud in [json!("rooms"), json!(["games", "rooms"])] {
        assert!(verify_for(Some("rooms"), json!({"aud": aud})).await.is_ok());
    }
    for aud in [json!(null), json!("games"), json!(["games"]), json!([]), json!(7), json!("")] {
        assert_invalid(verify_for(Some("rooms"), json!({"aud": aud})).await, "audience");
    }
    for aud in [json!(null), json!("games"), json!(["games"])] {
        assert!(verify(json!({"aud": aud})).await.is_ok());
    }
}

#[tokio::test]
async fn a_user_is_a_uuid() {
    for sub in [json!(null), json!("ada"), json!(""), json!(7)] {
        assert_invalid(verify(json!({"sub": sub})).await, "sub");
    }
}

#[tokio::test]
async fn a_service_needs_no_subject() {
    for sub in [json!(null), json!("backend@clients")] {
        let claims = verify(json!({"role": "service_role", "sub": sub})).await.unwrap();
        assert_eq!((claims.role, claims.subject), (JwtRole::Service, None));
    }
    let claims = verify(json!({"role": "service_role"})).await.unwrap();
    assert_eq!(claims.subject, Some(USER));
}

#[tokio::test]
async fn other_roles_are_refused() {
    for role in [json!(null), json!("anon"), json!("Service_Role"), json!(["service_role"])] {
        assert_invalid(verify(json!({"role": role})).await, "role");
    }
}

#[tokio::test]
async fn a_name_that_cannot_be_shown_is_dropped() {
    let longest = "é".repeat(80);
    for (name, shown) in [
        ("Ada", Some("Ada")),
        (" \tAda Lovelace\n", Some("Ada Lovelace")),
        (&longest, Some(longest.as_str())),
        (&"é".repeat(81), None),
        ("Ada\u{7}", None),
        ("Ada\nLovelace", None),
        (" ", None),
        ("", None),
    ] {
        let claims = verify(json!({"name": name})).await.unwrap();
        assert_eq!(claims.name.as_deref(), shown, "{name:?}");
    }
    assert_invalid(verify(json!({"name": 7})).await, "name");
}

#[tokio::test]
async fn garbage_is_refused() {
    let good = hs(Algorithm::HS256, SECRET, &claims(json!({})));
    let (body, signature) = good.rsplit_once('.').unwrap();
    let verifier = Verifier::with_secret(SECRET, None);
    assert!(verifier.verify(&good).await.is_ok());
    let cut = &good[..good.len() - 1];
    for token in [
        "",
        ".",
        "..",
        "...",
        "a.b.c",
        "é.é.é",
        body,
        cut,
        &format!("{body}."),
        &format!("{good}."),
        &format!("{good}="),
        &format!(" {good}"),
        &format!("{body}.{signature}.{signature}"),
    ] {
        assert_invalid(verifier.verify(token).await, "");
    }
    for claims in [json!([]), json!("text"), json!(null)] {
        assert_invalid(verifier.verify(&hs(Algorithm::HS256, SECRET, &claims)).await, "");
    }
}

#[tokio::test]
async fn only_the_keys_own_algorithm_is_taken() {
    let verifier = Verifier::with_secret(SECRET, None);
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let token = hs(algorithm, SECRET, &claims(json!({})));
        assert_invalid(verifier.verify(&token).await, "algorithm");
    }
    let token = Signer::es256("key").sign(&claims(json!({})));
    assert_invalid(verifier.verify(&token).await, "algorithm");
}

fn unsigned(algorithm: &str) -> String {
    let part = |json: Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.", part(json!({"alg": algorithm, "typ": "JWT"})), part(claims(json!({}))))
}

#[tokio::test]
async fn none_is_no_algorithm() {
    let (_file, jwks) = with_keys(&[Signer::eddsa("key").jwk()]).await;
    for verifier in [Verifier::with_secret(SECRET, None), jwks] {
        for algorithm in ["none", "None", "NONE", ""] {
            assert_invalid(verifier.verify(&unsigned(algorithm)).await, "algorithm");
        }
        for algorithm in ["HS256", "EdDSA"] {
            assert_invalid(verifier.verify(&unsigned(algorithm)).await, "");
        }
    }
}

#[tokio::test]
async fn critical_extensions_are_refused() {
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["b64".into()]);
    let token = encode(&header, &claims(json!({})), &EncodingKey::from_secret(SECRET)).unwrap();
    assert_invalid(Verifier::with_secret(SECRET, None).verify(&token).await, "extension");
}

/// A verifier for these keys, and the directory of the file `jwks.json` that they are in.
async fn with_keys(keys: &[Value]) -> (TempDir, Verifier) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    fs::write(&path, key_set(keys)).unwrap();
    let source = JwksSource::parse(path.to_str().unwrap()).unwrap();
    (directory, Verifier::with_jwks(source, None).await.unwrap())
}

#[tokio::test]
async fn every_kind_of_public_key_checks_its_own_tokens() {
    let signers = [Signer::rs256("r"), Signer::es256("e"), Signer::eddsa("d")];
    let (_file, verifier) = with_keys(&signers.each_ref().map(Signer::jwk)).await;
    for signer in &signers {
        let token = signer.sign(&claims(json!({})));
        assert_eq!(verifier.verify(&token).await.unwrap().subject, Some(USER));
        let without_id = signer.sign_as(None, &claims(json!({})));
        assert!(verifier.verify(&without_id).await.is_ok());
        let expired = signer.sign(&claims(json!({"exp": seconds_from_now(-60)})));
        assert_eq!(verifier.verify(&expired).await, Err(TokenError::Expired));
    }
    let [rsa, ec, ed] = &signers;
    let misnamed = ec.sign_as(Some(rsa.id), &claims(json!({})));
    assert_invalid(verifier.verify(&misnamed).await, "algorithm");
    let forged = Signer::eddsa(ed.id).sign(&claims(json!({"exp": seconds_from_now(-60)})));
    assert_invalid(verifier.verify(&forged).await, "signature");
}

#[tokio::test]
async fn a_public_key_is_no_secret() {
    for signer in [Signer::rs256("key"), Signer::es256("key"), Signer::eddsa("key")] {
        let (_file, verifier) = with_keys(&[signer.jwk()]).await;
        for public in [
            signer.pair.public_key_pem().into_bytes(),
            signer.pair.subject_public_key_info(),
            signer.pair.der_bytes().to_vec(),
        ] {
            for id in [None, Some("key".to_owned())] {
                let mut header = Header::new(Algorithm::HS256);
                header.kid = id;
                let key = EncodingKey::from_secret(&public);
                let token = encode(&header, &claims(json!({})), &key).unwrap();
                assert_invalid(verifier.verify(&token).await, "algorithm");
            }
        }
    }
}

#[tokio::test]
async fn a_token_without_a_key_id_needs_one_fitting_key() {
    let (one, other) = (Signer::es256("one"), Signer::es256("other"));
    let (_file, verifier) = with_keys(&[one.jwk(), other.jwk()]).await;
    assert_invalid(verifier.verify(&one.sign_as(None, &claims(json!({})))).await, "which key");
    assert!(verifier.verify(&one.sign(&claims(json!({})))).await.is_ok());
}

#[tokio::test]
async fn a_key_that_was_rotated_in_is_found() {
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let (directory, verifier) = with_keys(&[old.jwk()]).await;
    let token = new.sign(&claims(json!({})));
    fs::write(directory.path().join("jwks.json"), key_set(&[new.jwk()])).unwrap();
    assert!(verifier.verify(&token).await.is_ok());
    // The old one was not looked for when keys were read last: it may be newer than that.
    let old = verifier.verify(&old.sign(&claims(json!({})))).await;
    assert!(matches!(old, Err(TokenError::Unavailable(_))), "{old:?}");
}

#[tokio::test]
async fn a_key_without_an_id_is_found_when_it_was_rotated_in() {
    let nameless = |signer: &Signer| {
        let mut jwk = signer.jwk();
        jwk.as_object_mut().unwrap().remove("kid");
        jwk
    };
    let (old, new) = (Signer::es256("old"), Signer::es256("new"));
    let (directory, verifier) = with_keys(&[nameless(&old)]).await;
    let token = |signer: &Signer| signer.sign_as(None, &claims(json!({})));
    assert!(verifier.verify(&token(&old)).await.is_ok());
    fs::write(directory.path().join("jwks.json"), key_set(&[nameless(&new)])).unwrap();
    assert!(verifier.verify(&token(&new)).await.is_ok());
    let forged = verifier.verify(&token(&Signer::es256("forged"))).await;
    assert!(matches!(forged, Err(TokenError::Unavailable(_))), "{forged:?}");
}

#[tokio::test]
async fn an_unknown_key_is_told_from_keys_that_cannot_be_had() {
    let (known, unknown) = (Signer::es256("known"), Signer::es256("unknown"));
    let (_file, verifier) = with_keys(&[known.jwk()]).await;
    assert_invalid(verifier.verify(&unknown.sign(&claims(json!({})))).await, "not known");

    let (directory, verifier) = with_keys(&[known.jwk()]).await;
    fs::remove_file(directory.path().join("jwks.json")).unwrap();
    let token = unknown.sign(&claims(json!({})));
    assert!(matches!(verifier.verify(&token).await, Err(TokenError::Unavailable(_))));
    assert!(verifier.verify(&known.sign(&claims(json!({})))).await.is_ok());
}

#[test]
fn debug_and_display_show_no_secret() {
    let verifier = Verifier::with_secret(b"hunter2", Some("rooms".into()));
    assert_eq!(format!("{verifier:?}"), r#"Verifier { keys: "a secret", audience: Some("rooms") }"#);
}
