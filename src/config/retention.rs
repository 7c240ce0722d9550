//! How long what is over is kept.

use std::str::FromStr;
use std::time::Duration;

use super::duration;

/// How long what is over is kept, by kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Retention {
    /// Closed reading sessions.
    pub reading_sessions: Duration,
    /// User sessions that have ended.
    pub user_sessions: Duration,
    /// Check-ins, since their hour was over.
    pub check_ins: Duration,
    /// Sits that were completed or abandoned, since they were over.
    pub sits: Duration,
}

/// What is kept how long, unless the setting says otherwise.
pub(super) const RETENTION: &str = "reading-sessions=30d,user-sessions=90d,check-ins=7d,sits=365d";

/// The same for tries, where an hour is a minute.
pub(super) const DEMO_RETENTION: &str = "reading-sessions=12h,user-sessions=36h,check-ins=168m,sits=146h";

impl Retention {
    /// What is kept, by its name in the setting.
    fn kinds(&mut self) -> [(&'static str, &mut Duration); 4] {
        [
            ("reading-sessions", &mut self.reading_sessions),
            ("user-sessions", &mut self.user_sessions),
            ("check-ins", &mut self.check_ins),
            ("sits", &mut self.sits),
        ]
    }

    fn set(&mut self, text: &str) -> Result<(), String> {
        for pair in text.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
            let named = pair.split_once('=').and_then(|(name, time)| {
                let (_, kept) = self.kinds().into_iter().find(|(kind, _)| *kind == name)?;
                Some((kept, time))
            });
            let (kept, time) = named.ok_or_else(|| format!("'{pair}' is not of the form of {RETENTION}"))?;
            *kept = duration(time)?;
        }
        Ok(())
    }
}

impl FromStr for Retention {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let none = Duration::ZERO;
        let mut retention = Self { reading_sessions: none, user_sessions: none, check_ins: none, sits: none };
        retention.set(RETENTION)?;
        retention.set(text)?;
        Ok(retention)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retention_names_its_kinds_and_the_others_stay() {
        let retention = "reading-sessions=7d, user-sessions=36h".parse::<Retention>().expect("a retention");
        assert_eq!(retention.reading_sessions, Duration::from_hours(7 * 24));
        assert_eq!(retention.user_sessions, Duration::from_hours(36));
        let retention = "user-sessions=1d".parse::<Retention>().expect("a retention");
        assert_eq!(retention.reading_sessions, Duration::from_hours(30 * 24));
        assert_eq!(retention.check_ins, Duration::from_hours(7 * 24));
        assert_eq!(retention.sits, Duration::from_hours(365 * 24));
        assert!("7d".parse::<Retention>().is_err());
        assert!("reading-sessions=soon".parse::<Retention>().is_err());
    }
}
