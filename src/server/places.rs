//! Places for connections that carry plain HTTP: so many in all, and so many for one network. In all they have what
//! WebSockets and streams of events leave of the limit of open files.
//!
//! A connection has its place from the moment that it is accepted. While it waits for a request it may lose it: where
//! all places are taken, the one that has waited longest gives way to the newest. So connections that are kept alive,
//! or never send anything, keep no newcomer out. One that becomes a WebSocket or a stream of events leaves its place: these
//! are counted by `admission::limits`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::metrics::gauge::Gauge;
use tokio_util::sync::CancellationToken;

use crate::admission::limits::Limits;
use crate::identity::client_address::Network;
use crate::protocol::Code;
use crate::socket::http_stream::{Doing, Turn};

/// The most connections that carry plain HTTP, whatever the limit of open files is: each takes some 10 KiB.
const MOST: usize = 16_384;

/// The places of a server.
#[derive(Debug)]
pub(super) struct Places {
    most: usize,
    most_of_network: usize,
    /// The most connections of both kinds.
    most_connections: usize,
    sockets: Arc<Limits>,
    /// Counts those that are taken.
    open: Gauge,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    networks: HashMap<Network, OfNetwork>,
    /// The connections that wait for a request, by the number of their wait: the smallest has waited longest.
    waiting: BTreeMap<u64, Waiting>,
    last_wait: u64,
}

#[derive(Debug, Default)]
struct OfNetwork {
    taken: usize,
    waiting: BTreeSet<u64>,
}

#[derive(Debug)]
struct Waiting {
    network: Option<Network>,
    /// Cuts the connection.
    cut: CancellationToken,
}

impl Places {
    /// All free. With `sockets` there may be no more than `most_connections`.
    pub(super) fn new(most_connections: usize, most_of_network: usize, sockets: Arc<Limits>, open: Gauge) -> Self {
        Self { most: MOST, most_of_network, most_connections, sockets, open, state: Mutex::default() }
    }

    /// Takes a place for a connection that waits for its first request, and can be ended by `cut`. A proxy's
    /// connections are of no network: they carry the requests of many clients.
    ///
    /// # Errors
    /// Where no place is left and no connection that could give way: `rate_limited` in this network, else
    /// `at_capacity`.
    pub(super) fn take(self: &Arc<Self>, network: Option<Network>, cut: &CancellationToken) -> Result<Place, Code> {
        let mut state = self.state.lock();
        self.make_room(&mut state, network)?;
        state.taken += 1;
        self.open.inc();
        if let Some(network) = network {
            state.networks.entry(network).or_default().taken += 1;
        }
        let turn = Arc::new(Turn::first(state.begin_wait(network, cut)));
        drop(state);
        Ok(Place { places: Arc::clone(self), network, cut: cut.clone(), turn })
    }

    fn make_room(&self, state: &mut State, network: Option<Network>) -> Result<(), Code> {
        let of_network = network.and_then(|network| state.networks.get(&network));
        let longest = match of_network.filter(|of| of.taken >= self.most_of_network) {
            Some(of) => of.waiting.first().copied().ok_or(Code::RateLimited)?,
            None if self.is_full(state.taken) => *state.waiting.first_key_value().ok_or(Code::AtCapacity)?.0,
            None => return Ok(()),
        };
        if let Some(Waiting { network, cut }) = state.end_wait(longest) {
            self.release(state, network);
            cut.cancel();
        }
        Ok(())
    }

    fn is_full(&self, taken: usize) -> bool {
        taken >= self.most || taken + self.sockets.open() >= self.most_connections
    }

    fn release(&self, state: &mut State, network: Option<Network>) {
        state.taken -= 1;
        self.open.dec();
        if let Some(network) = network
            && let Some(of) = state.networks.get_mut(&network)
        {
            of.taken -= 1;
            if of.taken == 0 {
                state.networks.remove(&network);
            }
        }
    }
}

impl State {
    fn begin_wait(&mut self, network: Option<Network>, cut: &CancellationToken) -> u64 {
        self.last_wait += 1;
        self.waiting.insert(self.last_wait, Waiting { network, cut: cut.clone() });
        if let Some(of) = network.and_then(|network| self.networks.get_mut(&network)) {
            of.waiting.insert(self.last_wait);
        }
        self.last_wait
    }

    /// Ends this wait; `None` where the connection had to give way before.
    fn end_wait(&mut self, wait: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&wait)?;
        if let Some(of) = waiting.network.and_then(|network| self.networks.get_mut(&network)) {
            of.waiting.remove(&wait);
        }
        Some(waiting)
    }
}

/// The place of one connection, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    network: Option<Network>,
    cut: CancellationToken,
    turn: Arc<Turn>,
}

impl Place {
    /// What the connection is doing, for its stream.
    pub(super) fn turn(&self) -> &Arc<Turn> {
        &self.turn
    }

