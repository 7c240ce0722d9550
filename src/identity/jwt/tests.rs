//! What a JWT must be to be accepted.

use std::fs;

use jsonwebtoken::{EncodingKey, Header, encode};
use rcgen::PublicKeyData;
use serde_json::json;
use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::domain::ids::UserId;
use crate::domain::subject::Subject;
use crate::identity::jwks::signers::{Signer, key_set, sign_under};

const SECRET: &[u8] = b"a secret of the tests, of 32 bytes or more";
const USER: Uuid = Uuid::from_u128(0x0190_aaaa);

fn subject(text: &str) -> Subject {
    text.parse().unwrap()
}

fn the_user() -> Subject {
    UserId(USER).into()
}

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
    verify_by(TokenRules::default(), changes).await
}

async fn verify_by(rules: TokenRules, changes: Value) -> Result<Claims, TokenError> {
    let verifier = Verifier::with_secret(SECRET, rules);
    verifier.verify(&hs(Algorithm::HS256, SECRET, &claims(changes))).await
}

fn own() -> Verifier {
    Verifier::with_secret(SECRET, TokenRules::default())
}

fn for_audience(audience: &str) -> TokenRules {
    TokenRules { audiences: vec![audience.to_owned()], ..TokenRules::default() }
}

fn of_issuer(issuer: &str) -> TokenRules {
    TokenRules { issuers: vec![issuer.to_owned()], ..TokenRules::default() }
}

#[track_caller]
fn assert_refused(outcome: Result<Claims, TokenError>, fault: TokenFault) {
    assert_eq!(outcome, Err(TokenError::Refused(fault)));
}

#[tokio::test]
async fn what_is_issued_is_verified() {
    let verifier = Verifier::with_secret(SECRET, for_audience("rooms"));
    let ttl = Duration::from_hours(1);
    let role = JwtRole::Authenticated;
    let token = issue(SECRET, Some(&the_user()), Some("Ada"), role, Some("rooms"), ttl);
    let claims = verifier.verify(&token).await.unwrap();
    assert_eq!((claims.subject, claims.role), (Some(the_user()), role));
    assert_eq!(claims.name.as_deref(), Some("Ada"));
    assert!((3590..=3600).contains(&(claims.expires_at - seconds_from_now(0))));

    let token = issue(SECRET, None, None, JwtRole::Service, Some("rooms"), ttl);
    let claims = verifier.verify(&token).await.unwrap();
    assert_eq!((claims.subject, claims.role, claims.name), (None, JwtRole::Service, None));
}

#[tokio::test]
async fn what_is_issued_by_rules_is_verified_by_them() {
    let role = Claim::new("https://app.example/roles");
    let rules = TokenRules {
        issuers: vec!["https://app.example".to_owned()],
        audiences: vec!["rooms".to_owned(), "games".to_owned()],
        subject: Claim::new("oid"),
        names: vec![Claim::new("profile.nick")],
        service: Some((role.clone(), "service_role".to_owned())),
        role,
        ..TokenRules::default()
    };
    let verifier = Verifier::with_secret(SECRET, rules.clone());
    for role in [JwtRole::Authenticated, JwtRole::Service] {
        let token = issue_by(&rules, SECRET, Some(&the_user()), Some("Ada"), role, Duration::from_hours(1));
        let claims = verifier.verify(&token).await.unwrap();
        assert_eq!((claims.subject, claims.role, claims.name.as_deref()), (Some(the_user()), role, Some("Ada")));
        assert!(own().verify(&token).await.is_err(), "it has no `sub`, or is no service's");
    }
}

#[tokio::test]
async fn a_token_is_good_until_it_expires() {
    assert_refused(verify(json!({"exp": seconds_from_now(-60)})).await, TokenFault::Expired);
    assert!(verify(json!({"exp": seconds_from_now(60)})).await.is_ok());
    assert!(verify(json!({"exp": seconds_from_now(60) as f64 + 0.5})).await.is_ok());
    let forever = verify(json!({"exp": u64::MAX})).await.unwrap();
    assert_eq!(forever.expires_at, i64::MAX);
}

