//! Views under names of other designs, for apps that ask for them: the files of `compat/`, each made on request.
//!
//! Which of them a database has is what `lastseen.migrations` lists, so that every later migration keeps them.

use std::collections::BTreeSet;

use sqlx::postgres::PgConnection;

use super::catalog::existing;
use super::error::SchemaError;
use super::files::{COMPAT, File, Schema};
use super::plan::{Applied, Plan};
use crate::domain::words::words;

words! {
    /// A design whose names apps ask for.
    Compat {
        /// Check-ins as `sessions`.
        CheckIns = "check-ins",
        /// Sits as `sessions`.
        Sits = "sits",
        /// User sessions as `session.active_sessions`, and what belongs to them.
        SessionService = "session-service",
    }
}

/// Schemas that were made for views, as their comments say, are dropped when nothing is in them.
const DROP_SCHEMAS: &str = "
    DO $$
    DECLARE
      made record;
    BEGIN
      FOR made IN
        SELECT nspname FROM pg_namespace
        WHERE nspname IN ('session', 'simulator')
          AND obj_description(oid, 'pg_namespace') LIKE 'Made by lastseen migrate --compat %'
      LOOP
        BEGIN
          EXECUTE format('DROP SCHEMA %I', made.nspname);
        EXCEPTION WHEN dependent_objects_still_exist THEN
          NULL;
        END;
      END LOOP;
    END
    $$";

/// What a migration changes of these views.
#[derive(Clone, Debug, Default)]
pub struct CompatChange {
    /// Those that the database has are dropped.
    pub none: bool,
    /// These are made, beside those that it has.
    pub add: Vec<Compat>,
}

impl Compat {
    fn file(self) -> String {
        format!("{COMPAT}{}.sql", self.as_str())
    }
}

impl Schema {
    /// These files, with those of the views that the database has after this change.
    pub(super) fn chosen(&self, applied: &Applied, change: &CompatChange) -> Result<Self, SchemaError> {
        let stays = |compat: &Compat| !change.none && applied.has(&compat.file());
        let wanted = Compat::ALL.iter().filter(|compat| stays(compat) || change.add.contains(compat));
        let wanted: Vec<String> = wanted.map(|compat| compat.file()).collect();
        if [Compat::CheckIns, Compat::Sits].iter().all(|compat| wanted.contains(&compat.file())) {
            return Err(SchemaError::OneSessions);
        }
        let mut chosen = self.clone();
        chosen.definitions.extend(self.compat.iter().filter(|file| wanted.contains(&file.name)).cloned());
        Ok(chosen)
    }

    /// Of which designs there are views among the definitions.
    pub(super) fn views(&self) -> Vec<Compat> {
        let chosen = |compat: &&Compat| self.definitions.iter().any(|file| file.name == compat.file());
        Compat::ALL.iter().filter(chosen).copied().collect()
    }
}

/// Fails where something that is not ours has a name that the views of this plan are to have. Before anything is made.
pub(super) async fn refuse(
    plan: &Plan<'_>,
    applied: &Applied,
    connection: &mut PgConnection,
) -> Result<(), SchemaError> {
    let ours: BTreeSet<&String> = applied.objects().collect();
    let mut wanted: Vec<String> =
        plan.definitions.iter().filter(|file| file.is_compat()).flat_map(|file| file.objects()).collect();
    wanted.retain(|object| !ours.contains(object) && !object.starts_with("trigger "));
    let found = existing(&wanted, connection).await?;
    if found.is_empty() {
        return Ok(());
    }
    // They may be of another kind.
    let names = found.iter().filter_map(|object| Some(object.split_once(' ')?.1.replace('"', "")));
    Err(SchemaError::CompatInTheWay(names.collect::<Vec<_>>().join(", ")))
}

/// Drops the schemas that were made for views, where nothing is in them any more.
pub(super) async fn drop_schemas(connection: &mut PgConnection) -> Result<(), SchemaError> {
    sqlx::raw_sql(DROP_SCHEMAS).execute(connection).await?;
    Ok(())
}

impl File {
    /// Whether these are views of another design.
    pub(super) fn is_compat(&self) -> bool {
        self.name.starts_with(COMPAT)
    }
}
