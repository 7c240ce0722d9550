//! What people do once they are in, by profile: at random times, so that they do not all act at once.

use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use super::plan::{Plan, Profile};

/// What a person does next.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Act {
    /// The connection drops, and the person comes back after this time.
    Drop(Duration),
    /// The person leaves for good, and another one comes.
    Leave,
    /// A card is turned: a new public state.
    Turn,
}

/// The habits of one person.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Habits {
    /// The mean time until a connection drops or a person leaves.
    goes: Option<Duration>,
    /// The share of those that leave for good.
    for_good: f64,
    /// The longest absence, in graces.
    away: f64,
    /// The mean time until a card is turned.
    turns: Option<Duration>,
    /// The share of beats that report activity.
    pub active: f64,
}

/// The mean time between drops of a phone's connection; a short run has four.
const PHONE_DROPS: Duration = Duration::from_secs(90);

/// The mean time between turned cards; a short run has four. Beats and cards together stay below the frame rate
/// that the server allows.
const CARD_TURNS: Duration = Duration::from_secs(30);

impl Habits {
    /// The habits of the people of this plan.
    pub fn of(plan: &Plan) -> Self {
        let churn = (plan.churn > 0.0).then(|| Duration::from_secs_f64(60.0 / plan.churn));
        match plan.profile {
            Profile::Steady | Profile::Storm | Profile::OneBigRoom => {
                Self { goes: churn, for_good: 0.5, away: 0.5, turns: None, active: 1.0 }
            }
            Profile::Tarot => {
                let some = (plan.hold / 4).max(Duration::from_secs(1));
                let goes = PHONE_DROPS.min(some);
                // Some absences are longer than the grace: others then see a leave and a join.
                Self { goes: Some(goes), for_good: 0.1, away: 1.3, turns: Some(CARD_TURNS.min(some)), active: 0.8 }
            }
        }
    }

    /// What the person does next, and after how long; `None` for a person who only stays.
    pub fn next(&self, chance: &mut SmallRng, grace: Duration) -> Option<(Duration, Act)> {
        let goes = self.goes.map(|mean| exponential(chance, mean));
        let turns = self.turns.map(|mean| exponential(chance, mean));
        match (goes, turns) {
            (None, None) => None,
            (goes, Some(turns)) if goes.is_none_or(|goes| turns < goes) => Some((turns, Act::Turn)),
            (goes, _) => {
                let act = match chance.random_bool(self.for_good) {
                    true => Act::Leave,
                    false => Act::Drop(grace.mul_f64(chance.random_range(0.0..=self.away))),
                };
                goes.map(|after| (after, act))
            }
        }
    }
}

/// An exponentially distributed time with this mean, at most ten times the mean.
fn exponential(chance: &mut SmallRng, mean: Duration) -> Duration {
    mean.mul_f64((-(1.0 - chance.random::<f64>()).ln()).min(10.0))
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;
    use crate::load::plan::tests::plan;

    const GRACE: Duration = Duration::from_secs(15);

    fn acts(plan: &Plan, count: usize) -> Vec<(Duration, Act)> {
        let (habits, mut chance) = (Habits::of(plan), SmallRng::seed_from_u64(1));
        (0..count).map_while(|_| habits.next(&mut chance, GRACE)).collect()
    }

    #[test]
    fn without_churn_people_stay() {
        assert_eq!(acts(&plan(Profile::Steady), 1), []);
    }

    #[test]
    fn churn_is_what_was_asked_for() {
        let acts = acts(&Plan { churn: 0.5, ..plan(Profile::Steady) }, 10_000);
        let mean = acts.iter().map(|(after, _)| after.as_secs_f64()).sum::<f64>() / acts.len() as f64;
        assert!((mean - 120.0).abs() < 6.0, "half of all in a minute is each in two minutes: {mean}");
        let left = acts.iter().filter(|(_, act)| *act == Act::Leave).count();
        assert!((4_500..5_500).contains(&left), "{left} leave for good");
        let longest =
            acts.iter().filter_map(|(_, act)| if let Act::Drop(away) = act { Some(*away) } else { None }).max();
        assert!(longest < Some(GRACE), "who comes back is in time: {longest:?}");
    }

    #[test]
    fn at_a_tarot_evening_some_are_away_too_long_and_cards_are_turned() {
        let acts = acts(&plan(Profile::Tarot), 1_000);
        assert!(acts.iter().any(|(_, act)| *act == Act::Turn));
        assert!(acts.iter().any(|(_, act)| matches!(act, Act::Drop(away) if *away > GRACE)));
        assert!(acts.iter().any(|(_, act)| matches!(act, Act::Drop(away) if *away < GRACE)));
    }
}