#[test]
fn expiry_has_thirty_seconds_of_leeway() {
    let claims: ClaimSet = serde_json::from_value(claims(json!({"exp": 1000}))).unwrap();
    let check = |now| TokenRules::default().check(&claims, now).map(|claims| claims.expires_at);
    assert_eq!(check(1029), Ok(1000));
    assert_eq!(check(1030), Err(TokenFault::Expired));
}

#[tokio::test]
async fn not_before_has_thirty_seconds_of_leeway() {
    assert!(verify(json!({"nbf": seconds_from_now(20)})).await.is_ok());
    assert_refused(verify(json!({"nbf": seconds_from_now(40)})).await, TokenFault::NotYetValid);
    assert_refused(verify(json!({"nbf": "soon"})).await, TokenFault::NotYetValid);
}

#[tokio::test]
async fn expired_means_that_nothing_else_is_wrong() {
    let expired = seconds_from_now(-3600);
    let forged = hs(Algorithm::HS256, b"another secret", &claims(json!({"exp": expired})));
    assert_refused(own().verify(&forged).await, TokenFault::BadSignature);
    for (other, fault) in [
        (json!({"exp": expired, "role": "anon"}), TokenFault::AnonymousRole),
        (json!({"exp": expired, "sub": null}), TokenFault::NoSubject),
        (json!({"exp": expired, "nbf": seconds_from_now(3600)}), TokenFault::NotYetValid),
    ] {
        assert_refused(verify(other).await, fault);
    }
    let elsewhere = json!({"exp": expired, "aud": "games", "iss": "them"});
    assert_refused(verify_by(for_audience("rooms"), elsewhere.clone()).await, TokenFault::WrongAudience);
    assert_refused(verify_by(of_issuer("us"), elsewhere).await, TokenFault::WrongIssuer);
}

#[tokio::test]
async fn an_expiry_is_required() {
    for exp in [json!(null), json!("tomorrow"), json!([]), json!(true)] {
        assert_refused(verify(json!({"exp": exp})).await, TokenFault::NoExpiry);
    }
}

#[tokio::test]
async fn the_audience_counts_where_one_is_configured() {
    let verify_for = async |changes| verify_by(for_audience("rooms"), changes).await;
    for aud in [json!("rooms"), json!(["games", "rooms"])] {
        assert!(verify_for(json!({"aud": aud})).await.is_ok());
    }
    for aud in [json!(null), json!("games"), json!(["games"]), json!([]), json!(7), json!("")] {
        assert_refused(verify_for(json!({"aud": aud})).await, TokenFault::WrongAudience);
    }
    for aud in [json!(null), json!("games"), json!(["games"])] {
        assert!(verify(json!({"aud": aud})).await.is_ok());
    }
    let several = TokenRules { audiences: vec!["games".to_owned(), "rooms".to_owned()], ..TokenRules::default() };
    assert!(verify_by(several, json!({"aud": "rooms"})).await.is_ok());
}

#[tokio::test]
async fn a_token_without_an_audience_may_name_its_client() {
    let verify_for = async |changes| verify_by(for_audience("rooms"), changes).await;
    for client in
        [json!({"azp": "rooms"}), json!({"client_id": "rooms"}), json!({"azp": "games", "client_id": "rooms"})]
    {
        assert!(verify_for(client).await.is_ok());
    }
    for client in [
        json!({"azp": "games"}),
        json!({"client_id": null}),
        // It says for whom it is.
        json!({"azp": "rooms", "aud": "games"}),
        json!({"client_id": "rooms", "aud": []}),
    ] {
        assert_refused(verify_for(client).await, TokenFault::WrongAudience);
    }
}

