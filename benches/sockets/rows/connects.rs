//! Joins a second with full admission.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Measured;
use crate::crowd::{Crowd, JOINS_AT_ONCE};
use crate::subject::Subject;

const PEOPLE: usize = 10_000;
const ROOM: usize = 10;

/// Joins a second into rooms of ten, from the handshake to the welcome.
pub fn measure(subject: &dyn Subject) -> anyhow::Result<Measured> {
    drop(Crowd::settled(subject, 100, ROOM, Duration::from_secs(1))?);
    let mut crowd = Crowd::new(subject, PEOPLE, ROOM)?;
    let (cpu, started) = (subject.process().cpu_seconds()?, Instant::now());
    crowd.join_all(JOINS_AT_ONCE, |_, _| {})?;
    let seconds = started.elapsed().as_secs_f64();
    let cpu = subject.process().cpu_seconds()? - cpu;
    Ok(Measured {
        value: PEOPLE as f64 / seconds,
        unit: "joins a second",
        detail: json!({
            "cpu_us_per_join": cpu / PEOPLE as f64 * 1e6,
            "joins": PEOPLE,
            "at_once": JOINS_AT_ONCE,
            "sent_away": crowd.sent_away,
        }),
    })
}
