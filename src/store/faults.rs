//! What is wrong with the connections of a pool. A pool itself tries again until a request gives up, and keeps the fault
//! to itself.

use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// For how long a fault explains why there is no connection.
const HOLDS_FOR: Duration = Duration::from_secs(10);

/// A fault is looked for, and connections that cannot write are replaced, once in this time.
const PACE: Duration = Duration::from_secs(1);

/// The last fault of a pool, and until when its connections were of no use.
#[derive(Debug, Default)]
pub(super) struct Faults(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    last: Option<(Instant, String)>,
    looked_at: Option<Instant>,
    renewed_at: Option<Instant>,
}

impl Faults {
    /// Keeps the fault with which a connection could not be opened; `None` where it could.
    pub fn note(&self, fault: Option<String>) {
        self.0.lock().last = fault.map(|fault| (Instant::now(), fault));
    }

    /// Why connections could not be opened a moment ago.
    pub fn recent(&self) -> Option<String> {
        let state = self.0.lock();
        state.last.as_ref().filter(|(at, _)| at.elapsed() < HOLDS_FOR).map(|(_, fault)| fault.clone())
    }

    /// Whether a fault is to be looked for: not if that was done a moment ago.
    pub fn is_due(&self) -> bool {
        due(&mut self.0.lock().looked_at)
    }

    /// Replaces all connections that are open now, each when it would be used next.
    pub fn renew(&self) {
        let _ = due(&mut self.0.lock().renewed_at);
    }

    /// Whether a connection of this age is to be replaced.
    pub fn is_stale(&self, age: Duration) -> bool {
        self.0.lock().renewed_at.is_some_and(|renewed_at| renewed_at.elapsed() < age)
    }
}

/// Whether the pace allows it again, which it then does not for a moment.
fn due(last: &mut Option<Instant>) -> bool {
    let is_due = last.is_none_or(|last| last.elapsed() >= PACE);
    if is_due {
        *last = Some(Instant::now());
    }
    is_due
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_known_until_a_connection_opens() {
        let faults = Faults::default();
        assert_eq!(faults.recent(), None);
        faults.note(Some("too many connections".to_owned()));
        assert_eq!(faults.recent().as_deref(), Some("too many connections"));
        faults.note(None);
        assert_eq!(faults.recent(), None);
    }

    #[test]
    fn only_connections_of_before_are_replaced() {
        let faults = Faults::default();
        assert!(!faults.is_stale(Duration::from_hours(1)));
        faults.renew();
        assert!(faults.is_stale(Duration::from_hours(1)) && !faults.is_stale(Duration::ZERO));
        assert!(faults.is_due() && !faults.is_due(), "once in a while");
    }
}
