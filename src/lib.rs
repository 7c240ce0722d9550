//! lastseen: a realtime WebSocket presence server for collaborative sessions, backed by PostgreSQL.
//!
//! ARCHITECTURE.md has the map and the walks through it. Imports point down only:
//! `command → server → api → socket → app → simulator → sit → task → admission → store → identity → load → protocol → metrics → {log, room, user_session} → {config, clock, open_files} → domain`.

pub mod admission;
pub mod api;
pub mod app;
pub mod clock;
pub mod command;
pub mod config;
pub mod domain;
pub mod identity;
pub mod load;
pub mod log;
pub mod metrics;
pub mod open_files;
pub mod protocol;
pub mod room;
pub mod server;
pub mod simulator;
pub mod sit;
pub mod socket;
pub mod store;
pub mod task;
pub mod user_session;
