//! What stands in the way of what is about to be made: things of these names that are not lastseen's.

use std::collections::BTreeSet;

use sqlx::postgres::PgConnection;

use super::catalog::{commented, existing};
use super::error::SchemaError;
use super::files::{File, Schema};
use super::plan::{Applied, Plan};
use super::rename::OWN;

/// How many of them a message names.
const NAMED: usize = 10;

/// Looks at everything that this plan is going to make, before anything is made.
///
/// `taken_over`: the database had tables of ours that were not listed, and with them such definitions.
pub(super) async fn refuse(
    schema: &Schema,
    plan: &Plan<'_>,
    applied: &Applied,
    taken_over: bool,
    connection: &mut PgConnection,
) -> Result<(), SchemaError> {
    let mut wanted: Vec<String> = plan.tables.iter().flat_map(|file| file.objects()).collect();
    // An index that a file makes anew is there by an earlier one.
    let made = schema.tables.iter().filter(|file| plan.tables.iter().all(|due| due.name != file.name));
    let made: BTreeSet<String> = made.flat_map(File::objects).collect();
    wanted.retain(|object| !made.contains(object));
    if !taken_over {
        let ours: BTreeSet<&String> = applied.objects().collect();
        for file in plan.definitions.iter().filter(|file| !file.is_compat()) {
            let mut objects = file.objects();
            objects.retain(|object| !ours.contains(object));
            // What has the comment that the file gives is ours, though it is not listed.
            let found = commented(&objects, connection).await?;
            let foreign = found.into_iter().filter(|(_, comment)| !file.gives_comment(comment));
            wanted.extend(foreign.map(|(object, _)| object));
        }
    }
    // What is on a table of ours is ours, and a schema of the name `lastseen` may have been made for it.
    wanted.retain(|object| !["policy ", "trigger ", "schema "].iter().any(|kind| object.starts_with(kind)));
    in_the_way(schema, &wanted, connection).await
}

/// Fails where the database has any of these objects, which are named as in [`Schema::objects`].
pub(super) async fn in_the_way(
    schema: &Schema,
    objects: &[String],
    connection: &mut PgConnection,
) -> Result<(), SchemaError> {
    let found = existing(objects, connection).await?;
    if found.is_empty() {
        return Ok(());
    }
    let own = |object: &&String| object.contains(&format!(" {OWN}."));
    let what = in_words(&found);
    match found.iter().any(|object| !own(&object)) {
        true => Err(SchemaError::InTheWay { schema: schema.home.to_string(), what }),
        false => Err(SchemaError::OwnInTheWay(what)),
    }
}

/// `table user_sessions, view sit_weeks`.
fn in_words(objects: &[String]) -> String {
    let plain = |object: &String| match object.split_once(' ') {
        Some((kind, name)) => format!("{kind} {}", name.split_once('.').map_or(name, |(_, name)| name)),
        None => object.clone(),
    };
    let mut words: Vec<String> = objects.iter().take(NAMED).map(plain).collect();
    if objects.len() > NAMED {
        words.push(format!("and {} more", objects.len() - NAMED));
    }
    words.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        let objects = |n| (0..n).map(|n| format!("table \"books\".t{n}")).collect::<Vec<_>>();
        assert_eq!(in_words(&objects(2)), "table t0, table t1");
        assert!(in_words(&objects(12)).ends_with("table t9, and 2 more"));
    }
}
