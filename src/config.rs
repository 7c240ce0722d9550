//! Settings: flags and environment variables, and the rules that relate them.

mod identity;
mod network;
mod origin;
mod public_url;
mod retention;
mod schema_name;
mod simulators;

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{ArgAction, Args, ValueEnum};

pub use self::identity::{ClaimValue, IdentitySettings};
pub use self::network::NetworkSettings;
pub use self::origin::{AllowedOrigin, canonical as canonical_origin};
pub use self::public_url::PublicUrl;
pub use self::retention::Retention;
use self::retention::{DEMO_RETENTION, RETENTION};
pub use self::schema_name::SchemaName;
pub use self::simulators::{CommandLine, SimulatorSettings};
use crate::domain::idle::{IdleCounts, IdleRule};

impl ValueEnum for IdleCounts {
    fn value_variants<'a>() -> &'a [Self] {
        Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let help = match self {
            Self::Seen => "A person is connected, or was within the idle timeout",
            Self::Activity => "A person did something within the idle timeout; an unattended tab does not count",
        };
        Some(PossibleValue::new(self.as_str()).help(help))
    }
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// The longest that a user session may live without a heartbeat: what users write in SQL is held to a year as well,
/// see `keep_user_session()`.
const LONGEST_USER_SESSION_TIMEOUT: Duration = Duration::from_hours(365 * 24);

/// What any frame must have room for that cannot be divided, in bytes: one person with a state, a name and a subject of
/// the greatest length, or all of a `welcome` but its people. Both are below 4,400.
const LEAST_FRAME_BYTES: i64 = 8192;

/// A duration with its unit: `500ms`, `30s`, `15m`, `1h`, `30d`.
fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it like 500ms, 30s, 15m, 1h or 30d"))
}

/// Where the data is.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Database")]
pub struct DatabaseSettings {
    /// PostgreSQL to use, as postgres://…; without it the server runs its own in the data directory
    #[arg(long, env = "DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<String>,
    /// The same database without the pooler of --database-url, for migrations and checks
    #[arg(long, env = "DATABASE_DIRECT_URL", hide_env_values = true, requires = "database_url", value_name = "URL")]
    pub database_direct_url: Option<String>,
    /// Schema of the database for lastseen's tables, views and functions, where others have tables of these names
    #[arg(long, env = "LASTSEEN_SCHEMA", default_value_t, value_name = "NAME")]
    pub schema: SchemaName,
    /// Where the embedded database and the secret made at first start are kept
    #[arg(long, env = "LASTSEEN_DATA_DIR", default_value = "./.lastseen", value_name = "DIR")]
    pub data_dir: PathBuf,
    /// Directory of the programs initdb and postgres (15 or newer) for the embedded database; without it they are searched for
    #[arg(long, env = "LASTSEEN_POSTGRES_BIN", value_name = "DIR")]
    pub postgres_bin: Option<PathBuf>,
    /// Connections to the database for requests; the flush, the sweep and figures have five more
    #[arg(long, env = "LASTSEEN_DATABASE_CONNECTIONS", default_value_t = 10, value_name = "N")]
    pub database_connections: u32,
    /// Write the embedded database through to the disk; off is for tests only
    #[arg(long, env = "LASTSEEN_DURABLE", default_value_t = true, action = ArgAction::Set, hide = true)]
    pub durable: bool,
}

