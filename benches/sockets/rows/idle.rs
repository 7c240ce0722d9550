//! What many people cost who only send beats.

use std::time::{Duration, Instant};

use serde_json::json;

use super::Measured;
use crate::crowd::Crowd;
use crate::subject::{Kind, Subject};

const PEOPLE: usize = 18_000;
const ROOM: usize = 10;
const BEAT: Duration = Duration::from_secs(30);

/// Share of one core of the server, in percent, over two beats of each person, spread evenly.
pub fn measure(subject: &dyn Subject) -> anyhow::Result<Measured> {
    let mut crowd = Crowd::settled(subject, PEOPLE, ROOM, Duration::from_secs(5))?;
    let (cpu, started) = (subject.process().cpu_seconds()?, Instant::now());
    let (mut sent, mut answers) = (0, 0);
    while started.elapsed() < 2 * BEAT {
        let due = (started.elapsed().as_secs_f64() / BEAT.as_secs_f64() * PEOPLE as f64) as usize;
        while sent < due {
            crowd.send(sent % PEOPLE, &subject.beat(sent / PEOPLE))?;
            sent += 1;
        }
        let count = |_, kind, _: &[u8]| answers += usize::from(kind == Kind::Answer);
        let end = Instant::now() + Duration::from_millis(5);
        crowd.until("beats", count, || Instant::now() >= end)?;
    }
    let seconds = started.elapsed().as_secs_f64();
    let cpu = subject.process().cpu_seconds()? - cpu;
    anyhow::ensure!(answers * 100 > sent * 95, "{answers} of {sent} beats were answered");
    Ok(Measured {
        value: cpu / seconds * 100.0,
        unit: "% of one core",
        detail: json!({"beats": sent, "answers": answers, "seconds": seconds}),
    })
}