#[tokio::test]
async fn an_audience_may_be_optional() {
    let rules = TokenRules { audience_optional: true, ..for_audience("rooms") };
    for aud in [json!(null), json!("rooms")] {
        assert!(verify_by(rules.clone(), json!({"aud": aud, "azp": "games"})).await.is_ok());
    }
    assert_refused(verify_by(rules, json!({"aud": "games"})).await, TokenFault::WrongAudience);
}

#[tokio::test]
async fn the_issuer_counts_where_one_is_configured() {
    for (known, iss) in [
        ("https://id.example", "https://id.example"),
        ("https://id.example/", "https://id.example"),
        ("https://id.example", "https://id.example/"),
    ] {
        assert!(verify_by(of_issuer(known), json!({"iss": iss})).await.is_ok(), "{iss}");
    }
    for iss in [
        json!(null),
        json!(""),
        json!("https://id.example/other"),
        json!("http://id.example"),
        json!(["https://id.example"]),
        json!(7),
    ] {
        assert_refused(verify_by(of_issuer("https://id.example"), json!({"iss": iss})).await, TokenFault::WrongIssuer);
    }
    assert!(verify(json!({"iss": "anybody"})).await.is_ok());
}

#[tokio::test]
async fn a_user_has_a_subject_of_any_form() {
    for sub in ["ada", "auth0|abc", "ada@example.org", &USER.to_string()] {
        assert_eq!(verify(json!({"sub": sub})).await.unwrap().subject, Some(subject(sub)), "{sub}");
    }
    for sub in [json!(null), json!(""), json!(7), json!("a\0b"), json!("x".repeat(256))] {
        assert_refused(verify(json!({"sub": sub})).await, TokenFault::NoSubject);
    }
    let rules = TokenRules { subject: Claim::new("oid"), ..TokenRules::default() };
    let claims = verify_by(rules.clone(), json!({"sub": "pairwise", "oid": USER})).await.unwrap();
    assert_eq!(claims.subject, Some(the_user()));
    assert_refused(verify_by(rules, json!({})).await, TokenFault::NoSubject);
}

#[tokio::test]
async fn a_service_needs_no_subject() {
    for sub in [json!(null), json!(7), json!("")] {
        let claims = verify(json!({"role": "service_role", "sub": sub})).await.unwrap();
        assert_eq!((claims.role, claims.subject), (JwtRole::Service, None));
    }
    let claims = verify(json!({"role": "service_role"})).await.unwrap();
    assert_eq!(claims.subject, Some(the_user()));
}

#[tokio::test]
async fn a_token_is_a_users_unless_its_role_says_otherwise() {
    let role = async |role| verify(json!({ "role": role })).await.map(|claims| claims.role);
    for user in [
        json!(null),
        json!("authenticated"),
        json!("editor"),
        json!("Service_Role"),
        json!([]),
        json!(["anon", "authenticated"]),
        json!(7),
    ] {
        assert_eq!(role(user.clone()).await, Ok(JwtRole::Authenticated), "{user}");
    }
    for service in [json!("service_role"), json!(["offline_access", "service_role"])] {
        assert_eq!(role(service).await, Ok(JwtRole::Service));
    }
    for nobody in [json!("anon"), json!(["anon"])] {
        assert_eq!(role(nobody).await, Err(TokenFault::AnonymousRole.into()));
    }
}

#[tokio::test]
async fn only_the_claim_of_the_service_gives_its_rights() {
    let none = TokenRules { service: None, ..TokenRules::default() };
    let refused = verify_by(none.clone(), json!({"role": "service_role"})).await;
    assert_refused(refused, TokenFault::NoServiceRights);
    let claims = verify_by(none, json!({"gty": "client-credentials"})).await.unwrap();
    assert_eq!(claims.role, JwtRole::Authenticated);

    let service = Some((Claim::new("gty"), "client-credentials".to_owned()));
    let rules = TokenRules { service, ..TokenRules::default() };
    let claims = verify_by(rules.clone(), json!({"gty": "client-credentials", "sub": "x@clients"})).await.unwrap();
    assert_eq!(claims.role, JwtRole::Service);
    assert_refused(verify_by(rules, json!({"role": "service_role"})).await, TokenFault::NoServiceRights);
}