/// What is idle, and for how long things are kept.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Sessions")]
pub struct SessionSettings {
    /// For tries: an hour is a minute. Times of presence and of sessions that are not set are 60 times shorter, those of the network as short as clients can follow
    #[arg(long, env = "LASTSEEN_DEMO", default_value = "false", num_args = 0..=1, default_missing_value = "true", require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    pub demo: bool,
    /// A session is closed, and its invites are dead, after this long without a sign of a person
    #[arg(long, env = "LASTSEEN_IDLE_TIMEOUT", default_value = "1h", default_value_if("demo", "true", "1m"), value_parser = duration, value_name = "TIME")]
    pub idle_timeout: Duration,
    /// What counts as a sign: being connected, or doing something
    #[arg(long, env = "LASTSEEN_IDLE_COUNTS", value_enum, default_value_t = IdleCounts::Seen, value_name = "WHAT")]
    pub idle_counts: IdleCounts,
    /// A session is closed this long after it was opened, also with people in it [default: never]
    #[arg(long, env = "LASTSEEN_MAX_SESSION_AGE", value_parser = duration, value_name = "TIME")]
    pub max_session_age: Option<Duration>,
    /// A session is closed that has had fewer than two people for this long [default: never]
    #[arg(long, env = "LASTSEEN_MIN_PARTICIPANTS_AFTER", value_parser = duration, value_name = "TIME")]
    pub min_participants_after: Option<Duration>,
    /// A user session has ended after this long without a heartbeat; at most 365d
    #[arg(long, env = "LASTSEEN_USER_SESSION_TIMEOUT", default_value = "1h", default_value_if("demo", "true", "1m"), value_parser = duration, value_name = "TIME")]
    pub user_session_timeout: Duration,
    /// A sit that was not completed this long after its end is marked as abandoned
    #[arg(long, env = "LASTSEEN_SIT_GRACE", default_value = "5m", default_value_if("demo", "true", "5s"), value_parser = duration, value_name = "TIME")]
    pub sit_grace: Duration,
    /// How long what is over is kept
    #[arg(long, env = "LASTSEEN_RETENTION", default_value = RETENTION, default_value_if("demo", "true", DEMO_RETENTION), value_name = "KIND=TIME,…")]
    pub retention: Retention,
    /// A simulator is stopped after this long without activity, its own or its user session's
    #[arg(long, env = "LASTSEEN_SIMULATOR_IDLE", default_value = "1h", default_value_if("demo", "true", "1m"), value_parser = duration, value_name = "TIME")]
    pub simulator_idle: Duration,
}

impl SessionSettings {
    /// When a reading session is idle.
    pub fn idle(&self) -> IdleRule {
        IdleRule { timeout: self.idle_timeout, counts: self.idle_counts }
    }
}

/// The pulse of a room. For tries nothing of it is shorter than clients can follow: a connection may send 100 frames
/// a minute beside its updates, and comes back within 5 s.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Presence")]
pub struct PresenceSettings {
    /// How often clients are asked to send a beat
    #[arg(long, env = "LASTSEEN_BEAT_INTERVAL", default_value = "30s", default_value_if("demo", "true", "1s"), value_parser = duration, value_name = "TIME")]
    pub beat_interval: Duration,
    /// How often the server pings each connection (more often where the idle timeout is short)
    #[arg(long, env = "LASTSEEN_PING_INTERVAL", default_value = "25s", default_value_if("demo", "true", "1s"), value_parser = duration, value_name = "TIME")]
    pub ping_interval: Duration,
    /// A connection on which nothing was received for this long is closed
    #[arg(long, env = "LASTSEEN_DEAD_AFTER", default_value = "75s", default_value_if("demo", "true", "5s"), value_parser = duration, value_name = "TIME")]
    pub dead_after: Duration,
    /// A person's connection that sent no frame for this long, and no more than answers to Pings, is closed: its page is not running
    #[arg(long, env = "LASTSEEN_SILENT_AFTER", default_value = "15m", value_parser = duration, value_name = "TIME")]
    pub silent_after: Duration,
    /// How long a person whose connection was lost is kept as reconnecting
    #[arg(long, env = "LASTSEEN_GRACE", default_value = "15s", default_value_if("demo", "true", "6s"), value_parser = duration, value_name = "TIME")]
    pub grace: Duration,
    /// A person who did nothing for this long is shown as idle
    #[arg(long, env = "LASTSEEN_IDLE_AFTER", default_value = "5m", default_value_if("demo", "true", "5s"), value_parser = duration, value_name = "TIME")]
    pub idle_after: Duration,
    /// How long before a session expires its people are told; where being seen keeps it open, those who only follow it
    #[arg(long, env = "LASTSEEN_EXPIRING_NOTICE", default_value = "5m", default_value_if("demo", "true", "5s"), value_parser = duration, value_name = "TIME")]
    pub expiring_notice: Duration,
    /// How long changes of a room are gathered into one message
    #[arg(long, env = "LASTSEEN_DIFF_INTERVAL", default_value = "100ms", value_parser = duration, value_name = "TIME")]
    pub diff_interval: Duration,
    /// The same for rooms of more than 100 people
    #[arg(long, env = "LASTSEEN_DIFF_INTERVAL_LARGE", default_value = "1s", value_parser = duration, value_name = "TIME")]
    pub diff_interval_large: Duration,
    /// In rooms with more people than this, connections are sent counts instead of names
    #[arg(long, env = "LASTSEEN_DETAIL_LIMIT", default_value_t = 500, value_name = "N")]
    pub detail_limit: usize,
    /// How often what was seen is written to the database
    #[arg(long, env = "LASTSEEN_FLUSH_INTERVAL", default_value = "5s", default_value_if("demo", "true", "1s"), value_parser = duration, value_name = "TIME")]
    pub flush_interval: Duration,
    /// How often idle sessions are searched for and closed
    #[arg(long, env = "LASTSEEN_SWEEP_INTERVAL", default_value = "15m", default_value_if("demo", "true", "15s"), value_parser = duration, value_name = "TIME")]
    pub sweep_interval: Duration,
}

