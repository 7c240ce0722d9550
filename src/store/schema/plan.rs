//! What a database lacks.

use sqlx::postgres::PgConnection;

use super::earlier;
use super::error::SchemaError;
use super::files::{COMPAT, File, Schema, is_definition, number};

const READ: &str = "SELECT file, sha256, objects, applied_by FROM lastseen.migrations ORDER BY file";

const UNDEFINED_TABLE: &str = "42P01";
const INSUFFICIENT_PRIVILEGE: &str = "42501";
const UNDEFINED_COLUMN: &str = "42703";

/// The rows of `lastseen.migrations`, by file.
#[derive(Debug, Default)]
pub(super) struct Applied(pub(super) Vec<Row>);

#[derive(Debug, sqlx::FromRow)]
pub(super) struct Row {
    pub(super) file: String,
    pub(super) sha256: Vec<u8>,
    pub(super) objects: Vec<String>,
    pub(super) applied_by: String,
}

impl Applied {
    /// Reads them; `None` where there is no such table.
    pub(super) async fn read(connection: &mut PgConnection) -> Result<Option<Self>, SchemaError> {
        match sqlx::query_as(READ).persistent(false).fetch_all(connection).await {
            Ok(rows) => Ok(Some(Self(rows))),
            Err(error) => match error.as_database_error().and_then(|refusal| refusal.code()) {
                Some(code) if code == UNDEFINED_TABLE => Ok(None),
                Some(code) if code == INSUFFICIENT_PRIVILEGE => Err(SchemaError::Unreadable),
                Some(code) if code == UNDEFINED_COLUMN => Err(SchemaError::OwnInTheWay("table migrations".to_owned())),
                _ => Err(error.into()),
            },
        }
    }

    /// The tables that files of this version have made.
    pub(super) fn tables(&self, schema: &Schema) -> Vec<String> {
        let mut made: Vec<String> = Vec::new();
        for file in schema.tables.iter().filter(|file| self.get(file).is_some()) {
            made.extend(file.objects().into_iter().filter(|object| object.starts_with("table ")));
            made.retain(|table| file.dropped_tables().all(|dropped| dropped != *table));
        }
        made
    }

    /// Whether a file, by its path in `migrations/`, was applied.
    pub(super) fn has(&self, name: &str) -> bool {
        self.0.iter().any(|row| row.file == name)
    }

    fn get(&self, file: &File) -> Option<&Row> {
        self.0.iter().find(|row| row.file == file.name)
    }

    fn definitions(&self) -> impl DoubleEndedIterator<Item = &Row> {
        self.0.iter().filter(|row| is_definition(&row.file))
    }

    /// Of what the definitions have made what is defined no more, the last first: also the views of a design that go,
    /// since another design may have them under the same names and with other columns.
    pub(super) fn left_over<'a>(&'a self, plan: &Plan<'_>, defined: &[String]) -> Vec<&'a String> {
        let mut left = Vec::new();
        for row in self.definitions().rev() {
            let goes = row.file.starts_with(COMPAT) && plan.gone.contains(&row.file.as_str());
            left.extend(row.objects.iter().rev().filter(|object| goes || !defined.contains(object)));
        }
        left
    }

    /// What the definitions have made, the last first.
    pub(super) fn objects(&self) -> impl Iterator<Item = &String> {
        self.definitions().rev().flat_map(|row| row.objects.iter().rev())
    }
}

/// What has to be done, in this order.
#[derive(Debug)]
pub(super) struct Plan<'a> {
    /// The tables that are missing.
    pub(super) tables: Vec<&'a File>,
    /// The definitions that are missing or have changed.
    pub(super) definitions: Vec<&'a File>,
    /// The files of definitions that do not exist any more.
    pub(super) gone: Vec<&'a str>,
}

/// Which definitions are applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Redefine {
    /// Those whose files have changed.
    Changed,
    /// All: what was applied may have been changed or dropped since.
    All,
}

impl<'a> Plan<'a> {
    /// Adds the files that define one of these.
    pub(super) fn define_again(&mut self, schema: &'a Schema, lost: &[String]) {
        let missing: Vec<&str> = self.definitions.iter().map(|file| file.name.as_str()).collect();
        let again = |file: &&File| {
            missing.contains(&file.name.as_str()) || file.objects().iter().any(|object| lost.contains(object))
        };
        self.definitions = schema.definitions.iter().filter(again).collect();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.tables.is_empty() && self.redefines_nothing()
    }

    pub(super) fn redefines_nothing(&self) -> bool {
        self.definitions.is_empty() && self.gone.is_empty()
    }

    /// The first thing that is missing, in words.
    pub(super) fn first(&self) -> Option<String> {
        let table = self.tables.first().and_then(|file| number(&file.name)).map(|number| format!("migration {number}"));
        let definition = || self.definitions.first().map(|file| file.name.clone());
        table.or_else(definition).or_else(|| self.gone.first().map(|gone| format!("a schema without {gone}")))
    }
}

impl Schema {
    /// Compares these files with those that were applied.
    pub(super) fn plan<'a>(&'a self, applied: &'a Applied) -> Result<Plan<'a>, SchemaError> {
        for row in applied.0.iter().filter(|row| !is_definition(&row.file)) {
            match self.tables.iter().find(|file| file.name == row.file) {
                None => {
                    let number = number(&row.file).map_or(row.file.clone(), |number| format!("migration {number}"));
                    return Err(SchemaError::Newer(number));
                }
                Some(file) if file.sha256() != row.sha256[..] && !earlier::was(&row.file, &row.sha256) => {
                    return Err(SchemaError::Failed(format!("{} was applied with another content", file.name)));
                }
                Some(_) => {}
            }
        }
        let changed = |file: &&File| applied.get(file).is_none_or(|row| row.sha256 != file.sha256());
        let gone = |row: &&Row| !self.definitions.iter().any(|file| file.name == row.file);
        let plan = Plan {
            tables: self.tables.iter().filter(|file| applied.get(file).is_none()).collect(),
            definitions: self.definitions.iter().filter(changed).collect(),
            gone: applied.definitions().filter(gone).map(|row| row.file.as_str()).collect(),
        };
        let newest = applied.definitions().map(|row| &row.applied_by).max_by_key(|version| parts(version));
        match newest {
            Some(newest) if !plan.redefines_nothing() && parts(newest) > parts(&self.version) => {
                Err(SchemaError::Newer(format!("of lastseen {newest}")))
            }
            _ => Ok(plan),
        }
    }
}

/// `[0, 12, 3]` of `0.12.3-rc.1`.
fn parts(version: &str) -> Vec<u64> {
    version.split(['.', '-', '+']).take(3).map_while(|part| part.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_their_numbers() {
        assert!(parts("0.10.0") > parts("0.9.12"));
        assert_eq!(parts("1.2.3-rc.1"), [1, 2, 3]);
    }
}