#[tokio::test]
async fn a_name_that_cannot_be_shown_is_dropped() {
    let longest = "é".repeat(80);
    let too_long = "é".repeat(81);
    for (name, shown) in [
        (json!("Ada"), Some("Ada")),
        (json!(" \tAda Lovelace\n"), Some("Ada Lovelace")),
        (json!(longest), Some(longest.as_str())),
        (json!(too_long), None),
        (json!("Ada\u{7}"), None),
        (json!("Ada\nLovelace"), None),
        (json!(" "), None),
        (json!(""), None),
        (json!(7), None),
        (json!({"first": "Ada"}), None),
        (json!(null), None),
    ] {
        let claims = verify(json!({"name": name})).await.unwrap();
        assert_eq!(claims.name.as_deref(), shown, "{name}");
    }
}

#[tokio::test]
async fn the_name_is_the_first_that_can_be_one() {
    let all = json!({
        "name": "one", "user_metadata": {"full_name": "two", "name": "three"}, "preferred_username": "four",
        "cognito:username": "five",
    });
    let mut left = all.clone();
    for (path, next) in [
        ("/name", "two"),
        ("/user_metadata/full_name", "three"),
        ("/user_metadata/name", "four"),
        ("/preferred_username", "five"),
    ] {
        *left.pointer_mut(path).unwrap() = json!(7);
        assert_eq!(verify(left.clone()).await.unwrap().name.as_deref(), Some(next));
    }
    let rules = TokenRules { names: vec![Claim::new("https://app.example/nick")], ..TokenRules::default() };
    assert_eq!(verify_by(rules.clone(), all).await.unwrap().name, None);
    let claims = verify_by(rules, json!({"https://app.example/nick": "Ada"})).await.unwrap();
    assert_eq!(claims.name.as_deref(), Some("Ada"));
}

#[tokio::test]
async fn garbage_is_refused() {
    let good = hs(Algorithm::HS256, SECRET, &claims(json!({})));
    let (body, signature) = good.rsplit_once('.').unwrap();
    assert!(own().verify(&good).await.is_ok());
    let cut = &good[..good.len() - 1];
    for (token, fault) in [
        ("", TokenFault::Malformed),
        (".", TokenFault::Malformed),
        ("..", TokenFault::Malformed),
        ("...", TokenFault::Malformed),
        ("....", TokenFault::Encrypted),
        (".....", TokenFault::Malformed),
        ("a.b.c", TokenFault::Malformed),
        ("é.é.é", TokenFault::Malformed),
        (body, TokenFault::Malformed),
        (cut, TokenFault::BadSignature),
        (format!("{body}.").as_str(), TokenFault::BadSignature),
        (format!("{good}.").as_str(), TokenFault::Malformed),
        (format!("{good}=").as_str(), TokenFault::BadSignature),
        (format!(" {good}").as_str(), TokenFault::Malformed),
        (format!("{body}.{signature}.{signature}").as_str(), TokenFault::Malformed),
    ] {
        assert_refused(own().verify(token).await, fault);
    }
    for claims in [json!([]), json!("text"), json!(null)] {
        assert_refused(own().verify(&hs(Algorithm::HS256, SECRET, &claims)).await, TokenFault::Malformed);
    }
}

#[tokio::test]
async fn an_api_key_is_named() {
    for key in ["sb_publishable_abc", "sb_secret_abc.def.ghi"] {
        assert_refused(own().verify(key).await, TokenFault::ApiKey);
    }
    assert!(TokenFault::ApiKey.message().contains("access token"));
}

