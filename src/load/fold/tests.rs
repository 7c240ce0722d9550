use proptest::prelude::*;
use serde::Deserialize;
use uuid::Uuid;

use super::*;
use crate::load::chunks::{Assembler, Received as Framed};
use crate::load::frame::{Frame, Leave, More, Welcome};

/// Participants are numbers here, and in `tests/js/fold.json`.
fn id(number: u8) -> ParticipantId {
    ParticipantId(Uuid::from_u128(u128::from(number)))
}

fn person(number: u8, connections: u32) -> Arc<Person> {
    Arc::new(Person {
        id: id(number),
        user_id: None,
        name: number.to_string().into(),
        role: "guest".into(),
        status: "active".into(),
        quality: None,
        connections,
        joined_at: "2026-11-21T09:30:00.000Z".into(),
        state: serde_json::json!({}),
    })
}

fn people(numbers: &[u8]) -> Vec<Arc<Person>> {
    numbers.iter().map(|number| person(*number, 1)).collect()
}

#[derive(Deserialize)]
struct Case {
    case: String,
    frames: Vec<Received>,
    #[serde(default)]
    gaps: usize,
    view: Expected,
}

#[derive(Deserialize)]
struct Expected {
    seq: u64,
    occupancy: usize,
    people: Vec<u8>,
}

/// A frame, in the words of the file.
#[derive(Clone, Default, Deserialize)]
#[serde(default)]
struct Received {
    r#type: String,
    seq: u64,
    you: Option<u8>,
    occupancy: Option<usize>,
    people: Vec<u8>,
    joins: Vec<u8>,
    updates: Vec<u8>,
    leaves: Vec<u8>,
    chunk: Option<usize>,
    chunks: Option<usize>,
}

impl Received {
    fn frame(&self) -> Framed {
        let leaves = || self.leaves.iter().map(|number| Leave { id: id(*number), reason: Reason::Left }).collect();
        let (seq, occupancy) = (self.seq, self.occupancy.unwrap_or(self.people.len()));
        let (participants, joins, updates) = (people(&self.people), people(&self.joins), people(&self.updates));
        let welcome = Welcome { you: self.you.map(id), resume: None, beat_ms: 0, grace_ms: 0 };
        let frame = match &*self.r#type {
            "welcome" => Frame::Welcome(welcome, Snapshot { seq, occupancy, participants }),
            "state" => Frame::State(Snapshot { seq, occupancy, participants }),
            "diff" => Frame::Diff(Arc::new(Diff { seq, occupancy, joins, updates, leaves: leaves() })),
            "more" => Frame::More(Arc::new(More { seq, participants, joins, updates, leaves: leaves() })),
            "occupancy" => Frame::Occupancy { seq, occupancy },
            _ => Frame::Other,
        };
        Framed { frame, chunk: self.chunk.unwrap_or(1), chunks: self.chunks.unwrap_or(1) }
    }
}

/// What a whole message changes.
fn fold(view: &mut View, frame: &Frame) -> Option<Folded> {
    match frame {
        Frame::Welcome(welcome, snapshot) => Some(view.welcome(welcome.you, snapshot)),
        Frame::State(snapshot) => Some(view.snapshot(snapshot)),
        Frame::Diff(diff) => view.diff(diff),
        Frame::Occupancy { seq, occupancy } => view.count(*seq, *occupancy),
        _ => None,
    }
}

#[test]
fn the_cases_of_the_browser_client_hold_here_too() {
    let cases: Vec<Case> = serde_json::from_str(include_str!("../../../tests/js/fold.json")).expect("cases");
    assert!(cases.len() > 10, "{} cases", cases.len());
    for Case { case, frames, gaps, view: expected } in cases {
        let (mut view, mut assembler) = (View::default(), Assembler::default());
        let whole = frames.iter().filter_map(|received| assembler.take(received.frame()).ok().flatten());
        let missing = whole.filter_map(|frame| fold(&mut view, &frame)?.missing).count();
        assert_eq!(missing, gaps, "{case}");
        assert_eq!((view.seq(), view.occupancy()), (expected.seq, expected.occupancy), "{case}");
        let seen: Vec<_> = view.people().keys().copied().collect();
        assert_eq!(seen, expected.people.iter().map(|number| id(*number)).collect::<Vec<_>>(), "{case}");
    }
}

#[test]
fn a_view_knows_whether_it_has_a_list() {
    let mut view = View::default();
    view.welcome(Some(id(1)), &Snapshot { seq: 1, occupancy: 900, participants: people(&[1]) });
    assert!(view.is_counted());
    view.snapshot(&Snapshot { seq: 2, occupancy: 2, participants: people(&[1, 2]) });
    assert!(!view.is_counted());
    // A participant is missing in it, which only a comparison with the server shows.
    view.snapshot(&Snapshot { seq: 3, occupancy: 3, participants: people(&[1, 2]) });
    assert!(!view.is_counted());
    view.count(4, 900);
    assert!(view.is_counted());
}

