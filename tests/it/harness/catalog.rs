//! All that the catalog of a database has of our schemas, as lines that can be compared.

use sqlx::PgPool;

/// One line for each object, with its name, definition, owner, privileges and comment. Privileges are sorted:
/// their order is that of the statements which granted them.
const CATALOG: &str = "
    WITH ours AS (
        SELECT oid, nspname FROM pg_namespace WHERE nspname IN ('public', 'lastseen', 'auth')
    ), relation AS (
        SELECT c.*, ours.nspname FROM pg_class AS c JOIN ours ON ours.oid = c.relnamespace
    ), acl AS (
        SELECT classoid, objoid, subid, string_agg(item::text, ' ' ORDER BY item::text) AS items
        FROM (
            SELECT 'pg_namespace'::regclass::oid AS classoid, oid AS objoid, 0 AS subid, unnest(nspacl) AS item FROM pg_namespace
            UNION ALL SELECT 'pg_class'::regclass, oid, 0, unnest(relacl) FROM pg_class
            UNION ALL SELECT 'pg_class'::regclass, attrelid, attnum, unnest(attacl) FROM pg_attribute
            UNION ALL SELECT 'pg_proc'::regclass, oid, 0, unnest(proacl) FROM pg_proc
            UNION ALL SELECT 'pg_type'::regclass, oid, 0, unnest(typacl) FROM pg_type
        ) AS items
        GROUP BY 1, 2, 3
    ), object (classoid, objoid, subid, line) AS (
        SELECT 'pg_namespace'::regclass::oid, oid, 0, format('schema %s', nspname) FROM ours
        UNION ALL
        SELECT 'pg_class'::regclass, oid, 0,
               format('relation %s %s owner %s options %s row security %s %s: %s', oid::regclass, relkind,
                      relowner::regrole, reloptions, relrowsecurity, relforcerowsecurity,
                      CASE relkind WHEN 'v' THEN pg_get_viewdef(oid) WHEN 'i' THEN pg_get_indexdef(oid) END)
        FROM relation
        UNION ALL
        SELECT 'pg_class'::regclass, a.attrelid, a.attnum,
               format('column %s.%s, the %s.: %s %s %s %s', a.attrelid::regclass, a.attname, a.attnum,
                      format_type(a.atttypid, a.atttypmod), CASE WHEN a.attnotnull THEN 'not null' END,
                      pg_get_expr(d.adbin, d.adrelid), nullif(a.attcollation, 0)::regcollation)
        FROM relation JOIN pg_attribute AS a ON a.attrelid = relation.oid AND a.attnum > 0
        LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        UNION ALL
        SELECT 'pg_constraint'::regclass, k.oid, 0,
               format('constraint %s on %s %s: %s valid %s', k.conname, nullif(k.conrelid, 0)::regclass,
                      nullif(k.contypid, 0)::regtype, pg_get_constraintdef(k.oid), k.convalidated)
        FROM pg_constraint AS k JOIN ours ON ours.oid = k.connamespace
        UNION ALL
        SELECT 'pg_proc'::regclass, p.oid, 0, format('function owner %s: %s', p.proowner::regrole, pg_get_functiondef(p.oid))
        FROM pg_proc AS p JOIN ours ON ours.oid = p.pronamespace
        UNION ALL
        SELECT 'pg_type'::regclass, t.oid, 0,
               format('type %s %s owner %s of %s %s', t.oid::regtype, t.typtype, t.typowner::regrole,
                      format_type(nullif(t.typbasetype, 0), t.typtypmod), t.typnotnull)
        FROM pg_type AS t JOIN ours ON ours.oid = t.typnamespace
        UNION ALL
        SELECT 'pg_policy'::regclass, p.oid, 0,
               format('policy %s on %s for %s permissive %s to %s using %s check %s', p.polname, p.polrelid::regclass,
                      p.polcmd, p.polpermissive, p.polroles::regrole[], pg_get_expr(p.polqual, p.polrelid),
                      pg_get_expr(p.polwithcheck, p.polrelid))
        FROM pg_policy AS p
        UNION ALL
        SELECT 'pg_trigger'::regclass, t.oid, 0, format('trigger enabled %s: %s', t.tgenabled, pg_get_triggerdef(t.oid))
        FROM pg_trigger AS t JOIN relation ON relation.oid = t.tgrelid WHERE NOT t.tgisinternal
    )
    SELECT concat_ws(' | ', object.line, 'privileges ' || acl.items, 'comment ' || d.description)
    FROM object
    LEFT JOIN acl USING (classoid, objoid, subid)
    LEFT JOIN pg_description AS d ON d.classoid = object.classoid AND d.objoid = object.objoid AND d.objsubid = object.subid
    ORDER BY 1";

/// The catalog of the schemas `public`, `lastseen` and `auth`.
pub async fn catalog(pool: &PgPool) -> Vec<String> {
    let mut transaction = pool.begin().await.expect("a transaction");
    // With every name in full.
    sqlx::query("SET LOCAL search_path = ''").execute(&mut *transaction).await.expect("a setting");
    sqlx::query_scalar(CATALOG).fetch_all(&mut *transaction).await.expect("the catalog")
}

/// The lines that are in one of them alone.
pub fn differences(left: &[String], right: &[String]) -> Vec<String> {
    let only = |one: &[String], other: &[String], sign: &str| {
        let lines = one.iter().filter(|line| !other.contains(line));
        lines.map(|line| format!("{sign} {line}")).collect::<Vec<_>>()
    };
    [only(left, right, "-"), only(right, left, "+")].concat()
}
