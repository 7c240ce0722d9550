//! The schema: the files of `migrations/`, applied, or compared with what was applied.
//!
//! Tables are in numbered files, each applied once. Functions, views, policies, grants and triggers are in
//! `functions/`, and a file of these is applied again whenever its content has changed; so are those of `compat/` that
//! were asked for. `lastseen.migrations` has a row for each applied file.
//!
//! Tables, views and the functions for operators are in a schema that can be chosen, in the files `public`; what only
//! the server calls is in `lastseen`.

mod apply;
mod before;
mod by_hand;
mod catalog;
mod compat;
mod earlier;
mod error;
mod files;
mod obstacles;
mod plan;
mod quick_check;
mod rename;
pub mod uninstall;

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

pub use compat::{Compat, CompatChange};
pub use error::SchemaError;
use error::{OLDEST, one_line};
pub use files::Schema;
use plan::{Applied, Redefine};
pub use quick_check::{Finding, quick_check, quick_check_sql};

/// How long a database may take to answer at start.
const PATIENCE: Duration = Duration::from_secs(10);

/// Brings the schema up to date with this version.
///
/// # Errors
/// [`SchemaError`], with nothing applied.
pub async fn migrate(options: &PgConnectOptions) -> Result<(), SchemaError> {
    Schema::embedded().migrate(options).await
}

/// The same, and all functions, views, policies, triggers and privileges anew, whoever has changed them since.
///
/// # Errors
/// [`SchemaError`], with nothing applied.
pub async fn redefine(options: &PgConnectOptions) -> Result<(), SchemaError> {
    Schema::embedded().redefine(&CompatChange::default(), options).await.map(drop)
}

/// Makes the roles that the cluster lacks, and nothing else: a dump has what was granted to them, but not the roles.
///
/// # Errors
/// [`SchemaError`], with nothing made.
pub async fn make_roles(options: &PgConnectOptions) -> Result<(), SchemaError> {
    let mut connection = connect(options).await?;
    apply::make_roles(&Schema::embedded(), &mut connection).await?;
    let _ = connection.close().await;
    Ok(())
}

/// Checks that the schema is the one of this version.
///
/// # Errors
/// [`SchemaError`] where it is not.
pub async fn check(options: &PgConnectOptions) -> Result<(), SchemaError> {
    Schema::embedded().check(options).await
}

impl Schema {
    /// Brings a database up to date with these files; views for other designs that it has stay.
    ///
    /// # Errors
    /// [`SchemaError`], with nothing applied.
    pub async fn migrate(&self, options: &PgConnectOptions) -> Result<(), SchemaError> {
        self.migrate_with(&CompatChange::default(), options).await.map(drop)
    }

    /// The same with another choice of views for other designs; returns those that the database then has.
    ///
    /// # Errors
    /// [`SchemaError`], with nothing applied.
    pub async fn migrate_with(
        &self,
        change: &CompatChange,
        options: &PgConnectOptions,
    ) -> Result<Vec<Compat>, SchemaError> {
        let mut connection = connect(options).await?;
        self.is_here(&mut connection).await?;
        // Most starts end here, after three queries and without a lock.
        let current = match Applied::read(&mut connection).await? {
            Some(applied) => {
                let chosen = self.chosen(&applied, change)?;
                let lacks =
                    !chosen.plan(&applied)?.is_empty() || !chosen.lost(&applied, &mut connection).await?.is_empty();
                (!lacks).then(|| chosen.views())
            }
            None => None,
        };
        let views = match current {
            Some(views) => views,
            None => apply::apply(self, change, Redefine::Changed, &mut connection).await?,
        };
        let _ = connection.close().await;
        Ok(views)
    }

    /// The same, and all definitions anew, whoever has changed them since.
    ///
    /// # Errors
    /// [`SchemaError`], with nothing applied.
    pub async fn redefine(
        &self,
        change: &CompatChange,
        options: &PgConnectOptions,
    ) -> Result<Vec<Compat>, SchemaError> {
        let mut connection = connect(options).await?;
        let views = apply::apply(self, change, Redefine::All, &mut connection).await?;
        let _ = connection.close().await;
        Ok(views)
    }

    /// Checks that a database has exactly these files.
    ///
    /// # Errors
    /// [`SchemaError`] where it has not.
    pub async fn check(&self, options: &PgConnectOptions) -> Result<(), SchemaError> {
        let mut connection = connect(options).await?;
        self.is_here(&mut connection).await?;
        let applied = Applied::read(&mut connection).await?.unwrap_or_default();
        let chosen = self.chosen(&applied, &CompatChange::default())?;
        if let Some(missing) = chosen.plan(&applied)?.first() {
            return Err(SchemaError::Older(missing));
        }
        let lost = chosen.lost(&applied, &mut connection).await?;
        let _ = connection.close().await;
        match lost.first() {
            Some(lost) => Err(SchemaError::DefinitionLost(lost.clone())),
            None => Ok(()),
        }
    }

    /// Checks that the database has no lastseen with its tables in another schema.
    async fn is_here(&self, connection: &mut PgConnection) -> Result<(), SchemaError> {
        match catalog::home(connection).await? {
            Some(found) if found != self.home.as_str() => {
                Err(SchemaError::Elsewhere { found, asked: self.home.to_string() })
            }
            _ => Ok(()),
        }
    }

    /// The definitions that were applied and are not there any more, or what they are made on; fails where that is a
    /// table.
    async fn lost(&self, applied: &Applied, connection: &mut PgConnection) -> Result<Vec<String>, SchemaError> {
        let mut objects = applied.tables(self);
        objects.extend(applied.objects().cloned());
        objects.extend(Schema::foundations());
        let lost = catalog::missing(&objects, connection).await?;
        match lost.iter().find(|object| object.starts_with("table ")) {
            Some(table) => Err(SchemaError::TableLost(format!("the {table}"))),
            None => Ok(lost),
        }
    }
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, SchemaError> {
    let unreachable = |fault: String| SchemaError::Unreachable {
        place: format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or_default()),
        fault,
    };
    let connection = tokio::time::timeout(PATIENCE, options.connect())
        .await
        .map_err(|_| unreachable(format!("no answer within {PATIENCE:?}")))?
        .map_err(|error| unreachable(one_line(&error)))?;
    match connection.server_version_num().map(|number| number / 10_000) {
        Some(major) if major < OLDEST => Err(SchemaError::OldServer(major)),
        _ => Ok(connection),
    }
}
