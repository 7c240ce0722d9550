//! Memory per idle participant in rooms of ten.

use std::time::Duration;

use serde_json::json;

use super::Measured;
use crate::crowd::Crowd;
use crate::subject::Subject;

/// People in a room.
const ROOM: usize = 10;

/// Resident memory, less what the server held after a first hundred had joined and left.
pub fn measure(subject: &dyn Subject, people: usize) -> anyhow::Result<Measured> {
    drop(Crowd::settled(subject, 100, ROOM, Duration::from_millis(100))?);
    std::thread::sleep(Duration::from_secs(2));
    let before = subject.process().resident_kib()?;
    let crowd = Crowd::settled(subject, people, ROOM, Duration::from_secs(8))?;
    let after = subject.process().resident_kib()?;
    drop(crowd);
    Ok(Measured {
        value: (after - before) / people as f64,
        unit: "KiB",
        detail: json!({"before_kib": before, "after_kib": after, "sockets": people}),
    })
}
