//! Which database the server uses: one that it is given, or one of its own.

use sqlx::postgres::PgConnectOptions;

use crate::config::{DatabaseSettings, SessionSettings, Settings};
use crate::store::embedded::{Embedded, Options};
use crate::store::{Store, connect_options, schema};

/// Connections beside those for requests: two for the flush, and some for whoever looks in by hand.
const MORE_CONNECTIONS: u32 = 20;

/// A PostgreSQL that can be connected to.
#[derive(Debug)]
pub enum Database {
    /// One that somebody else runs.
    Given(Box<PgConnectOptions>),
    /// One that lives and dies with the server.
    Embedded(Embedded),
}

impl Database {
    /// Finds the database, or starts one.
    ///
    /// # Errors
    /// Where neither works.
    pub async fn open(settings: &DatabaseSettings) -> anyhow::Result<Self> {
        if let Some(url) = &settings.database_url {
            return Ok(Self::Given(Box::new(connect_options(url).map_err(anyhow::Error::msg)?)));
        }
        let options = Options {
            data_dir: settings.data_dir.clone(),
            bin: settings.postgres_bin.clone(),
            durable: settings.durable,
            max_connections: settings.database_connections + MORE_CONNECTIONS,
        };
        Ok(Self::Embedded(Embedded::start(&options).await?))
    }

    /// As whom migrations are run.
    pub fn owner(&self) -> PgConnectOptions {
        match self {
            Self::Given(options) => PgConnectOptions::clone(options),
            Self::Embedded(embedded) => embedded.admin(),
        }
    }

    fn server(&self) -> PgConnectOptions {
        match self {
            Self::Given(options) => PgConnectOptions::clone(options),
            Self::Embedded(embedded) => embedded.app(),
        }
    }

    /// Brings the schema up to date, or sees that it is, and opens the store.
    ///
    /// # Errors
    /// Where the database does not fit.
    pub async fn prepare(&self, settings: &Settings) -> anyhow::Result<Store> {
        match settings.migrate {
            true => schema::migrate(&self.owner()).await?,
            false => schema::check(&self.server()).await?,
        }
        self.store(&settings.database, &settings.sessions, settings.network.node.clone()).await
    }

    /// Opens the store of a schema that is in place.
    ///
    /// # Errors
    /// Where no connection can be had.
    pub async fn store(
        &self,
        database: &DatabaseSettings,
        sessions: &SessionSettings,
        node: String,
    ) -> anyhow::Result<Store> {
        Ok(Store::open(self.server(), database.database_connections, sessions.into(), node).await?)
    }

    /// Ends it, where it is the server's own.
    pub async fn close(self) {
        if let Self::Embedded(embedded) = self {
            embedded.stop().await;
        }
    }
}
