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
mod waiting;

use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{ConnectOptions, Connection};

pub use compat::{Compat, CompatChange};
use error::OLDEST;
pub use error::SchemaError;
pub use files::Schema;
use plan::{Applied, Redefine};
pub use quick_check::{Finding, quick_check, quick_check_sql};

use super::cause::in_words;
use super::{pooler, read_only};

/// How long a database may take to answer at start.
const PATIENCE: Duration = Duration::from_secs(10);

/// How long it may take for its first statement. A pooler takes connections while its database is away.
const FIRST_ANSWER: Duration = Duration::from_secs(4);

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
    refuse_changes(options, &mut connection).await?;
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
        // Most starts end here, after three queries and without a lock. One transaction has one session of a pooler.
        let mut look = connection.begin().await?;
        let denied = become_server(&mut look).await?;
        let current = match (self.views_of_current(change, &mut look).await, denied) {
            (Err(_), Some(denied)) => return Err(denied),
            (current, _) => current?,
        };
        look.rollback().await?;
        let views = match current {
            Some(views) => views,
            None => self.apply(change, Redefine::Changed, options, &mut connection).await?,
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
        let views = self.apply(change, Redefine::All, options, &mut connection).await?;
        let _ = connection.close().await;
        Ok(views)
    }

    /// Checks that a database has exactly these files.
    ///
    /// # Errors
    /// [`SchemaError`] where it has not.
    pub async fn check(&self, options: &PgConnectOptions) -> Result<(), SchemaError> {
        let mut connection = connect(options).await?;
        let mut look = connection.begin().await?;
        let denied = become_server(&mut look).await?;
        let lost = match (self.lost_of_current(&mut look).await, denied) {
            (Err(_), Some(denied)) => return Err(denied),
            (lost, _) => lost?,
        };
        look.rollback().await?;
        let _ = connection.close().await;
        match lost.first() {
            Some(lost) => Err(SchemaError::DefinitionLost(lost.clone())),
            None => Ok(()),
        }
    }

    /// The views that a database would have after a change that it has already; `None` where something is to be applied.
    async fn views_of_current(
        &self,
        change: &CompatChange,
        connection: &mut PgConnection,
    ) -> Result<Option<Vec<Compat>>, SchemaError> {
        self.is_here(connection).await?;
        let Some(applied) = Applied::read(connection).await? else { return Ok(None) };
        let chosen = self.chosen(&applied, change)?;
        let lacks = !chosen.plan(&applied)?.is_empty() || !chosen.lost(&applied, connection).await?.is_empty();
        Ok((!lacks).then(|| chosen.views()))
    }

    /// The definitions that a database with exactly these files has lost; fails where it has others.
    async fn lost_of_current(&self, connection: &mut PgConnection) -> Result<Vec<String>, SchemaError> {
        self.is_here(connection).await?;
        let applied = Applied::read(connection).await?.unwrap_or_default();
        let chosen = self.chosen(&applied, &CompatChange::default())?;
        match chosen.plan(&applied)?.first() {
            Some(missing) => Err(SchemaError::Older(missing)),
            None => chosen.lost(&applied, connection).await,
        }
    }

    /// Applies what is missing, once nothing that it needs is locked.
    async fn apply(
        &self,
        change: &CompatChange,
        redefine: Redefine,
        options: &PgConnectOptions,
        connection: &mut PgConnection,
    ) -> Result<Vec<Compat>, SchemaError> {
        refuse_changes(options, connection).await?;
        waiting::apply_when_free(self, change, redefine, options, connection).await
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

/// Works under the server's role for the rest of a transaction, where the login has no right to look by itself: it may be
/// one that does not inherit. Returns why that may not be done either.
async fn become_server(connection: &mut PgConnection) -> Result<Option<SchemaError>, SchemaError> {
    const IS_NEEDED: &str = "
        SELECT EXISTS (SELECT FROM pg_namespace WHERE nspname = 'lastseen' AND NOT has_schema_privilege(oid, 'USAGE'))";
    if !sqlx::query_scalar(IS_NEEDED).persistent(false).fetch_one(&mut *connection).await? {
        return Ok(None);
    }
    let mut attempt = connection.begin().await?;
    match sqlx::raw_sql("SET LOCAL ROLE lastseen_service").execute(&mut *attempt).await {
        Ok(_) => {
            attempt.commit().await?;
            Ok(None)
        }
        Err(error) => {
            attempt.rollback().await?;
            let fault = format!("{}: GRANT lastseen_service TO its login", in_words(&error));
            Ok(Some(SchemaError::Unchecked(fault)))
        }
    }
}

/// Fails where the schema cannot be changed by such connections at all.
async fn refuse_changes(options: &PgConnectOptions, connection: &mut PgConnection) -> Result<(), SchemaError> {
    if let Some(why) = read_only::why(connection).await? {
        return Err(SchemaError::ReadOnly(why));
    }
    match pooler::shares_transactions(&options.clone().extra_float_digits(None)).await? {
        true => Err(SchemaError::ThroughPooler),
        false => Ok(()),
    }
}

async fn connect(options: &PgConnectOptions) -> Result<PgConnection, SchemaError> {
    let unreachable = |fault: String| SchemaError::Unreachable {
        place: format!("{}:{}/{}", options.get_host(), options.get_port(), options.get_database().unwrap_or_default()),
        fault,
    };
    // A pooler refuses the parameter that sqlx would send.
    let options = options.clone().extra_float_digits(None);
    let mut connection = tokio::time::timeout(PATIENCE, options.connect())
        .await
        .map_err(|_| unreachable(format!("no answer within {PATIENCE:?}")))?
        .map_err(|error| unreachable(in_words(&error)))?;
    tokio::time::timeout(FIRST_ANSWER, sqlx::raw_sql("SELECT").execute(&mut connection))
        .await
        .map_err(|_| {
            unreachable(format!("no answer within {FIRST_ANSWER:?}; perhaps a pooler whose database is away"))
        })?
        .map_err(|error| unreachable(in_words(&error)))?;
    match connection.server_version_num().map(|number| number / 10_000) {
        Some(major) if major < OLDEST => Err(SchemaError::OldServer(major)),
        _ => Ok(connection),
    }
}
