//! Tests through the real server, with a real PostgreSQL and real sockets. One binary, a file per
//! behaviour; what they share is in `harness`.

mod harness;

mod admin_socket;
mod analytics;
mod architecture;
mod auth_users;
mod bounds;
mod check_ins;
mod closing_rules;
mod commands;
mod compat;
mod connections;
mod database_away;
mod documentation;
mod events;
mod failover;
mod flush;
mod http_connections;
mod identity;
mod invites;
mod knocking;
mod large_rooms;
mod limits;
mod liveness;
mod load;
mod locks;
mod log;
mod malformed;
mod open_files;
mod openapi;
mod operations;
mod presence;
mod quick_check;
mod reading_sessions;
mod refusals;
mod refused_rows;
mod room_sits;
mod rounds;
mod row_security;
mod row_security_walk;
mod rows_of_users;
mod schema;
mod schema_18;
mod schema_by_hand;
mod schema_elsewhere;
mod simulators;
#[cfg(feature = "kubernetes")]
mod simulators_kubernetes;
mod sits;
mod start_stop;
mod sweep;
mod uninstall;
mod user_session_sockets;
mod user_sessions;
mod words;
