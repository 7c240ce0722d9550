//! A thousand people join one room at once, and all see all.

use std::cell::{Cell, RefCell};
use std::time::Instant;

use serde_json::json;

use super::{Measured, Views};
use crate::crowd::{Crowd, JOINS_AT_ONCE, SocketEvent};
use crate::subject::{Kind, Subject};

const PEOPLE: usize = 1_000;

/// CPU seconds of the server beside admission, which is what the same people cost in rooms of their own.
pub fn measure(subject: &dyn Subject) -> anyhow::Result<Measured> {
    let alone = {
        let mut crowd = Crowd::new(subject, PEOPLE, 1)?;
        let cpu = subject.process().cpu_seconds()?;
        crowd.join_all(JOINS_AT_ONCE, |_, _| {})?;
        subject.process().cpu_seconds()? - cpu
    };
    std::thread::sleep(super::QUIET);

    let mut crowd = Crowd::new(subject, PEOPLE, PEOPLE)?;
    let views = RefCell::new(Views::new(PEOPLE));
    let cpu = subject.process().cpu_seconds()?;
    let admitted = Cell::new(Instant::now());
    let joining = crowd.join_all(JOINS_AT_ONCE, |person, event| {
        let SocketEvent::Message(kind, text) = event else { return };
        views.borrow_mut().fold(subject, person, text);
        if kind == Kind::Welcome {
            admitted.set(Instant::now());
        }
    })?;
    let fold = |person, _, text: &[u8]| views.borrow_mut().fold(subject, person, text);
    let all = || views.borrow().all_see(PEOPLE);
    crowd.until("everybody to see everybody", fold, all)?;
    let converged = admitted.get().elapsed();
    // What is still on its way was sent for this as well.
    crowd.idle(super::QUIET)?;
    let together = subject.process().cpu_seconds()? - cpu;
    Ok(Measured {
        value: together - alone,
        unit: "CPU s beside admission",
        detail: json!({
            "frames": crowd.frames,
            "bytes": crowd.bytes,
            "converged_seconds": converged.as_secs_f64(),
            "joining_seconds": joining.as_secs_f64(),
            "cpu_alone": alone,
            "cpu_together": together,
            "sent_away": crowd.sent_away,
        }),
    })
}
