//! What of a list of objects a database has. The statements have no names: behind a pooler those would stay for others.

use sqlx::postgres::PgConnection;

/// Objects are named as in [`Schema::objects`](super::Schema::objects), and are given with their comments. Tables, views,
/// indexes and types share their names. A name that is there with other arguments is there: a function is commented on by
/// its name alone.
const EXISTING: &str = "
    SELECT line, coalesce(CASE o.kind
        WHEN 'function' THEN (
            SELECT min(coalesce(obj_description(p.oid, 'pg_proc'), ''))
            FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
            WHERE n.nspname = (parse_ident(o.name))[1] AND p.proname = (parse_ident(o.name))[2])
        WHEN 'view' THEN obj_description(to_regclass(o.name), 'pg_class')
        WHEN 'type' THEN obj_description(to_regtype(o.name), 'pg_type')
        WHEN 'domain' THEN obj_description(to_regtype(o.name), 'pg_type')
    END, '')
    FROM unnest($1::text[]) AS line,
    LATERAL (SELECT split_part(line, ' ', 1), split_part(line, ' ', 2), split_part(line, ' on ', 2)) AS o (kind, name, owner)
    WHERE CASE o.kind
        WHEN 'schema' THEN to_regnamespace(o.name) IS NOT NULL
        WHEN 'role' THEN EXISTS (SELECT FROM pg_roles WHERE rolname = o.name)
        WHEN 'policy' THEN EXISTS (SELECT FROM pg_policy WHERE polrelid = to_regclass(o.owner) AND polname = o.name)
        WHEN 'trigger' THEN EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(o.owner) AND tgname = o.name)
        WHEN 'function' THEN EXISTS (
            SELECT FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
            WHERE n.nspname = (parse_ident(o.name))[1] AND p.proname = (parse_ident(o.name))[2])
        ELSE to_regclass(o.name) IS NOT NULL OR to_regtype(o.name) IS NOT NULL
    END";

/// Those of the objects that the database has, whoever made them, with their comments.
pub(super) async fn commented(
    objects: &[String],
    connection: &mut PgConnection,
) -> Result<Vec<(String, String)>, sqlx::Error> {
    sqlx::query_as(EXISTING).persistent(false).bind(objects).fetch_all(connection).await
}

/// Those of the objects that the database has, whoever made them.
pub(super) async fn existing(objects: &[String], connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    Ok(commented(objects, connection).await?.into_iter().map(|(object, _)| object).collect())
}

/// Those of the objects that the database has not.
pub(super) async fn missing(objects: &[String], connection: &mut PgConnection) -> Result<Vec<String>, sqlx::Error> {
    let there = existing(objects, connection).await?;
    Ok(objects.iter().filter(|object| !there.contains(object)).cloned().collect())
}

/// The schema of lastseen's tables, seen from a function that returns rows of one; `None` where lastseen is not there.
const HOME: &str = "
    SELECT n.nspname::text
    FROM pg_proc AS p JOIN pg_type AS t ON t.oid = p.prorettype JOIN pg_namespace AS n ON n.oid = t.typnamespace
    JOIN pg_namespace AS own ON own.oid = p.pronamespace
    WHERE own.nspname = 'lastseen' AND p.proname = 'close_session' AND t.typname = 'reading_sessions'";

/// In which schema the database has lastseen's tables.
pub(super) async fn home(connection: &mut PgConnection) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar(HOME).persistent(false).fetch_optional(connection).await
}
