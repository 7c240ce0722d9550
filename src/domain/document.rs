//! JSON that is stored and never parsed.

use std::ops::Deref;
use std::sync::Arc;

use serde_json::value::RawValue;

/// A JSON document of a client or of a launcher: kept and given back as it is. Copies share the text.
#[derive(Clone, Debug)]
pub struct Document(Arc<RawValue>);

impl Document {
    /// Whether this is a copy of the other one, and not only one with the same text.
    pub fn is_copy_of(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl From<Box<RawValue>> for Document {
    fn from(json: Box<RawValue>) -> Self {
        Self(json.into())
    }
}

impl Deref for Document {
    type Target = RawValue;

    fn deref(&self) -> &RawValue {
        &self.0
    }
}
