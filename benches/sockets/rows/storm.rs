//! All connections are cut at once, and all people come back.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::ensure;
use serde_json::json;

use super::Measured;
use crate::crowd::{Crowd, JOINS_AT_ONCE, PATIENCE, SocketEvent};
use crate::lastseen::Lastseen;
use crate::subject::{Kind, Subject};

const ROOM: usize = 11;
/// Of each room all but one are cut off: 15,000.
const PEOPLE: usize = 1_500 * ROOM;

/// The client waits a random time up to this before it reconnects, and up to `LONGEST` after more failures.
const FIRST: f64 = 5.0;
const LONGEST: f64 = 30.0;

/// Longer than the grace of 30 s.
const AFTERMATH: Duration = Duration::from_secs(35);

/// The pause between HTTP calls that read the database.
const ASKS: Duration = Duration::from_millis(50);

/// Seconds from the cut until all are back, with no leave, no person twice, and HTTP calls answered meanwhile.
pub fn measure(subject: &Lastseen) -> anyhow::Result<Measured> {
    let mut crowd = Crowd::new(subject, PEOPLE, ROOM)?;
    let rooms = crowd.rooms.clone();
    let resume_paths = RefCell::new(vec![String::new(); PEOPLE]);
    crowd.join_all(JOINS_AT_ONCE, |person, event| {
        if let SocketEvent::Message(Kind::Welcome, text) = event {
            resume_paths.borrow_mut()[person] = subject.resume_path(&rooms[person / ROOM], person, text);
        }
    })?;
    // As clients do: one that was cut before it had sent anything would not be expected back.
    for person in 0..PEOPLE {
        crowd.send(person, &subject.beat(0))?;
    }
    crowd.idle(Duration::from_secs(5))?;

    let (over, leaves) = (AtomicBool::new(false), Cell::new(0));
    let watch = |person: usize, text: &[u8]| {
        if !is_cut(person) {
            subject.people(text, &mut |_, here| leaves.set(leaves.get() + usize::from(!here)));
        }
    };
    let (storm, bystander) = std::thread::scope(|scope| {
        let bystander = scope.spawn(|| subject.bystander(ASKS, &over));
        let storm = come_back(&mut crowd, &resume_paths.borrow(), watch);
        over.store(true, Ordering::Relaxed);
        (storm, bystander.join().expect("the bystander does not panic"))
    });
    let (storm, bystander) = (storm?, bystander?);

    // Longer than the grace: the leave of a person who was given up would have been sent by now.
    let end = Instant::now() + AFTERMATH;
    crowd.until("the grace to be over", |person, _, text| watch(person, text), || Instant::now() >= end)?;
    let wrong = subject.rooms_without(&rooms, ROOM)?;
    Ok(Measured {
        value: storm.seconds,
        unit: "s until all are back",
        detail: json!({
            "cut": storm.cut,
            "attempts": storm.attempts,
            "leaves_told": leaves.get(),
            "rooms_that_disagree": wrong,
            "bystander_calls": bystander.calls,
            "bystander_failures": bystander.failures,
            "bystander_longest_ms": bystander.longest.as_secs_f64() * 1e3,
        }),
    })
}

/// One person in each room stays connected, and counts leaves.
fn is_cut(person: usize) -> bool {
    !person.is_multiple_of(ROOM)
}

struct Storm {
    seconds: f64,
    cut: usize,
    attempts: usize,
}

fn come_back(crowd: &mut Crowd, resume_paths: &[String], watch: impl Fn(usize, &[u8])) -> anyhow::Result<Storm> {
    let started = Instant::now();
    let after = |longest: f64| started.elapsed() + Duration::from_secs_f64(rand::random::<f64>() * longest);
    // Reconnects that are due, by time.
    let mut waiting = BinaryHeap::new();
    for person in (0..PEOPLE).filter(|person| is_cut(*person)) {
        crowd.cut(person);
        waiting.push(Reverse((after(FIRST), person)));
    }
    let mut failures = vec![0; PEOPLE];
    let (cut, mut back, mut attempts) = (waiting.len(), 0, 0);
    while back < cut {
        while let Some(&Reverse((due, person))) = waiting.peek()
            && due <= started.elapsed()
        {
            waiting.pop();
            attempts += 1;
            crowd.open_at(person, &resume_paths[person])?;
        }
        crowd.turn(Duration::from_millis(2), |person, event| match event {
            SocketEvent::Message(kind, text) => {
                back += usize::from(kind == Kind::Welcome);
                watch(person, text);
            }
            SocketEvent::Ended(_) => {
                failures[person] += 1;
                let longest = (FIRST * f64::powi(2.0, failures[person])).min(LONGEST);
                waiting.push(Reverse((after(longest), person)));
            }
        })?;
        ensure!(started.elapsed() < PATIENCE, "{back} of {cut} were back within {PATIENCE:?}");
    }
    Ok(Storm { seconds: started.elapsed().as_secs_f64(), cut, attempts })
}
