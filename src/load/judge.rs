//! Compares the view of each client with the server's answer over HTTP.

use std::collections::{BTreeMap, BTreeSet};

use super::disagreement::{Disagreement, Kind};
use super::fold::View;
use super::frame::{Person, Snapshot};
use super::room::{Room, Seat};
use crate::domain::ids::ParticipantId;

/// What differs in a room at present, for each client connected to it. `truth` is the server's answer over HTTP.
pub fn disagreements(room: &Room, truth: &Snapshot) -> Vec<Disagreement> {
    let people: BTreeMap<_, _> = truth.participants.iter().map(|person| (person.id, &**person)).collect();
    let seats = room.seats();
    let mut found: Vec<_> = seats.iter().flat_map(|seat| of_seat(room, seat, truth, &people)).collect();
    for seat in seats.iter().filter(|seat| !people.contains_key(&seat.person)) {
        let detail = format!("{} is connected, and the server does not list it", seat.person);
        found.push(Disagreement::new(Kind::View, room.way.id, detail));
    }
    found
}

fn of_seat(room: &Room, seat: &Seat, truth: &Snapshot, people: &BTreeMap<ParticipantId, &Person>) -> Vec<Disagreement> {
    let mut found = Vec::new();
    let waiting = seat.beats.lock().len();
    if waiting > 0 {
        let detail = format!("{} waits for the answers to {waiting} of its beats", seat.person);
        found.push(Disagreement::new(Kind::BeatUnanswered, room.way.id, detail));
    }
    if let Some(what) = difference(&seat.view.lock(), truth, people) {
        found.push(Disagreement::new(Kind::View, room.way.id, format!("{} {what}", seat.person)));
    }
    found
}

/// The first difference between a view and the server's answer.
fn difference(view: &View, truth: &Snapshot, people: &BTreeMap<ParticipantId, &Person>) -> Option<String> {
    if view.is_torn() {
        return Some(format!("misses diffs after {} and received no state", view.seq()));
    }
    if view.occupancy() != truth.occupancy {
        return Some(format!("received an occupancy of {}, the server answers {}", view.occupancy(), truth.occupancy));
    }
    if view.is_counted() {
        return None;
    }
    let seen: BTreeSet<_> = view.people().keys().copied().collect();
    let there: BTreeSet<_> = people.keys().copied().collect();
    if let Some(id) = seen.difference(&there).next() {
        return Some(format!("sees {id}, whom the server does not list"));
    }
    if let Some(id) = there.difference(&seen).next() {
        return Some(format!("does not see {id}, whom the server lists"));
    }
    view.people().values().find_map(|person| {
        let there = people.get(&person.id)?;
        (**person != **there).then(|| format!("sees {}, the server answers {}", shown(person), shown(there)))
    })
}

fn shown(person: &Person) -> String {
    format!(
        "{} as {:?}, {}, {}, quality {}, {} connections, joined at {}, state {}",
        person.id,
        person.name,
        person.role,
        person.status,
        person.quality.as_deref().unwrap_or("unknown"),
        person.connections,
        person.joined_at,
        person.state
    )
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;
    use crate::domain::ids::SessionId;
    use crate::load::room::Invited;

    fn person(id: ParticipantId, status: &str) -> Arc<Person> {
        let text = serde_json::json!({
            "id": id, "user_id": null, "name": "Ada", "role": "guest", "status": status, "quality": null,
            "connections": 1, "joined_at": "2026-11-21T09:30:00.000Z", "last_seen_at": "…", "state": {"card": 3},
        });
        Arc::new(serde_json::from_value(text).expect("a person"))
    }

    fn snapshot(participants: Vec<Arc<Person>>) -> Snapshot {
        Snapshot { seq: 4, occupancy: participants.len(), participants }
    }

    /// A room with one client, `ids[0]`, which received these participants.
    fn room(received: Vec<Arc<Person>>) -> (Room, Arc<Seat>) {
        let room = Room::new(Invited { id: SessionId::new(), invite: String::new(), host_invite: None });
        let you = received[0].id;
        let mut view = View::default();
        view.welcome(Some(you), &snapshot(received));
        let seat = Arc::new(Seat::new(you, view));
        room.sit(&seat);
        (room, seat)
    }

    #[test]
    fn each_difference_is_named() {
        let [a, b, c] = std::array::from_fn(|_| ParticipantId::new());
        let received = || vec![person(a, "active"), person(b, "active")];
        for (truth, words) in [
            (
                vec![person(a, "active"), person(b, "active"), person(c, "active")],
                "received an occupancy of 2, the server answers 3",
            ),
            (vec![person(a, "active"), person(c, "active")], "whom the server does not list"),
            (vec![person(a, "active"), person(b, "idle")], "active, quality"),
        ] {
            let (room, _seat) = room(received());
            let found = disagreements(&room, &snapshot(truth));
            assert_eq!(found.len(), 1, "{found:?}");
            assert_eq!(found[0].kind, Kind::View);
            assert!(found[0].detail.contains(words), "{found:?}");
        }
        let (room, _seat) = room(received());
        assert_eq!(disagreements(&room, &snapshot(received())), []);
    }

    #[test]
    fn somebody_who_is_connected_and_not_listed_is_found() {
        let [a, b] = std::array::from_fn(|_| ParticipantId::new());
        let (room, _seat) = room(vec![person(a, "active")]);
        let found = disagreements(&room, &snapshot(vec![person(b, "active")]));
        assert!(found.iter().any(|one| one.detail.contains("is connected, and the server")), "{found:?}");
    }

    #[test]
    fn a_beat_without_an_answer_is_found() {
        let a = ParticipantId::new();
        let (room, seat) = room(vec![person(a, "active")]);
        seat.beats.lock().push_back((1, Instant::now()));
        let found = disagreements(&room, &snapshot(vec![person(a, "active")]));
        assert_eq!(found.iter().map(|one| one.kind).collect::<Vec<_>>(), [Kind::BeatUnanswered]);
        assert!(seat.answered(2, Instant::now()).is_none());
        assert!(seat.answered(1, Instant::now()).is_some());
        assert_eq!(disagreements(&room, &snapshot(vec![person(a, "active")])), []);
    }
}
