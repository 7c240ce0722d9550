//! Warns where the clock of this server and that of the database differ: tokens are judged by the one, and all that is
//! stored has the time of the other.

use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use tokio::time::sleep;

use super::Tasks;
use crate::store::Store;

/// How far they may be apart. Clocks that are set by NTP differ by milliseconds.
const TOLERATED: TimeDelta = TimeDelta::seconds(30);

/// How often they are compared.
const INTERVAL: Duration = Duration::from_mins(10);

/// Compares them at start and then now and then, as a background task.
pub fn spawn(tasks: &Tasks, store: &Store) {
    tasks.spawn("skew", &Arc::new(store.clone()), |store| async move {
        loop {
            match store.clock_lead().await.map(warning) {
                Ok(Some(warning)) => tracing::warn!("{warning}"),
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "the clocks cannot be compared"),
            }
            sleep(INTERVAL).await;
        }
    });
}

fn warning(lead: TimeDelta) -> Option<String> {
    let direction = if lead > TimeDelta::zero() { "ahead of" } else { "behind" };
    (lead.abs() > TOLERATED).then(|| {
        format!(
            "the clock of this server is {} s {direction} the database's: tokens are judged by the one, and what is \
             stored has the time of the other; set both by NTP",
            lead.abs().num_seconds()
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_by_more_than_30_s_is_a_warning() {
        for (seconds, expected) in
            [(0, None), (30, None), (-30, None), (31, Some("31 s ahead of")), (-90, Some("90 s behind"))]
        {
            let found = warning(TimeDelta::seconds(seconds));
            assert_eq!(found.is_some(), expected.is_some(), "{seconds}");
            assert!(found.unwrap_or_default().contains(expected.unwrap_or_default()), "{seconds}");
        }
    }
}
