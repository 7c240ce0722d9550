//! What goes over the wire: refusals and their codes, frames as types and bytes.
//!
//! `v1` is the JSON protocol `lastseen.v1`; a second protocol stands beside it, with a [`Codec`] of its own.

pub mod code;
pub mod codec;
pub mod json;
pub mod name;
pub mod problem;
pub mod refusal;
pub mod v1;
mod values;

pub use code::Code;
pub use codec::Codec;
pub use refusal::{FieldError, Refusal};
