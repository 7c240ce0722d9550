//! The rows of the table, one file each.

pub mod beats;
pub mod fanout;
pub mod memory;

use serde_json::Value;

/// What a row gives.
pub struct Measured {
    pub value: f64,
    pub unit: &'static str,
    pub detail: Value,
}
