//! Display names and the other short texts that people and their apps choose.

use std::str::FromStr;

use super::refusal::Refusal;
use crate::domain::user_session::ClientSession;

/// The longest display name, in characters.
pub const MAX_NAME_CHARS: usize = 80;

/// A display name: trimmed, 1 to 80 characters, no control characters.
///
/// # Errors
/// `invalid_request` that names the field.
pub fn display_name(text: &str) -> Result<String, Refusal> {
    short_text("name", text, MAX_NAME_CHARS)
}

/// A trimmed text of 1 to `most` characters without control characters.
///
/// # Errors
/// `invalid_request` that names the field.
pub fn short_text(field: &str, text: &str, most: usize) -> Result<String, Refusal> {
    let text = text.trim();
    let length = text.chars().count();
    if length == 0 || length > most {
        return Err(Refusal::invalid(field, format!("must have 1 to {most} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(Refusal::invalid(field, "must not hold control characters"));
    }
    Ok(text.to_owned())
}

/// One of a closed set of words.
///
/// # Errors
/// `invalid_request` that lists them.
pub fn word<Word: FromStr<Err = String>>(field: &str, text: &str) -> Result<Word, Refusal> {
    text.parse().map_err(|message: String| Refusal::invalid(field, message))
}

/// A user session's id, as its client made it: what it is known by, so nothing is trimmed.
///
/// # Errors
/// `invalid_request` that names the field.
pub fn client_session(field: &str, text: &str) -> Result<ClientSession, Refusal> {
    ClientSession::new(text).map_err(|message| Refusal::invalid(field, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::user_session::Platform;

    #[test]
    fn names_are_trimmed_and_bounded() {
        assert_eq!(display_name("  Ada Lovelace ").as_deref(), Ok("Ada Lovelace"));
        assert_eq!(display_name(&"🂡".repeat(80)).map(|name| name.chars().count()), Ok(80));
        for name in ["", "   ", "a\u{7}b", "a\nb", "\u{0}", &"x".repeat(81)] {
            let refusal = display_name(name).expect_err(name);
            assert_eq!(refusal.errors[0].field, "name");
        }
    }

    #[test]
    fn words_are_of_a_closed_set() {
        assert_eq!(word("platform", "web"), Ok(Platform::Web));
        let refusal = word::<Platform>("platform", "Web").expect_err("no platform");
        assert_eq!(
            refusal.errors[0].message,
            "must be one of web, ios-external, ios-internal, ios-widget, macos-internal"
        );
    }
}
