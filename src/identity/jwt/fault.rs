//! Why a token is refused.

use crate::domain::words::words;

words! {
    /// Why a token is refused, as the log and the metrics say it.
    TokenFault {
        /// It does not have the form of a JWT.
        Malformed = "malformed",
        /// It is a JWE.
        Encrypted = "encrypted",
        /// It is a key that Supabase gives to apps and backends, and stands for no user.
        ApiKey = "api_key",
        /// It is signed with an algorithm that no key is for, or with none.
        WrongAlgorithm = "wrong_algorithm",
        /// A header that must be understood is not.
        UnknownExtension = "unknown_extension",
        /// No key has the id that it names, although keys were read since.
        UnknownKey = "unknown_key",
        /// It names a key that may be new, and keys are not read again yet.
        KeyUnavailable = "key_unavailable",
        /// It names no key, and more than one could be meant.
        AmbiguousKey = "ambiguous_key",
        /// Its key did not sign it.
        BadSignature = "bad_signature",
        /// It is good from a later time on.
        NotYetValid = "not_yet_valid",
        /// It has no end.
        NoExpiry = "no_expiry",
        /// Another issuer made it.
        WrongIssuer = "wrong_issuer",
        /// It is for another audience, or for none.
        WrongAudience = "wrong_audience",
        /// It is nobody's.
        AnonymousRole = "anonymous_role",
        /// It asks for the rights of the service, which its key does not give.
        NoServiceRights = "no_service_rights",
        /// It is a user's and does not say of which.
        NoSubject = "no_subject",
        /// It was good.
        Expired = "expired",
    }
}

impl TokenFault {
    /// For a person: what is wrong with it. No part of the token stands there.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Malformed => "it is no JWT",
            Self::Encrypted => "it is encrypted (a JWE), and only signed ones can be read",
            Self::ApiKey => {
                "it is an API key of Supabase and no JWT; a user sends the access token of their session, and a backend a token that is signed with jwt-secret"
            }
            Self::WrongAlgorithm => "it is signed with another algorithm than the key's",
            Self::UnknownExtension => "it needs an extension that is not known",
            Self::UnknownKey => "it is signed with a key that is not known",
            Self::KeyUnavailable => "it is signed with a key that is not known yet",
            Self::AmbiguousKey => "it does not say which key it is signed with",
            Self::BadSignature => "its signature is wrong",
            Self::NotYetValid => "it is not valid yet, or its `nbf` is not a time",
            Self::NoExpiry => "its `exp` is missing or not a time",
            Self::WrongIssuer => "it is of another issuer, or does not say of which",
            Self::WrongAudience => "it is for another audience, or does not say for which",
            Self::AnonymousRole => "its role is `anon`, which is nobody's; the token of a user is needed",
            Self::NoServiceRights => {
                "its role is `service_role`, and only jwt-service-claim gives tokens of the JWKS the rights of the service"
            }
            Self::NoSubject => "it has no `sub` that can be used: a text of 1 to 255 characters",
            Self::Expired => "it has expired",
        }
    }
}
