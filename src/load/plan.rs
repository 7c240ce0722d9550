//! What a run is to do: how many people in which rooms, when each of them comes, for how long.

use std::net::IpAddr;
use std::str::FromStr;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};
use serde::{Deserialize, Serialize};

/// What the people do.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Profile {
    /// They come, beat, and some of them go and come
    Steady,
    /// The same, and at half-time all lines are cut at once
    Storm,
    /// The same in one room
    OneBigRoom,
    /// Many rooms of 2 to 5 people on phones: lines drop and come back, cards are turned
    Tarot,
}

impl Profile {
    /// The word on the command line and in reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Storm => "storm",
            Self::OneBigRoom => "one-big-room",
            Self::Tarot => "tarot",
        }
    }
}

/// A whole run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "`lastseen load --help` says what each is")]
pub struct Plan {
    pub url: String,
    pub profile: Profile,
    pub sessions: usize,
    pub per_session: usize,
    /// Arrivals per second.
    pub ramp: f64,
    /// How long the load is held once the last person was due.
    pub hold: Duration,
    /// The interval of beats; without it the server's.
    pub beat: Option<Duration>,
    /// The share of people per minute.
    pub churn: f64,
    /// The share of people.
    pub slow: f64,
    pub workers: usize,
    pub sources: Vec<IpAddr>,
    /// How long views may take at the end until they agree, beside twice the grace.
    pub patience: Duration,
    /// The seed of all random choices.
    pub seed: u64,
}

/// One person's place in the plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Post {
    /// The number among all people.
    pub number: usize,
    /// Which room.
    pub room: usize,
    /// The first in a room is its host, where the room has one.
    pub first: bool,
    /// Reads slowly.
    pub slow: bool,
    /// Which worker plays it.
    pub worker: usize,
    /// When it comes, from the start of the run.
    pub due: Duration,
}

impl Plan {
    /// How many people each room has.
    pub fn rooms(&self) -> Vec<usize> {
        match self.profile {
            Profile::Steady | Profile::Storm => vec![self.per_session; self.sessions],
            Profile::OneBigRoom => vec![self.sessions * self.per_session],
            Profile::Tarot => {
                let mut chance = StdRng::seed_from_u64(self.seed);
                (0..self.sessions).map(|_| chance.random_range(2..=5)).collect()
            }
        }
    }

    /// Everybody, in the order in which they come: evenly over time, and mixed over the rooms.
    pub fn posts(&self) -> Vec<Post> {
        let rooms = self.rooms();
        let mut chance = StdRng::seed_from_u64(self.seed);
        let mut posts: Vec<_> = (0..rooms.len())
            .flat_map(|room| (0..rooms[room]).map(move |place| (room, place)))
            .map(|(room, place)| Post {
                number: 0,
                room,
                first: place == 0,
                slow: chance.random_bool(self.slow),
                // A room is played by one worker, which then knows all of its people and can check leaves.
                worker: if rooms.len() >= self.workers { room } else { place } % self.workers,
                due: Duration::ZERO,
            })
            .collect();
        posts.shuffle(&mut chance);
        for (number, post) in posts.iter_mut().enumerate() {
            post.number = number;
            post.due = Duration::from_secs_f64(number as f64 / self.ramp);
        }
        posts
    }

    /// How many people there are.
    pub fn people(&self) -> usize {
        self.rooms().iter().sum()
    }

    /// When the last person is due, from the start of the run.
    pub fn ramp_time(&self) -> Duration {
        Duration::from_secs_f64(self.people().saturating_sub(1) as f64 / self.ramp)
    }
}

/// A rate per second: `500/s`, also `500`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PerSecond(pub f64);

impl FromStr for PerSecond {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix("/s").unwrap_or(text).parse() {
            Ok(rate) if f64::is_finite(rate) && rate > 0.0 => Ok(Self(rate)),
            _ => Err("write it like 500/s".to_owned()),
        }
    }
}

/// A share: `1%`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Share(pub f64);

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix('%').unwrap_or(text).parse() {
            Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(Self(percent / 100.0)),
            _ => Err("write it like 1%, from 0% to 100%".to_owned()),
        }
    }
}

/// A share per minute: `2%/min`. Over 100 % everybody drops several times.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct PerMinute(pub f64);

