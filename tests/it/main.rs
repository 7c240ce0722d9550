//! Tests through the real server, with a real PostgreSQL and real sockets. One binary, a file per
//! behaviour; what they share is in `harness`.

mod harness;

mod presence;
