//! The parts of a server, which handlers, connections and background tasks share.

pub mod rules;

use std::net::SocketAddr;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::FromRef;
use ipnet::IpNet;
use tokio::time::sleep;
use tokio_util::task::TaskTracker;

use crate::admission::Admissions;
use crate::admission::limits::Limits;
use crate::admission::rates::Rates;
use crate::admission::refusal_log::RefusalLog;
use crate::admission::tarpit::Tarpit;
use crate::clock::{Clock, RUNNING_INTERVAL};
use crate::config::{PublicUrl, Settings};
use crate::identity::Keys;
use crate::identity::client_address::canonical;
use crate::identity::origin::Origins;
use crate::metrics::Metrics;
use crate::protocol::v1::Frames;
use crate::room::schedule::Schedule;
use crate::room::{Feature, Registry, RoomMetrics, Shared, WriteBehind};
use crate::simulator::Launcher;
use crate::simulator::supervisor::Supervisor;
use crate::sit::{SitRecorder, Sits};
use crate::store::Store;
use crate::task::compensate::Compensator;
use crate::task::figures::{Figures, Sources};
use crate::task::flush::Flusher;
use crate::task::sweep::Sweeper;
use crate::task::{Tasks, skew, tick};
use crate::user_session::UserSessions;
use rules::{ConnectionRules, PageRules};

/// How often networks and users are forgotten that may do as much as any other.
const FORGET_INTERVAL: Duration = Duration::from_mins(1);

/// All parts of a server. Handlers take those that they need by [`FromRef`].
#[derive(Clone, Debug)]
pub struct App(Arc<Parts>);

/// What an [`App`] consists of.
#[derive(Debug)]
#[expect(missing_docs, reason = "the types say it")]
pub struct Parts {
    pub clock: Clock,
    pub keys: Arc<Keys>,
    pub admissions: Admissions,
    pub limits: Arc<Limits>,
    pub origins: Origins,
    pub trusted_proxies: Vec<IpNet>,
    pub rates: Rates,
    pub tarpit: Tarpit,
    pub refusal_log: Arc<RefusalLog>,
    pub registry: Arc<Registry>,
    pub write_behind: Arc<WriteBehind>,
    pub user_sessions: Arc<UserSessions>,
    pub store: Store,
    pub flusher: Arc<Flusher>,
    pub sweeper: Arc<Sweeper>,
    pub sits: Arc<SitRecorder>,
    pub figures: Arc<Figures>,
    pub supervisor: Arc<Supervisor>,
    pub metrics: Arc<Metrics>,
    pub frames: Arc<Frames>,
    pub connection: ConnectionRules,
    pub public_url: PublicUrl,
    pub page: PageRules,
    /// Whether callers without a JWT may open a session.
    pub guest_hosts: bool,
    /// The capacity of a session that is opened without one.
    pub max_participants: i32,
    /// Each connection and each call holds a token of it; shutdown waits for them.
    pub tracker: TaskTracker,
}

impl App {
    /// Builds the parts. `address` is the one that the server listens on, `connection_ends` the words for
    /// why a connection ended, `metrics` what the keys count in already.
    ///
    /// # Errors
    /// Where the launcher of simulators cannot be set up.
    pub async fn new(
        settings: &Settings,
        keys: Keys,
        store: Store,
        address: SocketAddr,
        connection_ends: Vec<&'static str>,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Self> {
        let (keys, clock) = (Arc::new(keys), Clock::new());
        let sits = Arc::new(Sits::default());
        let registry = registry(settings, clock, &sits, &metrics);
        let user_sessions = Arc::new(UserSessions::new(clock, rules::of_user_sessions(settings)));
        let limits = Arc::new(Limits::new(&settings.limits));
        let (flusher, sweeper) = writers(settings, &registry, &user_sessions, &store, &metrics);
        let figures = Arc::new(Figures::new(Sources {
            node: store.node().to_owned(),
            metrics: Arc::clone(&metrics),
            registry: Arc::clone(&registry),
            limits: Arc::clone(&limits),
            user_sessions: Arc::clone(&user_sessions),
            flusher: Arc::clone(&flusher),
            sweeper: Arc::clone(&sweeper),
            connection_ends,
            max_frame_bytes: settings.limits.max_frame_bytes(),
        }));
        Ok(Self(Arc::new(Parts {
            clock,
            admissions: Admissions::new(Arc::clone(&keys), store.clone(), Arc::clone(&registry)),
            keys,
            limits,
            origins: Origins::new(&settings.network),
            trusted_proxies: settings.network.trusted_proxies.iter().copied().map(canonical).collect(),
            rates: Rates::new(&settings.limits),
            tarpit: Tarpit::new(&settings.limits),
            refusal_log: Arc::default(),
            write_behind: Arc::clone(&registry.shared().write_behind),
            sits: Arc::new(SitRecorder::new(sits, Arc::clone(&registry), store.clone())),
            registry,
            user_sessions,
            flusher,
            sweeper,
            figures,
            supervisor: supervisor(settings, &store, &metrics).await?,
            store,
            metrics,
            frames: Arc::new(Frames::new(clock, settings)),
            connection: rules::of_connections(settings),
            public_url: public_url(settings, address),
            page: rules::of_page(settings),
            guest_hosts: settings.guest_hosts(),
            max_participants: settings.limits.max_participants,
            tracker: TaskTracker::new(),
        })))
    }

