//! The metrics of the server, for Prometheus. The list for operators is in docs/reference/metrics.md.

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::domain::participant::LeaveReason;
use crate::log;
use crate::room::RoomMetrics;

/// One label whose values are a closed set of words. Names, ids and tokens must not be labels.
type Label = [(&'static str, &'static str); 1];

/// A gauge of seconds.
type Seconds = Gauge<f64, AtomicU64>;

/// The metrics of one server. Counters are incremented where things happen; gauges of counts are set at each scrape.
#[expect(missing_docs, reason = "each has its help text where it is registered, below")]
pub struct Metrics {
    registry: Registry,
    pub connections: Gauge,
    pub http_connections: Gauge,
    pub observers: Gauge,
    pub sse_connections: Gauge,
    pub tls_handshake_failures: Counter,
    pub tls_certificate_expires: Gauge,
    pub tls_reload_failures: Counter,
    pub rooms: Gauge,
    pub tasks: Gauge,
    pub user_sessions: Gauge,
    pub joins: Counter,
    pub beats: Counter,
    pub diffs: Counter,
    pub deliveries: Counter,
    pub lagged: Counter,
    pub flush_rows: Counter,
    pub flush_user_sessions: Counter,
    pub flush_failures: Counter,
    pub flush_dropped: Counter,
    pub flush_locked: Counter,
    pub flush_seconds: Histogram,
    pub flush_backlog: Gauge,
    pub flush_age_seconds: Seconds,
    pub compensations: Gauge,
    pub sweeps: Counter,
    pub sweep_seconds: Histogram,
    pub admission_seconds: Histogram,
    participants: Family<Label, Gauge>,
    leaves: Family<Label, Counter>,
    refusals: Family<Label, Counter>,
    refused_tokens: Family<Label, Counter>,
    slowed_refusals: Family<Label, Counter>,
    connection_ends: Family<Label, Counter>,
    swept: Family<Label, Counter>,
    sweep_failures: Family<Label, Counter>,
    simulators: Family<Label, Gauge>,
    simulator_ends: Family<Label, Counter>,
}

/// The words of [`Metrics::slowed_refusals`].
const SLOWED_BY: [&str; 2] = ["delay", "status"];

/// Counts by word, without words that were never counted.
pub type Counts = BTreeMap<&'static str, u64>;