#[tokio::test]
async fn only_the_keys_own_algorithm_is_taken() {
    for algorithm in [Algorithm::HS384, Algorithm::HS512] {
        let token = hs(algorithm, SECRET, &claims(json!({})));
        assert_refused(own().verify(&token).await, TokenFault::WrongAlgorithm);
    }
    let token = Signer::es256("key").sign(&claims(json!({})));
    assert_refused(own().verify(&token).await, TokenFault::WrongAlgorithm);
}

fn unsigned(algorithm: &str) -> String {
    let part = |json: Value| BASE64_URL_SAFE_NO_PAD.encode(json.to_string());
    format!("{}.{}.", part(json!({"alg": algorithm, "typ": "JWT"})), part(claims(json!({}))))
}

#[tokio::test]
async fn none_is_no_algorithm() {
    let (_file, jwks) = with_keys(&[Signer::eddsa("key").jwk()]).await;
    for verifier in [own(), jwks] {
        for algorithm in ["none", "None", "NONE", ""] {
            assert_refused(verifier.verify(&unsigned(algorithm)).await, TokenFault::WrongAlgorithm);
        }
        for algorithm in ["HS256", "EdDSA"] {
            assert!(verifier.verify(&unsigned(algorithm)).await.is_err());
        }
    }
}

#[tokio::test]
async fn critical_extensions_are_refused() {
    let mut header = Header::new(Algorithm::HS256);
    header.crit = Some(vec!["b64".into()]);
    let token = encode(&header, &claims(json!({})), &EncodingKey::from_secret(SECRET)).unwrap();
    assert_refused(own().verify(&token).await, TokenFault::UnknownExtension);
}

/// A verifier for these keys, and the directory of the file `jwks.json` that they are in.
async fn with_keys(keys: &[Value]) -> (TempDir, Verifier) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("jwks.json");
    fs::write(&path, key_set(keys)).unwrap();
    let source = JwksSource::parse(path.to_str().unwrap(), false).unwrap();
    (directory, Verifier::with_jwks(source, TokenRules::default()).await.unwrap())
}

#[tokio::test]
async fn every_kind_of_public_key_checks_its_own_tokens() {
    let signers = [Signer::rs256("r"), Signer::es256("e"), Signer::es384("f"), Signer::eddsa("d")];
    let (_file, verifier) = with_keys(&signers.each_ref().map(Signer::jwk)).await;
    for signer in &signers {
        let token = signer.sign(&claims(json!({})));
        assert_eq!(verifier.verify(&token).await.unwrap().subject, Some(the_user()));
        let without_id = signer.sign_as(None, &claims(json!({})));
        assert!(verifier.verify(&without_id).await.is_ok());
        let expired = signer.sign(&claims(json!({"exp": seconds_from_now(-60)})));
        assert_refused(verifier.verify(&expired).await, TokenFault::Expired);
    }
    let [rsa, ec, _, ed] = &signers;
    let misnamed = ec.sign_as(Some(rsa.id), &claims(json!({})));
    assert_refused(verifier.verify(&misnamed).await, TokenFault::WrongAlgorithm);
    let forged = Signer::eddsa(ed.id).sign(&claims(json!({"exp": seconds_from_now(-60)})));
    assert_refused(verifier.verify(&forged).await, TokenFault::BadSignature);
}

#[tokio::test]
async fn a_key_of_rsa_checks_the_algorithm_that_it_names() {
    let algorithms =
        [Algorithm::RS256, Algorithm::RS384, Algorithm::RS512, Algorithm::PS256, Algorithm::PS384, Algorithm::PS512];
    let signer = Signer::rsa("key", Algorithm::RS256);
    for algorithm in algorithms {
        let signer = signer.with(algorithm);
        let mut jwk = signer.jwk();
        assert_eq!(jwk["alg"], json!(algorithm));
        let token = signer.sign(&claims(json!({})));
        let (_file, verifier) = with_keys(&[jwk.clone()]).await;
        assert!(verifier.verify(&token).await.is_ok(), "{algorithm:?}");
        let other = algorithms.into_iter().find(|other| *other != algorithm).unwrap();
        let other = signer.with(other).sign(&claims(json!({})));
        assert_refused(verifier.verify(&other).await, TokenFault::WrongAlgorithm);
        // One that names none checks all of its kind.
        jwk.as_object_mut().unwrap().remove("alg");
        let (_file, verifier) = with_keys(&[jwk]).await;
        assert!(verifier.verify(&token).await.is_ok() && verifier.verify(&other).await.is_ok(), "{algorithm:?}");
    }
}