    /// Starts the background tasks.
    pub fn spawn(&self, tasks: &Tasks) {
        tasks.spawn("clock", &self.0, |parts| async move {
            loop {
                parts.clock.note_running();
                sleep(RUNNING_INTERVAL).await;
            }
        });
        tick::spawn(tasks, &self.registry);
        skew::spawn(tasks, &self.store);
        self.flusher.spawn(tasks);
        self.sweeper.spawn(tasks);
        Arc::new(Compensator::new(Arc::clone(&self.registry), self.store.clone())).spawn(tasks);
        self.sits.spawn(tasks);
        self.figures.spawn(tasks);
        self.supervisor.spawn(tasks);
        tasks.spawn("rates", &self.0, |parts| async move {
            loop {
                sleep(FORGET_INTERVAL).await;
                parts.rates.forget();
                parts.tarpit.forget();
            }
        });
    }
}

impl Deref for App {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// Gives handlers these parts by `State`.
macro_rules! parts {
    ($($part:ident: $type:ty),+ $(,)?) => {
        $(impl FromRef<App> for $type {
            fn from_ref(app: &App) -> Self {
                app.$part.clone()
            }
        })+
    };
}

parts! {
    store: Store,
    registry: Arc<Registry>,
    user_sessions: Arc<UserSessions>,
    sweeper: Arc<Sweeper>,
    supervisor: Arc<Supervisor>,
    public_url: PublicUrl,
}

/// How people reach the server: by what the settings say, else by where it listens.
fn public_url(settings: &Settings, address: SocketAddr) -> PublicUrl {
    let network = &settings.network;
    network.public_url.clone().unwrap_or_else(|| PublicUrl::of_origin(format!("{}://{address}", network.scheme())))
}

fn registry(settings: &Settings, clock: Clock, sits: &Arc<Sits>, metrics: &Arc<Metrics>) -> Arc<Registry> {
    let shared = Shared {
        rules: rules::of_rooms(settings),
        clock,
        write_behind: Arc::default(),
        schedule: Schedule::default(),
        features: vec![Arc::clone(sits) as Arc<dyn Feature>],
        metrics: Arc::clone(metrics) as Arc<dyn RoomMetrics>,
    };
    Arc::new(Registry::new(Arc::new(shared)))
}

fn writers(
    settings: &Settings,
    registry: &Arc<Registry>,
    user_sessions: &Arc<UserSessions>,
    store: &Store,
    metrics: &Arc<Metrics>,
) -> (Arc<Flusher>, Arc<Sweeper>) {
    let flusher = Arc::new(Flusher::new(
        Arc::clone(registry),
        Arc::clone(user_sessions),
        store.clone(),
        Arc::clone(metrics),
        settings.presence.flush_interval,
    ));
    let sweeper = Arc::new(Sweeper::new(
        Arc::clone(registry),
        store.clone(),
        Arc::clone(&flusher),
        Arc::clone(metrics),
        &settings.presence,
        settings.sessions.clone(),
    ));
    (flusher, sweeper)
}

async fn supervisor(settings: &Settings, store: &Store, metrics: &Arc<Metrics>) -> anyhow::Result<Arc<Supervisor>> {
    let launcher = Launcher::of(&settings.simulators, store.node()).await?;
    Ok(Arc::new(Supervisor::new(launcher, store.clone(), Arc::clone(metrics), settings.simulators.clone())))
}
