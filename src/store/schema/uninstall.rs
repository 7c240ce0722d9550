//! Taking lastseen out of a database: all that it is listed to have made there, and nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection};
use tokio::time::{Instant, sleep};

use super::apply::{BEGIN, HOME_COMMENT, PREPARE};
use super::catalog::existing;
use super::compat;
use super::error::SchemaError;
use super::files::{ROLES, Schema};
use super::plan::Applied;
use super::rename::{OWN, WRITTEN};
use crate::store::cause::with_detail;

/// The connections of servers have this name.
const IN_USE: &str = "
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'lastseen' AND pid <> pg_backend_pid()";

/// How long the connections of a server that has just ended may take to be gone.
const GOODBYE: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// What is going to be dropped.
#[derive(Debug)]
pub struct Inventory {
    /// The tables, as SQL names them, each with its number of rows.
    pub tables: Vec<(String, i64)>,
    /// How many of everything else, by its kind.
    pub definitions: BTreeMap<String, usize>,
    /// The command that writes the rows to a file.
    pub dump: String,
}

impl Schema {
    /// What [`Schema::uninstall`] would drop.
    ///
    /// # Errors
    /// [`SchemaError`] where that cannot be said, or done.
    pub async fn inventory(&self, options: &PgConnectOptions) -> Result<Inventory, SchemaError> {
        let mut connection = super::connect(options).await?;
        let mut transaction = connection.begin().await?;
        let applied = self.listed(&mut transaction).await?;
        let found = existing(&applied.tables(self), &mut transaction).await?;
        let names: Vec<String> = found.iter().filter_map(|table| Some(table.split_once(' ')?.1.to_owned())).collect();
        // The owner of the tables sees no rows: the policies bind it too.
        sqlx::query("SET LOCAL ROLE lastseen_service").execute(&mut *transaction).await?;
        let mut tables = Vec::new();
        for name in names.into_iter().filter(|name| name != "lastseen.migrations") {
            let count = format!("SELECT count(*) FROM {name}");
            let rows = sqlx::query_scalar(AssertSqlSafe(count)).fetch_one(&mut *transaction).await?;
            tables.push((name, rows));
        }
        transaction.rollback().await?;
        let _ = connection.close().await;

        let mut definitions = BTreeMap::new();
        for kind in applied.everything().filter_map(|object| Some(object.split_once(' ')?.0)) {
            *definitions.entry(kind.to_owned()).or_default() += 1;
        }
        let dump = dump_command(options, tables.iter().map(|(name, _)| name.as_str()));
        Ok(Inventory { tables, definitions, dump })
    }

    /// Drops everything that is listed as made, in one transaction. Returns what stays because others use it, with
    /// the reason.
    ///
    /// # Errors
    /// [`SchemaError`], with nothing dropped: where servers are running, or something of others depends on ours.
    pub async fn uninstall(&self, options: &PgConnectOptions) -> Result<Vec<String>, SchemaError> {
        let mut connection = super::connect(options).await?;
        super::refuse_changes(options, &mut connection).await?;
        let mut transaction = connection.begin_with(BEGIN).await?;
        sqlx::raw_sql(PREPARE).execute(&mut *transaction).await?;
        sqlx::query("SET LOCAL lock_timeout = '10s'").execute(&mut *transaction).await?;
        let applied = self.listed(&mut transaction).await?;
        let stays = self.drop_all(&applied, &mut transaction).await?;
        transaction.commit().await?;
        let _ = connection.close().await;
        Ok(stays)
    }

    /// The list of what was made, where it is whole and nothing works on it.
    async fn listed(&self, connection: &mut PgConnection) -> Result<Applied, SchemaError> {
        self.is_here(connection).await?;
        let list = ["table lastseen.migrations".to_owned()];
        if existing(&list, connection).await?.is_empty() {
            return Err(SchemaError::Absent);
        }
        let applied = Applied::read(connection).await?.filter(|applied| !applied.0.is_empty());
        let applied = applied.ok_or(SchemaError::Absent)?;
        // A newer lastseen made more than is known here.
        self.plan(&applied)?;
        let deadline = Instant::now() + GOODBYE;
        loop {
            sqlx::query("SELECT pg_stat_clear_snapshot()").execute(&mut *connection).await?;
            match sqlx::query_scalar(IN_USE).fetch_one(&mut *connection).await? {
                0 => return Ok(applied),
                open if Instant::now() >= deadline => return Err(SchemaError::InUse(open)),
                _ => sleep(LOOK_AGAIN).await,
            }
        }
    }

