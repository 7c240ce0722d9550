//! JSON that is kept for clients and given back to them.

use serde_json::Value;

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
    fn what_can_be_kept_is_bounded() {
        // {"a":"…"} is eight bytes around the text.
        let of = |bytes: usize| json!({"a": "x".repeat(bytes - 8)});
        assert_eq!(keepable("metadata", &of(MAX_OBJECT_BYTES)), Ok(()));
        for object in [of(MAX_OBJECT_BYTES + 1), json!({"a": ["\0"]}), json!({"\0": 1})] {
            assert_eq!(keepable("metadata", &object).expect_err("too much").errors[0].field, "metadata");
        }
    }
}