#[tokio::test]
async fn eddsa_may_be_called_ed25519() {
    let signer = Signer::eddsa("key");
    let mut jwk = signer.jwk();
    for of_key in [json!(null), json!("EdDSA"), json!("Ed25519")] {
        jwk["alg"] = of_key;
        let (_file, verifier) = with_keys(&[jwk.clone()]).await;
        for of_token in ["EdDSA", "Ed25519"] {
            let header = json!({"alg": of_token, "kid": "key"});
            assert!(verifier.verify(&sign_under(&signer, &header, &claims(json!({})))).await.is_ok(), "{of_token}");
        }
        for wrong in ["Ed448", "ed25519", "ES256"] {
            let header = json!({"alg": wrong, "kid": "key"});
            let token = sign_under(&signer, &header, &claims(json!({})));
            assert_refused(verifier.verify(&token).await, TokenFault::WrongAlgorithm);
        }
    }
}

#[tokio::test]
async fn a_secret_may_stand_beside_keys() {
    let signer = Signer::es256("key");
    let (_file, verifier) = with_keys(&[signer.jwk()]).await;
    assert_refused(
        verifier.verify(&hs(Algorithm::HS256, SECRET, &claims(json!({})))).await,
        TokenFault::WrongAlgorithm,
    );
    let verifier = verifier.and_secret(SECRET, for_audience("rooms"));
    assert!(verifier.verify(&signer.sign(&claims(json!({})))).await.is_ok(), "each by its own rules");
    assert!(verifier.verify(&hs(Algorithm::HS256, SECRET, &claims(json!({"aud": "rooms"})))).await.is_ok());
    let elsewhere = hs(Algorithm::HS256, SECRET, &claims(json!({})));
    assert_refused(verifier.verify(&elsewhere).await, TokenFault::WrongAudience);
    let forged = hs(Algorithm::HS256, b"another secret", &claims(json!({"aud": "rooms"})));
    assert_refused(verifier.verify(&forged).await, TokenFault::BadSignature);
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
                assert_refused(verifier.verify(&token).await, TokenFault::WrongAlgorithm);
            }
        }
    }
}

#[tokio::test]
async fn a_token_without_a_key_id_needs_one_fitting_key() {
    let (one, other) = (Signer::es256("one"), Signer::es256("other"));
    let (_file, verifier) = with_keys(&[one.jwk(), other.jwk()]).await;
    assert_refused(verifier.verify(&one.sign_as(None, &claims(json!({})))).await, TokenFault::AmbiguousKey);
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
    assert_refused(verifier.verify(&unknown.sign(&claims(json!({})))).await, TokenFault::UnknownKey);

    let (directory, verifier) = with_keys(&[known.jwk()]).await;
    fs::remove_file(directory.path().join("jwks.json")).unwrap();
    let token = unknown.sign(&claims(json!({})));
    assert!(matches!(verifier.verify(&token).await, Err(TokenError::Unavailable(_))));
    assert!(verifier.verify(&known.sign(&claims(json!({})))).await.is_ok());
}

#[test]
fn debug_shows_no_secret() {
    let shown = format!("{:?}", Verifier::with_secret(b"hunter2", for_audience("rooms")));
    assert!(shown.contains("a secret") && shown.contains("rooms"), "{shown}");
    assert!(!shown.contains("hunter2"), "{shown}");
}
