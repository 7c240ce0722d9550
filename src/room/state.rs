//! The public state of a participant.

use crate::domain::document::Document;

/// The public state of a participant: a JSON object that the room does not look into.
pub type State = Document;