/// Bounds.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitSettings {
    /// People in a session that is opened without a number of its own
    #[arg(long, env = "LASTSEEN_MAX_PARTICIPANTS", default_value_t = 100, value_name = "N",
          value_parser = clap::value_parser!(i32).range(1..=100_000))]
    pub max_participants: i32,
    /// WebSockets and streams of events on this server, as far as the limit of open files allows [default: 100000]
    #[arg(long, env = "LASTSEEN_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<usize>,
    /// WebSockets and streams of events from one address
    #[arg(long, env = "LASTSEEN_MAX_CONNECTIONS_PER_IP", default_value_t = 1000, value_name = "N")]
    pub max_connections_per_ip: usize,
    /// WebSockets and streams of events that one address may begin in a minute, and at once; one without a resume token or a JWT counts five times [default: six times --max-connections-per-ip]
    #[arg(long, env = "LASTSEEN_MAX_HANDSHAKES_PER_MINUTE", value_name = "N")]
    pub max_handshakes_per_minute: Option<NonZeroU32>,
    /// Sessions that one address may open in a minute (the service is not limited)
    #[arg(long, env = "LASTSEEN_MAX_SESSIONS_PER_MINUTE", default_value = "60", value_name = "N")]
    pub max_sessions_per_minute: NonZeroU32,
    /// Calls that change something, by one user in a minute, and at once (the service is not limited)
    #[arg(long, env = "LASTSEEN_MAX_WRITES_PER_MINUTE", default_value = "600", value_name = "N")]
    pub max_writes_per_minute: NonZeroU32,
    /// Refusals after the upgrade to one address; one is forgotten every 10 s. Beyond a sixth of them the Close comes later and later, beyond all of them an attempt that is refused gets 429 before the upgrade [default: an eighth of --max-connections-per-ip]
    #[arg(long, env = "LASTSEEN_MAX_REFUSALS_PER_IP", value_name = "N")]
    pub max_refusals_per_ip: Option<NonZeroU32>,
    /// Bytes of one WebSocket message from a client: also the largest state as a client sends it that escapes all but ASCII
    #[arg(long, env = "LASTSEEN_MAX_MESSAGE_BYTES", default_value_t = 8192, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(128..=65_536))]
    pub max_message_bytes: u32,
    /// Frames `update` that a connection may send in a second beside its other frames, and twice as many without any
    #[arg(long, env = "LASTSEEN_MAX_UPDATES_PER_SECOND", default_value_t = 20, value_name = "N",
          value_parser = clap::value_parser!(u32).range(1..=100))]
    pub max_updates_per_second: u32,
    /// Bytes of one WebSocket message or event to a client; a list that is longer comes in several
    #[arg(long, env = "LASTSEEN_MAX_FRAME_BYTES", default_value_t = 30_000, value_name = "BYTES",
          value_parser = clap::value_parser!(u32).range(LEAST_FRAME_BYTES..=16_777_216))]
    pub max_frame_bytes: u32,
    /// A connection that takes no data for this long is cut
    #[arg(long, env = "LASTSEEN_WRITE_TIMEOUT", default_value = "10s", value_parser = duration, value_name = "TIME")]
    pub write_timeout: Duration,
    /// How long a stopping server waits for its connections to end and its last writes; these have at least 3 s
    #[arg(long, env = "LASTSEEN_DRAIN_TIMEOUT", default_value = "15s", value_parser = duration, value_name = "TIME")]
    pub drain_timeout: Duration,
}

