//! Latencies in a histogram that keeps the tail, and that processes exchange as its counts.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// In microseconds, with a precision of three digits.
#[derive(Clone, PartialEq, Debug)]
pub struct Latency(Histogram<u64>);

/// The quantiles that reports have.
#[derive(Clone, Copy, PartialEq, Debug, Serialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Quantiles {
    pub count: u64,
    pub p50_ms: f64,
    pub p90_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Default for Latency {
    fn default() -> Self {
        Self(Histogram::new(3).expect("three digits are possible"))
    }
}

impl Latency {
    /// Adds one.
    pub fn record(&mut self, latency: Duration) {
        // The histogram grows as needed: every 64-bit value fits.
        let _ = self.0.record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX));
    }

    /// Adds all of another histogram.
    pub fn add(&mut self, other: &Self) {
        let _ = self.0.add(&other.0);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.0.len()
    }

    /// The latency at this quantile, in milliseconds.
    pub fn quantile_ms(&self, quantile: f64) -> f64 {
        self.0.value_at_quantile(quantile) as f64 / 1000.0
    }

    /// The quantiles; `None` where nothing was measured.
    pub fn quantiles(&self) -> Option<Quantiles> {
        (!self.0.is_empty()).then(|| Quantiles {
            count: self.count(),
            p50_ms: self.quantile_ms(0.5),
            p90_ms: self.quantile_ms(0.9),
            p99_ms: self.quantile_ms(0.99),
            max_ms: self.0.max() as f64 / 1000.0,
        })
    }
}

impl Serialize for Latency {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter_recorded().map(|step| (step.value_iterated_to(), step.count_at_value())))
    }
}

impl<'de> Deserialize<'de> for Latency {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut latency = Self::default();
        for (value, count) in Vec::<(u64, u64)>::deserialize(deserializer)? {
            latency.0.record_n(value, count).map_err(serde::de::Error::custom)?;
        }
        Ok(latency)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(millis: &[u64]) -> Latency {
        let mut latency = Latency::default();
        for &each in millis {
            latency.record(Duration::from_millis(each));
        }
        latency
    }

    #[test]
    fn the_tail_is_kept_on_the_way_to_another_process() {
        let latency = of(&[1, 2, 3, 4, 90_000]);
        let text = serde_json::to_string(&latency).expect("JSON");
        let back: Latency = serde_json::from_str(&text).expect("a latency");
        let (here, there) = (latency.quantiles().expect("some"), back.quantiles().expect("some"));
        assert_eq!((there.count, there.p50_ms), (5, here.p50_ms));
        assert!((there.max_ms - 90_000.0).abs() < 90.0, "three digits: {there:?}");
    }

    #[test]
    fn what_workers_measured_adds_up() {
        let mut all = of(&[1; 99]);
        all.add(&of(&[500]));
        let quantiles = all.quantiles().expect("some");
        assert_eq!(quantiles.count, 100);
        assert!(quantiles.p99_ms < 2.0 && quantiles.max_ms >= 500.0, "{quantiles:?}");
        assert_eq!(Latency::default().quantiles(), None);
    }
}