impl Debug for Metrics {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

/// Buckets from one millisecond to half a minute.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("lastseen"),
            connections: Gauge::default(),
            http_connections: Gauge::default(),
            observers: Gauge::default(),
            sse_connections: Gauge::default(),
            tls_handshake_failures: Counter::default(),
            tls_certificate_expires: Gauge::default(),
            tls_reload_failures: Counter::default(),
            rooms: Gauge::default(),
            tasks: Gauge::default(),
            user_sessions: Gauge::default(),
            joins: Counter::default(),
            beats: Counter::default(),
            diffs: Counter::default(),
            deliveries: Counter::default(),
            lagged: Counter::default(),
            flush_rows: Counter::default(),
            flush_user_sessions: Counter::default(),
            flush_failures: Counter::default(),
            flush_dropped: Counter::default(),
            flush_locked: Counter::default(),
            flush_seconds: seconds(),
            flush_backlog: Gauge::default(),
            flush_age_seconds: Seconds::default(),
            compensations: Gauge::default(),
            sweeps: Counter::default(),
            sweep_seconds: seconds(),
            admission_seconds: seconds(),
            participants: Family::default(),
            leaves: Family::default(),
            refusals: Family::default(),
            refused_tokens: Family::default(),
            slowed_refusals: Family::default(),
            connection_ends: Family::default(),
            swept: Family::default(),
            sweep_failures: Family::default(),
            simulators: Family::default(),
            simulator_ends: Family::default(),
        };
        metrics.register();
        // So that their first increase is seen as one.
        for by in SLOWED_BY {
            metrics.slowed_refusals(by);
        }
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let r = &mut self.registry;
        r.register("connections", "Open WebSocket connections", self.connections.clone());
        r.register(
            "http_connections",
            "Open connections that carry plain HTTP, or nothing yet",
            self.http_connections.clone(),
        );
        r.register("observers", "Open WebSocket connections of the service as an observer", self.observers.clone());
        r.register("sse_connections", "Open streams of Server-Sent Events", self.sse_connections.clone());
        r.register("rooms", "Rooms in memory", self.rooms.clone());
        r.register("tasks", "Tasks of the runtime that have not ended", self.tasks.clone());
        r.register("user_sessions", "User sessions with a connection to this server", self.user_sessions.clone());
        r.register("participants", "Participants in rooms, by status", self.participants.clone());
        r.register("joins", "Participants who joined a room", self.joins.clone());
        r.register("leaves", "Participants who left a room, by reason", self.leaves.clone());
        r.register("beats", "Beats received", self.beats.clone());
        r.register(
            "tls_handshake_failures",
            "Connections that ended before their TLS handshake was over",
            self.tls_handshake_failures.clone(),
        );
        r.register_with_unit(
            "tls_certificate_expires",
            "When the certificate in use expires, in Unix time; 0 without one",
            Unit::Seconds,
            self.tls_certificate_expires.clone(),
        );
        r.register(
            "tls_reload_failures",
            "New certificates that could not be used; the one before stays in use",
            self.tls_reload_failures.clone(),
        );
        r.register("diffs", "Presence diffs published", self.diffs.clone());
        r.register("deliveries", "Presence frames sent to connections", self.deliveries.clone());
        r.register("lagged", "Connections that fell behind and were sent a snapshot", self.lagged.clone());
        r.register("connection_ends", "WebSocket connections that ended, by reason", self.connection_ends.clone());
        r.register("refusals", "Requests and joins refused, by code", self.refusals.clone());
        r.register("refused_tokens", "JWTs refused, by reason", self.refused_tokens.clone());
        r.register(
            "slowed_refusals",
            "Refusals to networks that are refused again and again, by how they were slowed down",
            self.slowed_refusals.clone(),
        );
        r.register_with_unit(
            "admission",
            "Duration of the decision on a join",
            Unit::Seconds,
            self.admission_seconds.clone(),
        );
        r.register("flush_rows", "Participant rows written by flushes", self.flush_rows.clone());
        r.register("flush_user_sessions", "User session rows written by flushes", self.flush_user_sessions.clone());
        r.register(
            "flush_failures",
            "Statements of flushes that failed; they are retried",
            self.flush_failures.clone(),
        );
        r.register(
            "flush_dropped",
            "Rows that the database refused to flushes and that were dropped",
            self.flush_dropped.clone(),
        );
        r.register(
            "flush_locked",
            "Rows that flushes left to the next one since another transaction had locked them",
            self.flush_locked.clone(),
        );
        r.register_with_unit("flush_duration", "Duration of a flush", Unit::Seconds, self.flush_seconds.clone());
        r.register("flush_backlog", "Participants and user sessions waiting to be written", self.flush_backlog.clone());
        r.register_with_unit(
            "flush_age",
            "Time since the start of the last flush that wrote everything",
            Unit::Seconds,
            self.flush_age_seconds.clone(),
        );
        r.register("compensations", "Admissions that wait to be undone", self.compensations.clone());
        r.register("sweeps", "Sweeps run", self.sweeps.clone());
        r.register("sweep_failures", "Failures of sweep policies, by policy", self.sweep_failures.clone());
        r.register_with_unit("sweep_duration", "Duration of a sweep", Unit::Seconds, self.sweep_seconds.clone());
        r.register("swept", "Rows that sweeps ended or deleted, by policy", self.swept.clone());
        r.register("simulators", "Simulators of this server, by status", self.simulators.clone());
        r.register(
            "simulator_ends",
            "Simulators of this server that ended, by final status",
            self.simulator_ends.clone(),
        );
        r.register("log_dropped_lines", "Log lines that standard error did not take", log::dropped_lines());
    }

    /// Participants in rooms with this status.
    pub fn participants(&self, status: &'static str) -> Gauge {
        self.participants.get_or_create_owned(&[("status", status)])
    }

    /// Participants who left for this reason.
    pub fn leaves(&self, reason: &'static str) -> Counter {
        self.leaves.get_or_create_owned(&[("reason", reason)])
    }

    /// Requests and joins refused with this code.
    pub fn refusals(&self, code: &'static str) -> Counter {
        self.refusals.get_or_create_owned(&[("code", code)])
    }

    /// JWTs refused for this reason.
    pub fn refused_tokens(&self, reason: &'static str) -> Counter {
        self.refused_tokens.get_or_create_owned(&[("reason", reason)])
    }

    /// Refusals that were slowed down in this way.
    pub fn slowed_refusals(&self, by: &'static str) -> Counter {
        self.slowed_refusals.get_or_create_owned(&[("by", by)])
    }

    /// WebSocket connections that ended for this reason.
    pub fn connection_ends(&self, reason: &'static str) -> Counter {
        self.connection_ends.get_or_create_owned(&[("reason", reason)])
    }

    /// Rows that sweeps ended or deleted by this policy.
    pub fn swept(&self, policy: &'static str) -> Counter {
        self.swept.get_or_create_owned(&[("policy", policy)])
    }

    /// Failures of this policy.
    pub fn sweep_failures(&self, policy: &'static str) -> Counter {
        self.sweep_failures.get_or_create_owned(&[("policy", policy)])
    }

    /// Simulators of this server in this status.
    pub fn simulators(&self, status: &'static str) -> Gauge {
        self.simulators.get_or_create_owned(&[("status", status)])
    }

    /// Simulators of this server that ended in this status.
    pub fn simulator_ends(&self, status: &'static str) -> Counter {
        self.simulator_ends.get_or_create_owned(&[("status", status)])
    }

    /// Leaves so far, by these reasons.
    pub fn leaves_by(&self, reasons: impl Iterator<Item = &'static str>) -> Counts {
        counts(&self.leaves, "reason", reasons)
    }

    /// Refusals so far, by these codes.
    pub fn refusals_by(&self, codes: impl Iterator<Item = &'static str>) -> Counts {
        counts(&self.refusals, "code", codes)
    }

    /// WebSocket connections that ended so far, by these reasons.
    pub fn connection_ends_by(&self, reasons: impl Iterator<Item = &'static str>) -> Counts {
        counts(&self.connection_ends, "reason", reasons)
    }

    /// Rows that sweeps ended or deleted so far, by these policies.
    pub fn swept_by(&self, policies: impl Iterator<Item = &'static str>) -> Counts {
        counts(&self.swept, "policy", policies)
    }

    /// Failures so far, of these policies.
    pub fn sweep_failures_by(&self, policies: impl Iterator<Item = &'static str>) -> Counts {
        counts(&self.sweep_failures, "policy", policies)
    }

    /// All metrics in the text format of Prometheus (OpenMetrics 1.0).
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(16 * 1024);
        text::encode(&mut out, &self.registry).expect("writing to a string cannot fail");
        out
    }
}

impl RoomMetrics for Metrics {
    fn joined(&self) {
        self.joins.inc();
    }

    fn left(&self, reason: LeaveReason, people: usize) {
        self.leaves(reason.as_str()).inc_by(people as u64);
    }

    fn diff_published(&self) {
        self.diffs.inc();
    }
}

fn counts(family: &Family<Label, Counter>, label: &'static str, words: impl Iterator<Item = &'static str>) -> Counts {
    words.filter_map(|word| family.get(&[(label, word)]).map(|counter| (word, counter.get()))).collect()
}
