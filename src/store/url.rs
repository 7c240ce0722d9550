//! Addresses of databases: `postgres://user:password@host:port/database`.

use std::str::FromStr;

use sqlx::Error;
use sqlx::postgres::{PgConnectOptions, PgSslMode};

const SSL_MODES: &str = "disable, allow, prefer, require, verify-ca or verify-full";

/// Reads an address. `setting` is where it was given, for the error.
///
/// # Errors
/// What is wrong, without the address, which holds a password.
pub fn connect_options(setting: &str, url: &str) -> Result<PgConnectOptions, String> {
    // sqlx takes any scheme, and would ask the port of another database.
    let Some(rest) = ["postgres://", "postgresql://"].iter().find_map(|scheme| url.strip_prefix(scheme)) else {
        return Err(not_of_the_form(setting));
    };
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let parameters = || query.split('&').filter_map(|pair| pair.split_once('='));
    // A password may hold any of these characters, a host does not.
    let hosts = place.rsplit('@').next().unwrap_or_default().split('/').next().unwrap_or_default();
    let in_query = parameters().filter(|(key, _)| ["host", "hostaddr", "port"].contains(key));
    if std::iter::once(hosts).chain(in_query.map(|(_, value)| value)).any(|hosts| hosts.contains(',')) {
        return Err(format!(
            "{setting} names more than one host: lastseen takes one, the primary's own address or one that follows it \
             (a DNS name, a proxy, a pooler)"
        ));
    }
    if let Some((key, value)) =
        parameters().find(|(key, value)| is_ssl_mode(key) && value.parse::<PgSslMode>().is_err())
    {
        return Err(format!("{setting} has {key}={value}, which is not one of {SSL_MODES}"));
    }
    match PgConnectOptions::from_str(url) {
        // A pooler refuses the parameter that sqlx would send; PostgreSQL writes numbers in full by itself.
        Ok(options) => Ok(options.extra_float_digits(None)),
        Err(Error::Configuration(fault)) => Err(format!(
            "{}: {fault}. Characters like / ? # @ and % of a user or a password are written as %2F %3F %23 %40 %25",
            not_of_the_form(setting)
        )),
        Err(_) => Err(not_of_the_form(setting)),
    }
}

fn is_ssl_mode(key: &str) -> bool {
    ["sslmode", "ssl-mode"].contains(&key)
}

fn not_of_the_form(setting: &str) -> String {
    format!("{setting} is not of the form postgres://user:password@host:port/database")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_is_named_without_the_password() {
        for (url, named) in [
            ("mysql://ada:topsecret@db/books", "is not of the form postgres://"),
            ("postgres://ada:topsecret@db/books?sslmode=foo", "has sslmode=foo, which is not one of disable, allow"),
            ("postgres://ada:topsecret@db1,db2/books", "names more than one host"),
            ("postgres://ada:topsecret@db1:5432,db2:5432/books?sslmode=require", "names more than one host"),
            ("postgres:///books?user=ada&password=topsecret&host=db1,db2", "names more than one host"),
            ("postgres://ada:topsecret/#@db/books", "are written as %2F"),
        ] {
            let fault = connect_options("DATABASE_URL", url).expect_err(url);
            assert!(fault.starts_with("DATABASE_URL ") && fault.contains(named), "{fault}");
            assert!(!fault.contains("topsecret"), "{fault}");
        }
    }

    #[test]
    fn what_is_right_is_taken() {
        for url in [
            "postgres://ada:a,b@db/books",
            "postgresql://ada@db:6543/books?sslmode=verify-full&application_name=a,b",
            "postgres:///books?host=/run/postgresql",
            "postgres://ada:s%40cret@[::1]:5432/books?ssl-mode=Require",
        ] {
            assert!(connect_options("DATABASE_URL", url).is_ok(), "{url}");
        }
    }
}
