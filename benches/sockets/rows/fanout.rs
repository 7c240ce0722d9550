//! CPU of a broadcast in a room of a thousand.

use std::cell::RefCell;
use std::time::{Duration, Instant};

use serde_json::json;

use super::Measured;
use crate::crowd::Crowd;
use crate::subject::{Kind, Subject, numbers};

const SEATS: usize = 1_000;

/// CPU seconds of the server per million deliveries: one person's new state that reached one seat.
///
/// The next message is sent when one of those in flight has reached all. People send in turn, since the
/// rate of each is limited.
pub fn measure(subject: &dyn Subject, in_flight: usize, messages: usize) -> anyhow::Result<Measured> {
    let mut crowd = Crowd::settled(subject, SEATS, SEATS, Duration::from_secs(3))?;
    let (cpu, started, frames) = (subject.process().cpu_seconds()?, Instant::now(), crowd.frames);
    let reached = RefCell::new(vec![0; messages]);
    let (mut sent, mut done) = (0, 0);
    while done < messages {
        while sent < messages && sent - done < in_flight {
            crowd.send(sent % SEATS, &subject.update(sent))?;
            sent += 1;
        }
        let count = |_, kind, text: &[u8]| {
            if matches!(kind, Kind::Change | Kind::More) {
                numbers(text).for_each(|number| reached.borrow_mut()[number] += 1);
            }
        };
        crowd.until("a message to reach everybody", count, || reached.borrow()[done] == SEATS)?;
        while done < sent && reached.borrow()[done] == SEATS {
            done += 1;
        }
    }
    let cpu = subject.process().cpu_seconds()? - cpu;
    let deliveries = messages * SEATS;
    Ok(Measured {
        value: cpu / deliveries as f64 * 1e6,
        unit: "CPU s per million deliveries",
        detail: json!({
            "in_flight": in_flight,
            "deliveries": deliveries,
            "frames": crowd.frames - frames,
            "cpu_per_million_frames": cpu / (crowd.frames - frames) as f64 * 1e6,
            "seconds": started.elapsed().as_secs_f64(),
        }),
    })
}
