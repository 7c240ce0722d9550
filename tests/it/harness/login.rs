//! Roles that log in, as an operator makes them for a server: with no right but that to become `lastseen_service`.

use sqlx::postgres::PgPool;
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection};
use uuid::Uuid;

use super::cluster::TestDatabase;

/// A role with a name of its own, since roles belong to the whole cluster. It is dropped by [`Login::end`].
pub struct Login {
    pub name: String,
    pool: PgPool,
}

impl Login {
    /// One that does not inherit the rights of `lastseen_service`.
    pub async fn member(database: &TestDatabase) -> Self {
        let login = Self { name: format!("login_{}", Uuid::new_v4().simple()), pool: database.pool.clone() };
        login.run("CREATE ROLE $ LOGIN NOINHERIT").await;
        // A superuser's grant has both options from 16 on, and inheritance by the role's own attribute.
        login.run("GRANT lastseen_service TO $").await;
        login
    }

    /// The database, as this role reaches it.
    pub fn of(&self, database: &TestDatabase) -> TestDatabase {
        database.by(&self.name)
    }

    /// Runs a statement as superuser; `$` is the role's name.
    pub async fn run(&self, statement: &str) {
        let statement = statement.replace('$', &self.name);
        let outcome = sqlx::raw_sql(AssertSqlSafe(statement.clone())).execute(&self.pool).await;
        outcome.unwrap_or_else(|error| panic!("{error}: {statement}"));
    }

    /// Ends its connections, and waits until they are gone.
    pub async fn cut(&self) {
        let cut = "SELECT count(pg_terminate_backend(pid, 60000)) FROM pg_stat_activity WHERE usename = '$'";
        self.run(cut).await;
    }

    /// Drops it. The cluster of the tests ends with them, so a role that stays after a failed test does no harm.
    pub async fn end(self) {
        self.run("ALTER ROLE $ CONNECTION LIMIT 0").await;
        self.cut().await;
        self.run("DROP OWNED BY $; DROP ROLE $").await;
    }
}

/// A connection of this login's database, as psql would have it.
pub async fn connect(database: &TestDatabase) -> PgConnection {
    // A pooler refuses the parameter that sqlx would send.
    let options = database.options.clone().application_name("psql").extra_float_digits(None);
    options.connect().await.expect("a connection")
}
