//! Ten rooms of a hundred: each person leaves and comes back, once.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;

use super::{Measured, QUIET, Views};
use crate::crowd::{Crowd, JOINS_AT_ONCE, PATIENCE, SocketEvent};
use crate::subject::{Kind, Subject};

const PEOPLE: usize = 1_000;
const ROOM: usize = 100;

/// CPU seconds of the server beside admission, which is what the same costs in rooms of one.
pub fn measure(subject: &dyn Subject) -> anyhow::Result<Measured> {
    let alone = leave_and_come_back(subject, 1)?;
    std::thread::sleep(QUIET);
    let together = leave_and_come_back(subject, ROOM)?;
    Ok(Measured {
        value: together.cpu - alone.cpu,
        unit: "CPU s beside admission",
        detail: json!({
            "frames": together.frames,
            "seconds": together.seconds,
            "cpu_alone": alone.cpu,
            "cpu_together": together.cpu,
        }),
    })
}

struct Churn {
    cpu: f64,
    frames: u64,
    seconds: f64,
}

/// People leave, `JOINS_AT_ONCE` at a time, and come back as soon as they have left.
fn leave_and_come_back(subject: &dyn Subject, per_room: usize) -> anyhow::Result<Churn> {
    let mut crowd = Crowd::new(subject, PEOPLE, per_room)?;
    let views = RefCell::new(Views::new(PEOPLE));
    let resume_paths = RefCell::new(vec![String::new(); PEOPLE]);
    let rooms = crowd.rooms.clone();
    crowd.join_all(JOINS_AT_ONCE, |person, event| {
        let SocketEvent::Message(kind, text) = event else { return };
        views.borrow_mut().fold(subject, person, text);
        if kind == Kind::Welcome {
            resume_paths.borrow_mut()[person] = subject.resume_path(&rooms[person / per_room], person, text);
        }
    })?;
    let fold = |person, _, text: &[u8]| views.borrow_mut().fold(subject, person, text);
    crowd.until("everybody to see everybody", fold, || views.borrow().all_see(per_room))?;
    crowd.idle(QUIET)?;

    let (cpu, frames, started) = (subject.process().cpu_seconds()?, crowd.frames, Instant::now());
    // Room by room in turn, so that all rooms are busy at once.
    let in_turn = (0..per_room).flat_map(|seat| (seat..PEOPLE).step_by(per_room));
    let (mut staying, mut gone) = (VecDeque::from_iter(in_turn), Vec::new());
    let (mut away, mut back) = (0, 0);
    while back < PEOPLE {
        while away < JOINS_AT_ONCE
            && let Some(person) = staying.pop_front()
        {
            away += 1;
            match subject.leave() {
                Some(leave) => crowd.send(person, &leave)?,
                None => {
                    crowd.cut(person);
                    gone.push(person);
                }
            }
        }
        for person in gone.drain(..) {
            views.borrow_mut().forget(person);
            crowd.open_at(person, &resume_paths.borrow()[person])?;
        }
        crowd.turn(Duration::from_secs(1), |person, event| match event {
            SocketEvent::Message(kind, text) => {
                views.borrow_mut().fold(subject, person, text);
                if kind == Kind::Welcome {
                    away -= 1;
                    back += 1;
                }
            }
            SocketEvent::Ended(_) => gone.push(person),
        })?;
        ensure!(started.elapsed() < PATIENCE, "{back} of {PEOPLE} were back within {PATIENCE:?}");
    }
    let fold = |person, _, text: &[u8]| views.borrow_mut().fold(subject, person, text);
    crowd.until("everybody to see everybody again", fold, || views.borrow().all_see(per_room))?;
    let seconds = started.elapsed().as_secs_f64();
    crowd.idle(QUIET)?;
    Ok(Churn { cpu: subject.process().cpu_seconds()? - cpu, frames: crowd.frames - frames, seconds })
}
