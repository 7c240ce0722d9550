//! The files of `migrations/`.

use std::borrow::Cow;

use include_dir::{Dir, include_dir};
use sha2::{Digest, Sha256};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::error::{SchemaError, is_lock_timeout};
use super::rename::{OWN, WRITTEN, rename};
use crate::config::SchemaName;
use crate::store::cause::in_words;

static MIGRATIONS: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/migrations");

/// The folder of definitions.
pub(super) const DEFINITIONS: &str = "functions/";

/// The folder of views that are made on request.
pub(super) const COMPAT: &str = "compat/";

/// The roles that the files need, each before its members. They belong to the cluster: a dump of the database does not have
/// them.
pub(super) const ROLES: [&str; 6] =
    ["anon", "authenticated", "service_role", "lastseen_service", "lastseen_definer", "lastseen_monitor"];

/// The files that make them, and nothing else. Each makes what is missing, and can be run at any time.
const ROLE_FILES: [&str; 2] = ["0001_roles.sql", "0021_monitor_role.sql"];

/// What policies and functions ask for the caller, and the file that makes what is missing of it, which can be run at any
/// time as well. A dump of our schemas alone does not have it.
const IDENTITY: [&str; 3] = ["schema auth", "function auth.uid", "function auth.role"];
const IDENTITY_FILE: &str = "0002_auth.sql";

/// The schema of one version of lastseen.
#[derive(Debug, Clone)]
pub struct Schema {
    pub(super) version: String,
    /// Where tables, views and the functions for operators are.
    pub(super) home: SchemaName,
    /// Applied once, in this order.
    pub(super) tables: Vec<File>,
    /// Applied after them, in this order, and again when they change.
    pub(super) definitions: Vec<File>,
    /// Definitions that are made where they are asked for.
    pub(super) compat: Vec<File>,
}

/// One file of SQL.
#[derive(Debug, Clone)]
pub(super) struct File {
    /// Its path in `migrations/`.
    pub(super) name: String,
    /// As it is there.
    source: Cow<'static, str>,
    /// As it is run: with the schema that was chosen.
    sql: Cow<'static, str>,
}

impl Schema {
    /// The schema of this version.
    #[must_use]
    pub fn embedded() -> Self {
        let folder = |name| MIGRATIONS.get_dir(name).expect("it is embedded").files();
        let files = MIGRATIONS.files().chain(folder("functions")).chain(folder("compat")).filter_map(|file| {
            Some((file.path().to_str()?.to_owned(), Cow::Borrowed(file.contents_utf8().expect("SQL is UTF-8"))))
        });
        Self::new(env!("CARGO_PKG_VERSION"), files)
    }