/// What happens in a room.
#[derive(Clone, Debug)]
enum Happens {
    Comes(u8),
    Changes(u8),
    Goes(u8),
    /// A tick: what has gathered is sent as one diff, unless it is lost on the way.
    Tick {
        lost: bool,
    },
    /// A subscriber that fell behind gets a snapshot while changes are gathering.
    Snapshot,
}

fn happens() -> impl Strategy<Value = Happens> {
    // Number 0 is the client whose view is tested, and stays.
    prop_oneof![
        4 => (1..12_u8).prop_map(Happens::Comes),
        3 => (0..12_u8).prop_map(Happens::Changes),
        3 => (1..12_u8).prop_map(Happens::Goes),
        4 => prop::bool::weighted(0.1).prop_map(|lost| Happens::Tick { lost }),
        1 => Just(Happens::Snapshot),
    ]
}

/// A room as the server keeps it: changes gather until a tick sends their net result.
struct Model {
    seq: u64,
    people: BTreeMap<ParticipantId, Arc<Person>>,
    /// The participants of the next diff, and whether each was present at the last one.
    gathered: BTreeMap<ParticipantId, bool>,
    limit: usize,
    was_over: bool,
}

impl Model {
    fn touch(&mut self, id: ParticipantId) {
        let was_here = self.people.contains_key(&id);
        self.gathered.entry(id).or_insert(was_here);
    }

    fn snapshot(&mut self) -> Snapshot {
        let over = self.people.len() > self.limit;
        // A subscriber without a list needs one when the next diff has participants again.
        self.was_over |= over;
        let listed = self.people.iter().filter(|(one, _)| !over || **one == id(0));
        let participants = listed.map(|(_, person)| Arc::clone(person)).collect();
        Snapshot { seq: self.seq, occupancy: self.people.len(), participants }
    }

    fn tick(&mut self, view: &mut View, lost: bool) -> Option<u64> {
        let over = self.people.len() > self.limit;
        let was_over = std::mem::replace(&mut self.was_over, over);
        // A room that lists its participants again sends a snapshot, which takes no `seq`.
        self.seq += u64::from(over || !was_over);
        let gathered = std::mem::take(&mut self.gathered);
        if lost {
            return None;
        }
        let folded = if over {
            view.count(self.seq, self.people.len())
        } else if was_over {
            Some(view.snapshot(&self.snapshot()))
        } else {
            let mut diff =
                Diff { seq: self.seq, occupancy: self.people.len(), joins: vec![], updates: vec![], leaves: vec![] };
            for (id, was_here) in gathered {
                match self.people.get(&id) {
                    Some(person) if was_here => diff.updates.push(Arc::clone(person)),
                    Some(person) => diff.joins.push(Arc::clone(person)),
                    None => diff.leaves.push(Leave { id, reason: Reason::Left }),
                }
            }
            view.diff(&diff)
        };
        folded.and_then(|folded| folded.missing)
    }
}

proptest! {
    #[test]
    fn after_gaps_overlaps_and_floods_the_view_is_the_room(
        story in prop::collection::vec(happens(), 1..200),
        limit in prop_oneof![Just(6_usize), Just(100)],
    ) {
        let mut model = Model {
            seq: 41,
            people: BTreeMap::from([(id(0), person(0, 1))]),
            gathered: BTreeMap::new(),
            limit,
            was_over: false,
        };
        let mut view = View::default();
        view.welcome(Some(id(0)), &model.snapshot());
        let mut lost_one = false;
        for happens in story {
            match happens {
                Happens::Comes(number) => {
                    model.touch(id(number));
                    model.people.entry(id(number)).or_insert_with(|| person(number, 1));
                }
                Happens::Changes(number) if model.people.contains_key(&id(number)) => {
                    model.touch(id(number));
                    let connections = model.people[&id(number)].connections + 1;
                    model.people.insert(id(number), person(number, connections));
                }
                Happens::Changes(_) => {}
                Happens::Goes(number) => {
                    if model.people.contains_key(&id(number)) {
                        model.touch(id(number));
                        model.people.remove(&id(number));
                    }
                }
                Happens::Snapshot => {
                    view.snapshot(&model.snapshot());
                    lost_one = false;
                }
                Happens::Tick { lost } => {
                    let missing = model.tick(&mut view, lost);
                    lost_one |= lost;
                    prop_assert!(missing.is_none() || lost_one, "a gap where nothing was lost");
                    if !lost && lost_one {
                        // A snapshot closed the gap; any other frame shows it.
                        prop_assert_eq!(view.is_torn(), missing.is_some());
                        view.snapshot(&model.snapshot());
                        lost_one = false;
                    }
                    if !lost {
                        prop_assert_eq!(view.seq(), model.seq);
                        prop_assert_eq!(view.occupancy(), model.people.len());
                        if !view.is_counted() {
                            prop_assert_eq!(view.people(), &model.people);
                        }
                        prop_assert_eq!(view.is_counted(), model.people.len() > model.limit);
                    }
                }
            }
        }
    }
}
