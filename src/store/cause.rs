//! A fault of the database in words, on one line: PostgreSQL's message, detail and hint. What sqlx makes of an error has
//! neither detail nor hint, and a line number of PostgreSQL's own sources.

use sqlx::Error;
use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

/// Classes of errors whose detail holds values of a row: data exceptions, constraints, views, and what triggers raise.
const ABOUT_VALUES: [&str; 4] = ["22", "23", "44", "P0"];

/// How PgBouncer refuses what it does not bear, with what to do about it.
const OF_POOLERS: [(&str, &str); 2] = [
    (
        "unsupported startup parameter",
        "A pooler refuses it: take it out of the URL, or let the pooler ignore it (ignore_startup_parameters)",
    ),
    (
        "transaction blocks not allowed in statement pooling mode",
        "lastseen needs a pooler that keeps transactions together (pool_mode = transaction or session)",
    ),
];

/// The error in words, without any value of a row.
pub(super) fn in_words(error: &Error) -> String {
    let text = match error {
        Error::Database(refusal) => of_refusal(refusal.as_ref()),
        Error::Io(fault) => fault.to_string(),
        Error::Configuration(fault) | Error::Tls(fault) => fault.to_string(),
        Error::PoolTimedOut => "no connection became free in time".to_owned(),
        other => other.to_string(),
    };
    one_line(&text)
}

/// The error with its detail alone: where the hint is for a statement that a person wrote.
pub(super) fn with_detail(error: &Error) -> String {
    match error.as_database_error().and_then(|refusal| refusal.try_downcast_ref::<PgDatabaseError>()) {
        Some(refusal) => one_line(&sentences([Some(refusal.message()), refusal.detail(), None])),
        None => in_words(error),
    }
}

fn of_refusal(refusal: &dyn DatabaseError) -> String {
    let Some(refusal) = refusal.try_downcast_ref::<PgDatabaseError>() else { return refusal.message().to_owned() };
    let is_about_values = refusal.code().get(..2).is_some_and(|class| ABOUT_VALUES.contains(&class));
    let detail = refusal.detail().filter(|_| !is_about_values);
    let of_a_pooler = OF_POOLERS.iter().find(|(message, _)| refusal.message().contains(message));
    sentences([Some(refusal.message()), detail, of_a_pooler.map(|(_, hint)| *hint).or(refusal.hint())])
}

fn sentences(parts: [Option<&str>; 3]) -> String {
    let parts: Vec<_> = parts.into_iter().flatten().map(|part| part.trim().trim_end_matches('.')).collect();
    parts.join(". ")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn message_detail_and_hint_are_sentences_of_one_line() {
        let text = sentences([Some("permission denied."), Some("The role\n  lacks it."), Some("Grant it.")]);
        assert_eq!(one_line(&text), "permission denied. The role lacks it. Grant it");
        assert_eq!(sentences([Some("no"), None, None]), "no");
    }

    #[test]
    fn what_is_no_refusal_of_postgresql_is_said_without_sqlx() {
        let refused = std::io::Error::new(std::io::ErrorKind::ConnectionRefused, "refused");
        assert_eq!(in_words(&Error::Io(refused)), "refused");
        assert!(!in_words(&Error::PoolTimedOut).contains("pool"));
    }
}
