//! Subjects: which one the id of a user stands for, where the subject is not a UUID itself.
//!
//! Written in the transaction that writes the first row with such an id, and before it. Read by the queries that show
//! users, with `lastseen.subject_of()`: their columns come as text and are read as [`Subject`].

use super::transaction::Statements;

use crate::domain::subject::Subject;

/// Notes the subjects of these users. Where all of them are UUIDs the database is not asked.
///
/// # Errors
/// Those of the statement.
pub(super) async fn note<'a>(
    connection: &mut Statements,
    users: impl IntoIterator<Item = &'a Subject>,
) -> Result<(), sqlx::Error> {
    let (ids, names): (Vec<_>, Vec<_>) = users.into_iter().filter_map(|user| Some((user.id(), user.name()?))).unzip();
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query("SELECT lastseen.note_subjects($1, $2)").bind(ids).bind(names).execute(connection).await.map(drop)
}
