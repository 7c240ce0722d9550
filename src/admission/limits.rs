//! Limits of connections: on this server and from one network.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use dashmap::DashMap;

use crate::config::LimitSettings;
use crate::identity::client_address::Network;
use crate::protocol::{Code, Refusal};

/// Counts connections.
#[derive(Debug)]
pub struct Limits {
    most: usize,
    most_per_network: usize,
    open: AtomicUsize,
    by_network: DashMap<Network, usize>,
}

/// The right to one connection, given back when dropped.
#[derive(Debug)]
pub struct Permit {
    limits: Arc<Limits>,
    network: Network,
}

impl Limits {
    /// Without a connection.
    pub fn new(settings: &LimitSettings) -> Self {
        Self {
            most: settings.max_connections(),
            most_per_network: settings.max_connections_per_ip,
            open: AtomicUsize::new(0),
            by_network: DashMap::new(),
        }
    }

    /// How many connections are open.
    pub fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Takes the right to a connection from this network.
    ///
    /// # Errors
    /// `at_capacity` or `rate_limited`, with a time to come back.
    pub fn take(self: &Arc<Self>, network: Network) -> Result<Permit, Refusal> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.most {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(Code::AtCapacity.into());
        }
        // From here on dropping the permit takes both counts back.
        let permit = Permit { limits: Arc::clone(self), network };
        let from_network = {
            let mut count = self.by_network.entry(network).or_default();
            *count += 1;
            *count
        };
        if from_network > self.most_per_network {
            let refusal = Refusal::new(Code::RateLimited, "Too many connections from this address.");
            return Err(refusal.retry_about(Duration::from_secs(5)));
        }
        Ok(permit)
    }
}

impl Permit {
    /// The network that it was taken for.
    pub fn network(&self) -> Network {
        self.network
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.limits.open.fetch_sub(1, Ordering::Relaxed);
        self.limits.by_network.remove_if_mut(&self.network, |_, count| {
            *count -= 1;
            *count == 0
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(most: usize, most_per_network: usize) -> Arc<Limits> {
        Arc::new(Limits { most, most_per_network, open: AtomicUsize::new(0), by_network: DashMap::new() })
    }

    fn network(address: &str) -> Network {
        Network::of(address.parse().expect("an address"))
    }

    #[test]
    fn permits_are_counted_by_network_and_in_all_and_given_back() {
        let [a, b] = ["192.0.2.1", "192.0.2.2"].map(network);
        let limits = limits(3, 2);
        let first = limits.take(a).expect("one from a");
        let _second = limits.take(a).expect("two from a");
        assert_eq!(limits.take(a).expect_err("three from a").code, Code::RateLimited);
        let _third = limits.take(b).expect("one from b");
        assert_eq!(limits.take(b).expect_err("four in all").code, Code::AtCapacity);
        assert_eq!(limits.open(), 3);
        drop(first);
        limits.take(a).expect("two from a again");
        assert_eq!(limits.open(), 2);
    }

    #[test]
    fn networks_without_connections_are_forgotten() {
        let limits = limits(3, 2);
        drop(limits.take(network("192.0.2.1")).expect("a permit"));
        assert!(limits.by_network.is_empty());
    }
}