    /// A request has come. False where the connection had to give way before: it is being cut.
    pub(super) fn serve(&self) -> bool {
        let has_place = match self.turn.doing() {
            Doing::Waiting { wait, .. } => self.places.state.lock().end_wait(wait).is_some(),
            _ => true,
        };
        if has_place {
            self.turn.serve();
        }
        has_place
    }

    /// The answer is sent: the connection waits for the next request.
    pub(super) fn rest(&self) {
        self.turn.rest(self.places.state.lock().begin_wait(self.network, &self.cut));
    }

    /// The request that is being served makes a WebSocket or a stream of the connection.
    pub(super) fn leave(&self) {
        self.turn.leave();
        self.places.release(&mut self.places.state.lock(), self.network);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.state.lock();
        let has_place = match self.turn.doing() {
            Doing::Waiting { wait, .. } => state.end_wait(wait).is_some(),
            Doing::Served | Doing::Answered | Doing::Sent => true,
            Doing::Left => false,
        };
        if has_place {
            self.places.release(&mut state, self.network);
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::config::Settings;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }

    fn places(most_connections: usize, most_of_network: usize) -> Arc<Places> {
        let sockets = Arc::new(Limits::new(&Cli::parse_from(["lastseen"]).settings.limits));
        Arc::new(Places::new(most_connections, most_of_network, sockets, Gauge::default()))
    }

    fn network(address: &str) -> Option<Network> {
        Some(Network::of(address.parse().expect("an address")))
    }

    /// A place, and whether its connection was cut.
    fn take(places: &Arc<Places>, network: Option<Network>) -> Result<(Place, CancellationToken), Code> {
        let cut = CancellationToken::new();
        places.take(network, &cut).map(|place| (place, cut))
    }

    #[test]
    fn connections_that_wait_give_way_and_those_that_are_served_do_not() {
        let (places, home) = (places(10, 2), network("192.0.2.1"));
        let (first, first_cut) = take(&places, home).expect("a place");
        let (second, second_cut) = take(&places, home).expect("a place");
        assert!(first.serve());
        let (third, third_cut) = take(&places, home).expect("the place of the second");
        assert_eq!([&first_cut, &second_cut, &third_cut].map(CancellationToken::is_cancelled), [false, true, false]);
        assert!(!second.serve(), "it is being cut");
        drop(second);
        // The first waits again, and later than the third.
        first.rest();
        let (fourth, _) = take(&places, home).expect("the place of the third");
        assert_eq!([&first_cut, &third_cut].map(CancellationToken::is_cancelled), [false, true]);
        assert!(first.serve() && fourth.serve());
        assert_eq!(take(&places, home).expect_err("both are served"), Code::RateLimited);
        assert!(take(&places, network("192.0.2.2")).is_ok(), "another network is another matter");
        assert!(take(&places, None).is_ok(), "and so is a proxy");
        drop(fourth);
        assert!(take(&places, home).is_ok(), "given back");
        drop((first, third));
        assert_eq!((places.state.lock().taken, places.open.get()), (0, 0));
        assert!(places.state.lock().networks.is_empty() && places.state.lock().waiting.is_empty());
    }

    #[test]
    fn where_all_places_are_taken_the_longest_wait_of_all_ends() {
        let places = places(2, 2);
        let (one, one_cut) = take(&places, network("2001:db8::1")).expect("a place");
        let (two, two_cut) = take(&places, None).expect("a place");
        let (three, _) = take(&places, network("192.0.2.1")).expect("the place of the first");
        assert!(one_cut.is_cancelled() && !two_cut.is_cancelled());
        assert!(two.serve() && three.serve());
        assert_eq!(take(&places, None).expect_err("both are served"), Code::AtCapacity);
        drop(one);
        assert_eq!(places.open.get(), 2, "what was given away is not given back");
    }

    #[test]
    fn what_sockets_hold_is_not_there_for_http() {
        let places = places(3, 10);
        let socket = |address: &str| places.sockets.take(network(address).expect("a network")).expect("a permit");
        let (_one, two) = (socket("192.0.2.1"), socket("192.0.2.1"));
        let (held, _) = take(&places, None).expect("a place");
        assert!(held.serve());
        assert_eq!(take(&places, None).expect_err("none is left"), Code::AtCapacity);
        drop(two);
        take(&places, None).expect("the place of the socket");
    }

    #[test]
    fn a_connection_that_becomes_a_socket_leaves_its_place_once() {
        let places = places(1, 1);
        let (socket, cut) = take(&places, None).expect("a place");
        assert!(socket.serve());
        socket.leave();
        let (other, _) = take(&places, None).expect("the place that was left");
        assert!(!cut.is_cancelled());
        drop(socket);
        assert_eq!(places.open.get(), 1);
        drop(other);
        assert_eq!(places.open.get(), 0);
    }
}
