//! Display names and the other short texts that people and their apps choose.

use super::refusal::Refusal;

/// The longest display name, in characters.
pub const MAX_NAME_CHARS: usize = 80;

/// The platforms of user sessions.
pub const PLATFORMS: [&str; 5] = ["web", "ios-external", "ios-internal", "ios-widget", "macos-internal"];

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

/// One of the platforms.
///
/// # Errors
/// `invalid_request` that lists them.
pub fn platform(text: &str) -> Result<&'static str, Refusal> {
    PLATFORMS
        .into_iter()
        .find(|platform| *platform == text)
        .ok_or_else(|| Refusal::invalid("platform", format!("must be one of {}", PLATFORMS.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn platforms_are_a_closed_set() {
        assert_eq!(platform("web"), Ok("web"));
        assert!(platform("Web").is_err());
    }
}