    /// A schema of these files, each with its path in `migrations/`.
    #[must_use]
    pub fn new(version: &str, files: impl IntoIterator<Item = (String, Cow<'static, str>)>) -> Self {
        let mut files: Vec<File> = files.into_iter().map(|(name, sql)| File::new(name, sql)).collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        let (definitions, files) = files.into_iter().partition::<Vec<_>, _>(|file| file.name.starts_with(DEFINITIONS));
        let (compat, tables) = files.into_iter().partition::<Vec<_>, _>(|file| file.name.starts_with(COMPAT));
        // What has no number is no step of the series, see `before`.
        let tables = tables.into_iter().filter(|file| number(&file.name).is_some()).collect();
        Self { version: version.to_owned(), home: SchemaName::default(), tables, definitions, compat }
    }

    /// The same with tables, views and functions for operators in another schema.
    #[must_use]
    pub fn within(mut self, home: &SchemaName) -> Self {
        for file in self.tables.iter_mut().chain(&mut self.definitions).chain(&mut self.compat) {
            file.sql = rename(file.source.clone(), WRITTEN, home.as_str());
        }
        self.home = home.clone();
        self
    }

    /// The files that make the roles.
    pub(super) fn role_files(&self) -> impl Iterator<Item = &File> {
        self.tables.iter().filter(|file| ROLE_FILES.contains(&file.name.as_str()))
    }

    /// What definitions are made on, as in [`Schema::objects`]: the roles, and what tells the caller.
    pub(super) fn foundations() -> impl Iterator<Item = String> {
        ROLES.iter().map(|role| format!("role {role}")).chain(IDENTITY.map(str::to_owned))
    }

    /// The files that make these.
    pub(super) fn foundation_files(&self) -> impl Iterator<Item = &File> {
        self.role_files().chain(self.tables.iter().filter(|file| file.name == IDENTITY_FILE))
    }

    /// Every file that all databases have, with its path in `migrations/`.
    pub fn files(&self) -> impl Iterator<Item = (&str, &str)> {
        self.tables.iter().chain(&self.definitions).map(|file| (file.name.as_str(), &*file.source))
    }

    /// The others, with the views for other designs.
    pub fn files_on_request(&self) -> impl Iterator<Item = (&str, &str)> {
        self.compat.iter().map(|file| (file.name.as_str(), &*file.source))
    }

    /// What the definitions make, in order: `function lastseen.admit`, `policy service_does_all on public.sits`.
    pub fn objects(&self) -> impl Iterator<Item = String> {
        self.definitions.iter().flat_map(|file| objects(&file.sql))
    }

    /// A table, as SQL names it: `public.sits`.
    pub(super) fn table(&self, name: &str) -> String {
        // As `rename` writes it.
        match self.home == SchemaName::default() {
            true => format!("{WRITTEN}.{name}"),
            false => format!("{}.{name}", self.home.quoted()),
        }
    }
}

impl File {
    fn new(name: String, source: Cow<'static, str>) -> Self {
        Self { name, sql: source.clone(), source }
    }

    /// Of the text as it is in the folder, whatever schema it is run for.
    pub(super) fn sha256(&self) -> [u8; 32] {
        Sha256::digest(self.source.as_bytes()).into()
    }

    /// What it makes, as in [`Schema::objects`]; of a file of tables its tables, indexes and schemas.
    pub(super) fn objects(&self) -> Vec<String> {
        objects(&self.sql).collect()
    }

    /// Whether it comments on something in these words.
    pub(super) fn gives_comment(&self, comment: &str) -> bool {
        !comment.is_empty() && self.sql.contains(&format!("'{}'", comment.replace('\'', "''")))
    }

    /// The tables that it drops.
    pub(super) fn dropped_tables(&self) -> impl Iterator<Item = String> {
        let lines = self.sql.lines().filter_map(|line| line.strip_prefix("drop table "));
        lines.map(|name| format!("table {}", name.trim_start_matches("if exists ").trim_end_matches(';')))
    }

    /// The same file for two other schemas: that of the tables, and that of what only the server calls.
    pub(super) fn elsewhere(&self, home: &str, own: &str) -> Self {
        let sql = rename(rename(self.source.clone(), WRITTEN, home), OWN, own);
        Self { sql, ..self.clone() }
    }

    /// Without the statement that makes the schema `lastseen`, where it is there: to make schemas is a right of its own.
    pub(super) fn without_own_schema(&self) -> Self {
        Self { sql: self.sql.replace("create schema lastseen;", "").into(), ..self.clone() }
    }

    /// Runs it.
    pub(super) async fn run(&self, connection: &mut PgConnection) -> Result<(), SchemaError> {
        let outcome = sqlx::raw_sql(AssertSqlSafe(self.sql.clone())).execute(connection).await;
        outcome.map(drop).map_err(|error| match is_lock_timeout(&error) {
            true => error.into(),
            false => SchemaError::Failed(format!("{}: {}", self.name, in_words(&error))),
        })
    }
}

/// Whether a file, by its path in `migrations/`, is applied again when it changes.
pub(super) fn is_definition(name: &str) -> bool {
    name.starts_with(DEFINITIONS) || name.starts_with(COMPAT)
}

/// The file that is embedded beside the series.
pub(super) fn beside(name: &str) -> File {
    File::new(name.to_owned(), Cow::Borrowed(embedded(name)))
}

/// The text of a file, by its path in `migrations/`.
pub(super) fn embedded(name: &str) -> &'static str {
    MIGRATIONS.get_file(name).and_then(include_dir::File::contents_utf8).expect("the file is embedded")
}