    async fn drop_all(&self, applied: &Applied, connection: &mut PgConnection) -> Result<Vec<String>, SchemaError> {
        let (schemas, objects): (Vec<_>, Vec<_>) =
            applied.everything().cloned().partition(|object| object.starts_with("schema "));
        drop_in_any_order(objects, connection).await?;
        let tables = applied.tables(self);
        let names: Vec<&str> = tables.iter().filter_map(|table| Some(table.split_once(' ')?.1)).collect();
        if !names.is_empty() {
            let drop = format!("DROP TABLE IF EXISTS {}", names.join(", "));
            let outcome = sqlx::query(AssertSqlSafe(drop)).execute(&mut *connection).await;
            outcome.map_err(|error| SchemaError::Needed(with_detail(&error)))?;
        }

        compat::drop_schemas(connection).await?;
        let mut stays = Vec::new();
        for schema in schemas.iter().filter_map(|object| object.split_once(' ').map(|(_, name)| name)).chain([OWN]) {
            self.try_drop("SCHEMA", schema, connection, &mut stays).await?;
        }
        let comment = "SELECT obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = $1";
        let comment: Option<Option<String>> =
            sqlx::query_scalar(comment).bind(self.home.as_str()).fetch_optional(&mut *connection).await?;
        if comment.flatten().as_deref() == Some(HOME_COMMENT) {
            self.try_drop("SCHEMA", &self.home.quoted(), connection, &mut stays).await?;
        }
        self.drop_identity(connection, &mut stays).await?;
        self.drop_roles(connection, &mut stays).await?;
        Ok(stays)
    }

    /// The schema `auth` and its functions, where lastseen made them: they then have its comments.
    async fn drop_identity(&self, connection: &mut PgConnection, stays: &mut Vec<String>) -> Result<(), SchemaError> {
        const MADE: &str = "
            SELECT 'FUNCTION', p.oid::regprocedure::text, obj_description(p.oid, 'pg_proc')
            FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
            WHERE n.nspname = 'auth' AND p.proname IN ('uid', 'role')
            UNION ALL
            SELECT 'SCHEMA', nspname::text, obj_description(oid, 'pg_namespace') FROM pg_namespace WHERE nspname = 'auth'";
        let made: Vec<(String, String, Option<String>)> = sqlx::query_as(MADE).fetch_all(&mut *connection).await?;
        for (kind, name, comment) in made {
            if comment.is_some_and(|comment| self.gives_comment("0002_auth.sql", &comment)) {
                self.try_drop(&kind, &name, connection, stays).await?;
            }
        }
        Ok(())
    }

    /// The roles that lastseen made and that nothing else uses, in no database of the cluster.
    async fn drop_roles(&self, connection: &mut PgConnection, stays: &mut Vec<String>) -> Result<(), SchemaError> {
        const FOUND: &str = "
            SELECT r.rolname::text, shobj_description(r.oid, 'pg_authid'),
                   (SELECT string_agg(m.member::regrole::text, ', ') FROM pg_auth_members AS m
                    WHERE m.roleid = r.oid AND m.member <> ALL (ours.oids) AND m.member <> current_user::regrole)
            FROM (SELECT array_agg(oid) AS oids FROM pg_roles WHERE rolname = ANY ($1)) AS ours, pg_roles AS r
            WHERE r.oid = ANY (ours.oids)
            ORDER BY array_position($1, r.rolname::text)";
        // A member goes before the role.
        let mut names = ROLES;
        names.reverse();
        let roles: Vec<(String, Option<String>, Option<String>)> =
            sqlx::query_as(FOUND).bind(names).fetch_all(&mut *connection).await?;
        for (role, comment, members) in roles {
            let made = comment.is_some_and(|comment| self.role_files().any(|file| file.gives_comment(&comment)));
            let only_ours = role.starts_with("lastseen_");
            if !made && !only_ours {
                continue;
            }
            let mut revokes = String::new();
            for schema in existing(&["schema public", "schema auth"].map(str::to_owned), connection).await? {
                revokes += &format!("REVOKE ALL ON {schema} FROM {role};");
            }
            if self.home.as_str() != WRITTEN
                && !existing(&[format!("schema {}", self.home)], connection).await?.is_empty()
            {
                revokes += &format!("REVOKE ALL ON SCHEMA {} FROM {role};", self.home.quoted());
            }
            // A role of lastseen's alone needs nothing here any more, also where another database keeps it.
            if members.is_none() || only_ours {
                let _ = attempt(&revokes, connection).await?;
            }
            if !made {
                stays.push(format!("the role {role}: it was made before lastseen came"));
            } else if let Some(members) = members {
                stays.push(format!("the role {role}: {members} belongs to it"));
            } else if let Err(error) = attempt(&format!("DROP ROLE {role}"), connection).await? {
                stays.push(format!("the role {role}: {}", with_detail(&error)));
            }
        }
        Ok(())
    }

