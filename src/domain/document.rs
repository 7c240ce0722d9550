//! JSON that is stored and never parsed.

use std::ops::Deref;
use std::sync::Arc;

use serde_json::value::RawValue;

/// A JSON document of a client or of a launcher: kept and given back as it is. Copies share the text.
#[derive(Clone, Debug)]
pub struct Document(Arc<RawValue>);

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