/// 3 of `0003_schemas.sql`.
pub(super) fn number(name: &str) -> Option<i64> {
    name.split_once('_')?.0.parse().ok()
}

/// The objects that a file makes, by the lines that begin with `create`.
fn objects(sql: &str) -> impl Iterator<Item = String> {
    let mut rest = Some(sql);
    std::iter::from_fn(move || {
        loop {
            let text = rest?;
            rest = text.split_once('\n').map(|(_, following)| following);
            if let Some(object) = text.strip_prefix("create ").and_then(object) {
                return Some(object);
            }
        }
    })
}

/// `function lastseen.admit` of `or replace function lastseen.admit(session uuid, …`.
fn object(text: &str) -> Option<String> {
    let (kind, text) = text.strip_prefix("or replace ").unwrap_or(text).split_once(' ')?;
    let name = |text: &str| text.split(|c: char| c.is_whitespace() || c == '(').next().unwrap_or_default().to_owned();
    match kind {
        "function" | "view" | "type" | "domain" | "table" => Some(format!("{kind} {}", name(text))),
        "schema" => Some(format!("schema {}", name(text).trim_end_matches(';'))),
        "unique" => object(text),
        "index" => {
            let (_, table) = text.split_once(" on ")?;
            let table = name(table);
            let (schema, _) = table.split_once('.')?;
            Some(format!("index {schema}.{}", name(text)))
        }
        "policy" | "trigger" => {
            let (_, table) = text.split_once(" on ")?;
            Some(format!("{kind} {} on {}", name(text), name(table)).trim_end_matches(';').to_owned())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_come_first_and_definitions_in_their_order() {
        let files =
            ["functions/020_b.sql", "0002_b.sql", "from_1.sql", "compat/x.sql", "functions/010_a.sql", "0001_a.sql"];
        let schema = Schema::new("1.2.3", files.map(|name| (name.to_owned(), "".into())));
        let names: Vec<_> = schema.files().map(|(name, _)| name).collect();
        assert_eq!(names, ["0001_a.sql", "0002_b.sql", "functions/010_a.sql", "functions/020_b.sql"]);
        assert_eq!(schema.files_on_request().collect::<Vec<_>>(), [("compat/x.sql", "")]);
    }

    #[test]
    fn the_numbers_of_tables_are_a_series() {
        let numbers: Vec<_> = Schema::embedded().tables.iter().filter_map(|file| number(&file.name)).collect();
        assert_eq!(numbers, (1..=i64::try_from(numbers.len()).expect("few")).collect::<Vec<_>>());
    }

    #[test]
    fn objects_are_found_by_their_lines() {
        let sql = "-- create view no.view\n\
                   create or replace function lastseen.f(a int) returns int\nas $$\n  create table no.table\n$$;\n\
                   create domain lastseen.d as text;\ncreate type lastseen.t as (\n  a int\n);\n\
                   create or replace view public.v with (security_invoker = true) as select 1;\n\
                   drop policy if exists p on public.t;\ncreate policy p on public.t\n  for all using (true);\n\
                   create or replace trigger g\n  after update of a on public.t\n  execute function lastseen.f();\n\
                   create schema lastseen;\ncreate table public.t (\n  a int\n);\n\
                   create index i on public.t (a);\ncreate unique index u on public.t (a) where a > 0;\n";
        let found: Vec<_> = objects(sql).collect();
        assert_eq!(
            found,
            [
                "function lastseen.f",
                "domain lastseen.d",
                "type lastseen.t",
                "view public.v",
                "policy p on public.t",
                "trigger g on public.t",
                "schema lastseen",
                "table public.t",
                "index public.i",
                "index public.u",
            ]
        );
    }
}