    /// Whether this file of tables comments on something in these words.
    fn gives_comment(&self, file: &str, comment: &str) -> bool {
        self.tables.iter().any(|table| table.name == file && table.gives_comment(comment))
    }

    /// Drops it, or notes why it stays: something in it, or that depends on it, is not ours.
    async fn try_drop(
        &self,
        kind: &str,
        name: &str,
        connection: &mut PgConnection,
        stays: &mut Vec<String>,
    ) -> Result<(), SchemaError> {
        if let Err(error) = attempt(&format!("DROP {kind} IF EXISTS {name}"), connection).await? {
            stays.push(format!("the {} {name}: {}", kind.to_lowercase(), with_detail(&error)));
        }
        Ok(())
    }
}

impl Applied {
    /// All that is listed, the last first, also of files that this version does not have.
    fn everything(&self) -> impl Iterator<Item = &String> {
        self.0.iter().rev().flat_map(|row| row.objects.iter().rev())
    }
}

/// Drops objects of which one may need another, in as many rounds as that takes.
async fn drop_in_any_order(mut objects: Vec<String>, connection: &mut PgConnection) -> Result<(), SchemaError> {
    while !objects.is_empty() {
        let (mut left, mut fault) = (Vec::new(), None);
        for object in &objects {
            let (kind, name) = object.split_once(' ').unwrap_or((object, ""));
            if let Err(error) = attempt(&format!("DROP {kind} IF EXISTS {name}"), connection).await? {
                fault.get_or_insert(error);
                left.push(object.clone());
            }
        }
        match fault {
            Some(fault) if left.len() == objects.len() => return Err(SchemaError::Needed(with_detail(&fault))),
            _ => objects = left,
        }
    }
    Ok(())
}

/// Runs statements; where one fails none is done, and the transaction goes on.
async fn attempt(statements: &str, connection: &mut PgConnection) -> Result<Result<(), sqlx::Error>, SchemaError> {
    let mut savepoint = connection.begin().await?;
    match sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut *savepoint).await {
        Ok(_) => {
            savepoint.commit().await?;
            Ok(Ok(()))
        }
        Err(error) => {
            savepoint.rollback().await?;
            Ok(Err(error))
        }
    }
}

/// `pg_dump` of the rows of these tables, without a password. Policies show the owner of the tables no rows, and COPY
/// would not write them back through the policies: INSERT does.
fn dump_command<'a>(options: &PgConnectOptions, tables: impl Iterator<Item = &'a str>) -> String {
    let host = options.get_socket().map_or(options.get_host().to_owned(), |socket| socket.display().to_string());
    let place = [
        ("host", host),
        ("port", options.get_port().to_string()),
        ("username", options.get_username().to_owned()),
        ("dbname", options.get_database().unwrap_or_default().to_owned()),
        ("file", "lastseen.dump".to_owned()),
    ];
    let mut command = "pg_dump --data-only --format=custom --rows-per-insert=1000".to_owned();
    command += " --role=lastseen_service --enable-row-security";
    for (flag, value) in place.into_iter().chain(tables.map(|table| ("table", table.to_owned()))) {
        let quoted = shlex::try_quote(&value).map_or_else(|_| value.clone(), std::borrow::Cow::into_owned);
        command += &format!(" --{flag}={quoted}");
    }
    command
}
