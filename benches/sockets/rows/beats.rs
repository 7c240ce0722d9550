//! CPU of beats with answers.

use std::cell::Cell;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Measured;
use crate::crowd::Crowd;
use crate::subject::{Kind, Subject};

const PEOPLE: usize = 5_000;
const ROOM: usize = 10;
/// As many as a client may send in one go.
const ROUNDS: usize = 20;
/// Some at a time, as in production: neither one by one nor all in one instant.
const AT_ONCE: usize = 100;

/// CPU seconds of the server for 100,000 beats, every other one active.
pub fn measure(subject: &dyn Subject) -> anyhow::Result<Measured> {
    let mut crowd = Crowd::settled(subject, PEOPLE, ROOM, Duration::from_secs(3))?;
    let (cpu, started) = (subject.process().cpu_seconds()?, Instant::now());
    for round in 0..ROUNDS {
        let (beat, reference) = (subject.beat(round), format!("\"ref\":{round}"));
        for first in (0..PEOPLE).step_by(AT_ONCE) {
            for person in first..first + AT_ONCE {
                crowd.send(person, &beat)?;
            }
            let answers = Cell::new(0);
            let count = |_, kind, text: &[u8]| {
                let answered = kind == Kind::Answer && memchr::memmem::find(text, reference.as_bytes()).is_some();
                answers.set(answers.get() + usize::from(answered));
            };
            crowd.until("answers to beats", count, || answers.get() == AT_ONCE)?;
        }
    }
    let cpu = subject.process().cpu_seconds()? - cpu;
    let beats = PEOPLE * ROUNDS;
    Ok(Measured {
        value: cpu / beats as f64 * 1e5,
        unit: "CPU s per 100,000 beats",
        detail: json!({"beats": beats, "seconds": started.elapsed().as_secs_f64()}),
    })
}
