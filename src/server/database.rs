//! The server's database: a given PostgreSQL, or an embedded one.

use sqlx::postgres::PgConnectOptions;

use crate::config::{DatabaseSettings, SessionSettings, Settings};
use crate::store::embedded::{Embedded, EmbeddedError, Options};
use crate::store::schema::Schema;
use crate::store::{Store, connect_options};

/// Connections beside those of requests: two for the flush, the others for psql and the like.
const MORE_CONNECTIONS: u32 = 20;

/// A PostgreSQL that accepts connections.
#[derive(Debug)]
pub enum Database {
    /// One that runs independently of this server.
    Given {
        /// How the server reaches it, perhaps through a pooler.
        server: Box<PgConnectOptions>,
        /// How the role that migrates reaches it.
        owner: Box<PgConnectOptions>,
    },
    /// One that starts and stops with this server.
    Embedded(Embedded),
}

impl Database {
    /// Uses the given database, or starts the embedded one.
    ///
    /// # Errors
    /// Where the URL is not valid, or the embedded one does not start.
    pub async fn open(settings: &DatabaseSettings) -> anyhow::Result<Self> {
        if let Some(url) = &settings.database_url {
            let read = |setting, url: &str| connect_options(setting, url).map(Box::new).map_err(anyhow::Error::msg);
            let server = read("DATABASE_URL", url)?;
            let direct = settings.database_direct_url.as_deref().map(|url| read("DATABASE_DIRECT_URL", url));
            return Ok(Self::Given { owner: direct.transpose()?.unwrap_or_else(|| server.clone()), server });
        }
        let options = Options {
            data_dir: settings.data_dir.clone(),
            bin: settings.postgres_bin.clone(),
            durable: settings.durable,
            max_connections: settings.database_connections + MORE_CONNECTIONS,
        };
        Ok(Self::Embedded(Embedded::start(&options).await?))
    }

    /// The same, and where a server is running on the data directory, the database of that server.
    ///
    /// # Errors
    /// As of [`Database::open`].
    pub async fn open_beside(settings: &DatabaseSettings) -> anyhow::Result<Self> {
        match Self::open(settings).await {
            Err(error) if matches!(error.downcast_ref(), Some(EmbeddedError::InUse(_))) => {
                let admin = Box::new(Embedded::admin_beside(&settings.data_dir)?);
                Ok(Self::Given { server: admin.clone(), owner: admin })
            }
            opened => opened,
        }
    }

    /// The role that runs migrations.
    pub fn owner(&self) -> PgConnectOptions {
        match self {
            Self::Given { owner, .. } => PgConnectOptions::clone(owner),
            Self::Embedded(embedded) => embedded.admin(),
        }
    }

    fn server(&self) -> PgConnectOptions {
        match self {
            Self::Given { server, .. } => PgConnectOptions::clone(server),
            Self::Embedded(embedded) => embedded.app(),
        }
    }

    /// Migrates the schema, or checks that it is current, and opens the store.
    ///
    /// # Errors
    /// Where the schema cannot be used.
    pub async fn prepare(&self, settings: &Settings) -> anyhow::Result<Store> {
        let schema = Schema::embedded().within(&settings.database.schema);
        match settings.migrate {
            true => schema.migrate(&self.owner()).await?,
            false => schema.check(&self.server()).await?,
        }
        self.store(&settings.database, &settings.sessions, settings.network.node.clone()).await
    }

    /// Opens the store on a current schema.
    ///
    /// # Errors
    /// Where no connection can be opened.
    pub async fn store(
        &self,
        database: &DatabaseSettings,
        sessions: &SessionSettings,
        node: String,
    ) -> anyhow::Result<Store> {
        Ok(Store::open(self.server(), &database.schema, database.database_connections, sessions.idle(), node).await?)
    }

    /// Stops the embedded database; a given one is left running.
    pub async fn close(self) {
        if let Self::Embedded(embedded) = self {
            embedded.stop().await;
        }
    }
}
