//! JSON that is kept for clients and given back to them.

use serde_json::{Number, Value};

use super::refusal::Refusal;

/// The largest object that is kept for a client, in bytes of JSON.
pub const MAX_OBJECT_BYTES: usize = 8192;

/// Sees that an object can be kept: small enough, and something that the database takes.
///
/// # Errors
/// `invalid_request` that names the field.
pub fn keepable(field: &str, object: &Value) -> Result<(), Refusal> {
    if has_nul(object) {
        return Err(Refusal::invalid(field, "must not hold the character U+0000"));
    }
    if object.to_string().len() > MAX_OBJECT_BYTES {
        return Err(Refusal::invalid(field, "must not be larger than 8 KiB"));
    }
    Ok(())
}

/// A whole number, also one that is written like `3.0`, which is the same number in JSON.
pub fn whole(number: &Number) -> Option<i128> {
    /// The largest whole number below which a double represents every one.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    #[expect(clippy::cast_possible_truncation, reason = "it has no fraction and fits")]
    number.as_i128().or_else(|| {
        number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() <= EXACT).map(|float| float as i128)
    })
}

/// Whether the character U+0000 is in it, which JSONB cannot hold.
pub fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(values) => values.iter().any(has_nul),
        Value::Object(fields) => fields.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn numbers_are_whole_however_they_are_written() {
        let of = |text: &str| whole(&serde_json::from_str(text).expect("a number"));
        for (text, number) in
            [("7", 7), ("7.0", 7), ("-0.0", 0), ("7e2", 700), ("18446744073709551615", u64::MAX.into())]
        {
            assert_eq!(of(text), Some(number), "{text}");
        }
        for text in ["7.5", "1e300", "18446744073709551616"] {
            assert_eq!(of(text), None, "{text}");
        }
    }

    #[test]
    fn what_can_be_kept_is_bounded() {
        // {"a":"…"} is eight bytes around the text.
        let of = |bytes: usize| json!({"a": "x".repeat(bytes - 8)});
        assert_eq!(keepable("metadata", &of(MAX_OBJECT_BYTES)), Ok(()));
        for object in [of(MAX_OBJECT_BYTES + 1), json!({"a": ["\0"]}), json!({"\0": 1})] {
            assert_eq!(keepable("metadata", &object).expect_err("too much").errors[0].field, "metadata");
        }
    }
}