impl LimitSettings {
    /// How many WebSockets and streams of events there may be.
    pub fn max_connections(&self) -> usize {
        self.max_connections.unwrap_or(100_000)
    }

    /// How long a frame to a client may be, in bytes of its text.
    pub fn max_frame_bytes(&self) -> usize {
        usize::try_from(self.max_frame_bytes).unwrap_or(usize::MAX)
    }

    /// How much may come from one network in a minute, and at once. All people whom `max-connections-per-ip` lets in
    /// can come at the same moment: each counts five times as a newcomer and once for the look at the link.
    pub fn max_handshakes_per_minute(&self) -> NonZeroU32 {
        self.max_handshakes_per_minute.unwrap_or_else(|| {
            let most = u32::try_from(self.max_connections_per_ip).unwrap_or(u32::MAX).saturating_mul(6);
            NonZeroU32::new(most).unwrap_or(NonZeroU32::MIN)
        })
    }

    /// How many refusals after the upgrade one network may have. An eighth of the people who may be there can open a
    /// link that has expired at the same moment, and each reads why they are refused.
    pub fn max_refusals_per_ip(&self) -> NonZeroU32 {
        self.max_refusals_per_ip.unwrap_or_else(|| {
            let most = u32::try_from(self.max_connections_per_ip / 8).unwrap_or(u32::MAX);
            NonZeroU32::new(most).unwrap_or(NonZeroU32::MIN)
        })
    }
}

/// All settings of `lastseen serve`.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub network: NetworkSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub database: DatabaseSettings,
    /// Bring the database's schema up to date at start; `false` leaves that to `lastseen migrate`
    #[arg(long, env = "LASTSEEN_MIGRATE", default_value_t = true, action = ArgAction::Set, value_name = "BOOL", help_heading = "Database")]
    pub migrate: bool,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub identity: IdentitySettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub sessions: SessionSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub presence: PresenceSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub limits: LimitSettings,
    #[command(flatten)]
    #[expect(missing_docs, reason = "the type says it")]
    pub simulators: SimulatorSettings,
}

