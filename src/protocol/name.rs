//! Display names and the other short texts that people and their apps choose.

use std::str::FromStr;

use icu_properties::CodePointSetData;
use icu_properties::props::DefaultIgnorableCodePoint;

use super::refusal::Refusal;
use crate::domain::user_session::ClientSession;

/// The longest display name, in characters.
pub const MAX_NAME_CHARS: usize = 80;

/// Characters that are drawn as nothing, and that Unicode counts neither as white space nor as ignorable: the blank of
/// Braille, marks of annotations, and blanks and fillers of scripts.
const BLANK: [char; 8] =
    ['\u{2800}', '\u{fff9}', '\u{fffa}', '\u{fffb}', '\u{13441}', '\u{13442}', '\u{16fe4}', '\u{1d159}'];

/// A display name: without what turns the text around it, trimmed, 1 to 80 characters of which one can be seen, no
/// control characters.
///
/// # Errors
/// `invalid_request` that names the field.
pub fn display_name(text: &str) -> Result<String, Refusal> {
    short_text("name", text, MAX_NAME_CHARS)
}

/// A trimmed text of 1 to `most` characters without control characters, of which one can be seen. Embeddings, overrides
/// and isolates of directions are taken out: one that is not closed turns what stands beside the text on every page that
/// shows it. (Marks like U+200F have an effect within the text alone.)
///
/// # Errors
/// `invalid_request` that names the field.
pub fn short_text(field: &str, text: &str, most: usize) -> Result<String, Refusal> {
    let text: String = text.chars().filter(|&c| !turns_text(c)).collect();
    let text = text.trim();
    let length = text.chars().count();
    if length == 0 || length > most {
        return Err(Refusal::invalid(field, format!("must have 1 to {most} characters")));
    }
    if text.chars().any(char::is_control) {
        return Err(Refusal::invalid(field, "must not hold control characters"));
    }
    if !text.chars().any(is_visible) {
        return Err(Refusal::invalid(field, "must have a character that can be seen"));
    }
    Ok(text.to_owned())
}

/// Whether the character is drawn. The same rule is in SQL, `lastseen.can_be_seen()`, and in the page,
/// `static/room/entrance.js`.
pub fn is_visible(c: char) -> bool {
    !c.is_whitespace()
        && !c.is_control()
        && !CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(c)
        && !BLANK.contains(&c)
}

/// Whether the character embeds, overrides or isolates a direction, or ends that.
fn turns_text(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
    fn of_a_name_something_can_be_seen() {
        for name in [
            "\u{200b}",
            "\u{2060}\u{feff}",
            "\u{3164}",
            "\u{115f}\u{1160}",
            "\u{2800}",
            "\u{ad}",
            "\u{fe0f}",
            "\u{e0041}",
            "\u{202e}",
            "\u{2066} \u{2069}",
            "\u{180e}\u{34f}",
        ] {
            assert_eq!(display_name(name).expect_err(name).errors[0].field, "name", "{name:?}");
        }
        // Joiners, variation selectors and marks of direction belong to names and emoji.
        for name in ["👩\u{200d}💻", "❤\u{fe0f}", "نام\u{200c}ها", "\u{200f}שלום", "é", "e\u{301}", "-", "𓀀"]
        {
            assert_eq!(display_name(name).as_deref(), Ok(name), "{name:?}");
        }
    }

    #[test]
    fn a_name_turns_no_other_text() {
        for (given, kept) in [
            ("\u{202e}adA", "adA"),
            ("\u{2068}Ada\u{2069}", "Ada"),
            (" \u{202b} Ada\u{202c} ", "Ada"),
            ("A\u{2066}d\u{202d}a", "Ada"),
        ] {
            assert_eq!(display_name(given).as_deref(), Ok(kept));
        }
        let longest = format!("\u{2068}{}\u{2069}", "x".repeat(80));
        assert!(display_name(&longest).is_ok(), "they do not count");
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