impl FromStr for PerMinute {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_suffix("/min").unwrap_or(text).strip_suffix('%').unwrap_or(text).parse() {
            Ok(percent) if f64::is_finite(percent) && percent >= 0.0 => Ok(Self(percent / 100.0)),
            _ => Err("write it like 2%/min".to_owned()),
        }
    }
}

/// Source addresses: `127.0.0.2`, or the range `127.0.0.2-20` of its last number.
///
/// # Errors
/// What is wrong with the text.
pub fn sources(text: &str) -> Result<Vec<IpAddr>, String> {
    let wrong = || format!("'{text}' is neither an address nor of the form 127.0.0.2-20");
    let (first, last) = text.split_once('-').unwrap_or((text, ""));
    let first: IpAddr = first.trim().parse().map_err(|_| wrong())?;
    let IpAddr::V4(address) = first else {
        return if last.is_empty() { Ok(vec![first]) } else { Err(wrong()) };
    };
    let [a, b, c, from] = address.octets();
    let to = if last.is_empty() { from } else { last.trim().parse().map_err(|_| wrong())? };
    if to < from {
        return Err(wrong());
    }
    Ok((from..=to).map(|d| IpAddr::from([a, b, c, d])).collect())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Ten rooms of four, in two workers.
    pub fn plan(profile: Profile) -> Plan {
        Plan {
            url: "http://127.0.0.1:8080".to_owned(),
            profile,
            sessions: 10,
            per_session: 4,
            ramp: 20.0,
            hold: Duration::from_secs(2),
            beat: None,
            churn: 0.0,
            slow: 0.5,
            workers: 2,
            sources: Vec::new(),
            patience: Duration::from_secs(1),
            seed: 7,
        }
    }

    #[test]
    fn everybody_has_a_place_and_a_time() {
        let plan = plan(Profile::Steady);
        let posts = plan.posts();
        assert_eq!((posts.len(), plan.people()), (40, 40));
        for room in 0..10 {
            let here: Vec<_> = posts.iter().filter(|post| post.room == room).collect();
            assert_eq!((here.len(), here.iter().filter(|post| post.first).count()), (4, 1));
            assert!(here.iter().all(|post| post.worker == here[0].worker), "a room is whole in one worker");
        }
        assert!(posts.is_sorted_by_key(|post| post.due));
        assert_eq!(posts.last().map(|post| post.due), Some(plan.ramp_time()));
        assert_eq!(plan.ramp_time(), Duration::from_secs_f64(39.0 / 20.0));
        assert_eq!(posts, plan.posts(), "chance is the same for the same seed");
        assert!(posts.iter().any(|post| post.slow) && posts.iter().any(|post| !post.slow));
    }

    #[test]
    fn the_rooms_are_the_profiles() {
        assert_eq!(plan(Profile::OneBigRoom).rooms(), [40]);
        let split = plan(Profile::OneBigRoom).posts();
        assert_eq!(split.iter().filter(|post| post.worker == 0).count(), 20, "one room is shared by the workers");
        let tables = plan(Profile::Tarot).rooms();
        assert!(tables.len() == 10 && tables.iter().all(|people| (2..=5).contains(people)), "{tables:?}");
    }

    #[test]
    fn rates_and_addresses_are_read_as_people_write_them() {
        assert_eq!("500/s".parse(), Ok(PerSecond(500.0)));
        assert_eq!("1%".parse(), Ok(Share(0.01)));
        assert_eq!("2%/min".parse(), Ok(PerMinute(0.02)));
        assert_eq!("300%/min".parse(), Ok(PerMinute(3.0)));
        assert!("0/s".parse::<PerSecond>().is_err() && "fast".parse::<PerSecond>().is_err());
        assert!("101%".parse::<Share>().is_err() && "-1%/min".parse::<PerMinute>().is_err());
        let three = sources("127.0.0.2-4").expect("addresses");
        assert_eq!(three, ["127.0.0.2", "127.0.0.3", "127.0.0.4"].map(|text| text.parse::<IpAddr>().expect("one")));
        assert_eq!(sources("::1").expect("an address").len(), 1);
        for text in ["127.0.0.4-2", "127.0.0.2-300", "::1-5", "localhost", ""] {
            assert!(sources(text).is_err(), "{text}");
        }
    }
}