impl Settings {
    /// Whether the settings make sense together.
    ///
    /// # Errors
    /// One line that names the settings which contradict each other.
    pub fn validate(&self) -> Result<(), String> {
        let (presence, limits) = (&self.presence, &self.limits);
        let idle_timeout = self.sessions.idle_timeout;
        let positive = [
            ("beat-interval", presence.beat_interval),
            ("ping-interval", presence.ping_interval),
            ("dead-after", presence.dead_after),
            ("silent-after", presence.silent_after),
            ("idle-after", presence.idle_after),
            ("diff-interval", presence.diff_interval),
            ("diff-interval-large", presence.diff_interval_large),
            ("flush-interval", presence.flush_interval),
            ("sweep-interval", presence.sweep_interval),
            ("idle-timeout", idle_timeout),
            ("user-session-timeout", self.sessions.user_session_timeout),
            ("write-timeout", limits.write_timeout),
            ("simulator-idle", self.sessions.simulator_idle),
            ("simulator-start-timeout", self.simulators.simulator_start_timeout),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, time)| time.is_zero()) {
            return Err(format!("{name} must be longer than nothing"));
        }
        let longer = |long: (&str, Duration), short: (&str, Duration)| {
            if long.1 > short.1 {
                return Ok(());
            }
            let [long_time, short_time] = [long.1, short.1].map(humantime::format_duration);
            Err(format!("{} ({long_time}) must be longer than {} ({short_time})", long.0, short.0))
        };
        longer(("dead-after", presence.dead_after), ("ping-interval", presence.ping_interval))?;
        longer(("dead-after", presence.dead_after), ("beat-interval", presence.beat_interval))?;
        longer(("silent-after", presence.silent_after), ("beat-interval", presence.beat_interval))?;
        for timeout in [("idle-timeout", idle_timeout), ("user-session-timeout", self.sessions.user_session_timeout)] {
            longer(timeout, ("twice flush-interval", presence.flush_interval * 2))?;
        }
        if self.sessions.user_session_timeout > LONGEST_USER_SESSION_TIMEOUT {
            return Err("user-session-timeout must be at most 365 days".to_owned());
        }
        // The database has presence as of the last flush.
        for (name, time) in [
            ("max-session-age", self.sessions.max_session_age),
            ("min-participants-after", self.sessions.min_participants_after),
        ] {
            if let Some(time) = time {
                longer((name, time), ("twice flush-interval", presence.flush_interval * 2))?;
            }
        }
        if self.sessions.idle_counts == IdleCounts::Activity {
            longer(("idle-timeout", idle_timeout), ("expiring-notice", presence.expiring_notice))?;
        }
        // A beat counts as activity when it is written.
        longer(
            ("simulator-idle", self.sessions.simulator_idle),
            ("twice flush-interval", presence.flush_interval * 2),
        )?;
        self.simulators.validate()?;
        self.identity.validate()?;
        if presence.detail_limit == 0 {
            return Err("detail-limit must be at least 1".to_owned());
        }
        self.network.validate()
    }

    /// Whether people without an account may open a session.
    pub fn guest_hosts(&self) -> bool {
        self.network.guest_hosts.unwrap_or_else(|| self.network.is_private())
    }

    /// Whether tests of the page get a hold on it.
    pub fn dev(&self) -> bool {
        self.network.dev.unwrap_or_else(|| self.network.is_private())
    }

    /// How often connections are pinged. Being connected counts as being seen, so a ping must be answered well
    /// within the timeouts of the person's sessions, even where `ping-interval` is longer.
    pub fn ping_interval(&self) -> Duration {
        let shortest = self.sessions.idle_timeout.min(self.sessions.user_session_timeout);
        self.presence.ping_interval.min(shortest / 4)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        settings: Settings,
    }

    fn settings(arguments: &[&str]) -> Settings {
        let program = std::iter::once("lastseen").chain(arguments.iter().copied());
        Cli::try_parse_from(program).unwrap_or_else(|error| panic!("{error}")).settings
    }

    #[test]
    fn the_defaults_agree_with_each_other() {
        assert_eq!(settings(&[]).validate(), Ok(()));
    }

    #[test]
    fn settings_that_contradict_each_other_are_named() {
        let refused = [
            (&["--dead-after", "20s"][..], "dead-after (20s) must be longer than ping-interval (25s)"),
            (&["--beat-interval", "2m"], "dead-after (1m 15s) must be longer than beat-interval (2m)"),
            (&["--idle-timeout", "8s"], "idle-timeout (8s) must be longer than twice flush-interval (10s)"),
            (
                &["--idle-counts", "activity", "--idle-timeout", "4m"],
                "idle-timeout (4m) must be longer than expiring-notice (5m)",
            ),
            (
                &["--user-session-timeout", "10s"],
                "user-session-timeout (10s) must be longer than twice flush-interval (10s)",
            ),
            (&["--user-session-timeout", "366d"], "user-session-timeout must be at most 365 days"),
            (&["--max-session-age", "1s"], "max-session-age (1s) must be longer than twice flush-interval (10s)"),
            (
                &["--min-participants-after", "10s"],
                "min-participants-after (10s) must be longer than twice flush-interval (10s)",
            ),
            (&["--ping-interval", "0s"], "ping-interval must be longer than nothing"),
            (&["--detail-limit", "0"], "detail-limit must be at least 1"),
            (&["--simulator-idle", "5s"], "simulator-idle (5s) must be longer than twice flush-interval (10s)"),
            (&["--simulator-namespace", "games"], "simulator-namespace needs simulator-image"),
            (&["--dead-link-redirect", "5s"], "dead-link-redirect needs home-url"),
            (&["--jwks-allow-http"], "jwks-allow-http needs jwks"),
            (
                &["--jwks", "keys.json"],
                "jwks needs jwt-iss, jwt-aud or both, since others may have tokens of the same keys: set jwt-iss to the `iss` of your tokens, or jwt-aud to their `aud`",
            ),
            (
                &["--jwt-service-claim", "role=service_role"],
                "jwt-service-claim needs jwks: a token of jwt-secret is the service's by its role, `service_role`",
            ),
            (
                &["--dead-link-redirect", "0s", "--home-url", "https://app.example"],
                "dead-link-redirect must be longer than nothing",
            ),
        ];
        for (arguments, message) in refused {
            assert_eq!(settings(arguments).validate(), Err(message.to_owned()), "{arguments:?}");
        }
    }

    #[test]
    fn anybody_may_host_only_where_the_server_is_private() {
        assert!(settings(&[]).guest_hosts());
        assert!(!settings(&["--listen", "0.0.0.0:80"]).guest_hosts());
        assert!(!settings(&["--public-url", "https://example.org"]).guest_hosts());
        assert!(!settings(&["--trusted-proxies", "10.0.0.0/8"]).guest_hosts());
        assert!(settings(&["--listen", "0.0.0.0:80", "--guest-hosts"]).guest_hosts());
        assert!(!settings(&["--guest-hosts=false"]).guest_hosts());
    }

    #[test]
    fn the_page_is_open_to_tests_only_where_that_is_asked_for_or_the_server_is_private() {
        assert!(settings(&[]).dev() && settings(&["--listen", "0.0.0.0:80", "--dev"]).dev());
        for public in [&["--listen", "0.0.0.0:80"][..], &["--public-url", "https://example.org"], &["--dev=false"]] {
            assert!(!settings(public).dev(), "{public:?}");
        }
    }

    /// The times that are shorter for tries.
    fn times(settings: &Settings) -> Vec<(&'static str, Duration)> {
        let Settings { sessions, presence, .. } = settings;
        let kept = &sessions.retention;
        vec![
            ("idle-timeout", sessions.idle_timeout),
            ("user-session-timeout", sessions.user_session_timeout),
            ("sit-grace", sessions.sit_grace),
            ("simulator-idle", sessions.simulator_idle),
            ("idle-after", presence.idle_after),
            ("expiring-notice", presence.expiring_notice),
            ("sweep-interval", presence.sweep_interval),
            ("reading-sessions", kept.reading_sessions),
            ("user-sessions", kept.user_sessions),
            ("check-ins", kept.check_ins),
            ("sits", kept.sits),
            // As short as clients can follow.
            ("beat-interval", presence.beat_interval),
            ("ping-interval", presence.ping_interval),
            ("dead-after", presence.dead_after),
            ("grace", presence.grace),
            ("flush-interval", presence.flush_interval),
        ]
    }

    #[test]
    fn for_tries_an_hour_is_a_minute() {
        let demo = settings(&["--demo"]);
        assert_eq!(demo.validate(), Ok(()));
        let seconds = Duration::from_secs;
        let bounded = [
            ("beat-interval", seconds(1)),
            ("ping-interval", seconds(1)),
            ("dead-after", seconds(5)),
            ("grace", seconds(6)),
            ("flush-interval", seconds(1)),
        ];
        for ((name, usual), (_, short)) in times(&settings(&[])).into_iter().zip(times(&demo)) {
            let bound = bounded.iter().find(|(bounded, _)| *bounded == name);
            let expected = bound.map_or(usual / 60, |(_, bound)| *bound);
            assert_eq!(short, expected, "{name}");
            assert!(short >= usual / 60, "{name} is shorter than it should be");
        }
        let with_activity = settings(&["--demo", "--idle-counts", "activity"]);
        assert_eq!(with_activity.validate(), Ok(()));
    }

    #[test]
    fn what_is_set_by_hand_is_as_it_is_set_for_tries_too() {
        let demo = settings(&["--demo=true", "--idle-timeout", "1h", "--grace", "15s"]);
        assert_eq!(demo.sessions.idle_timeout, Duration::from_hours(1));
        assert_eq!(demo.presence.grace, Duration::from_secs(15));
        assert_eq!(demo.presence.idle_after, Duration::from_secs(5));
        assert_eq!(times(&settings(&["--demo=false"])), times(&settings(&[])));
    }

    #[test]
    fn connected_people_are_heard_well_within_a_short_idle_timeout() {
        let short = settings(&["--idle-timeout", "4s", "--flush-interval", "1s"]);
        assert_eq!(short.ping_interval(), Duration::from_secs(1));
        let short = settings(&["--user-session-timeout", "8s", "--flush-interval", "1s"]);
        assert_eq!(short.ping_interval(), Duration::from_secs(2));
        assert_eq!(settings(&[]).ping_interval(), Duration::from_secs(25));
    }
}
