//! The schema of the database that holds what lastseen makes.

use std::fmt;
use std::str::FromStr;

/// The longest name that PostgreSQL keeps, in bytes.
const LONGEST: usize = 63;

/// Schemas of PostgreSQL, and the one that tells who is asking.
const TAKEN: [&str; 2] = ["information_schema", "auth"];

/// The schema of tables, views and the functions for operators. What only the server calls is in the schema `lastseen`,
/// whatever this is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SchemaName(String);

impl SchemaName {
    /// The name, which needs no escaping within quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name in SQL: `"books"`.
    #[must_use]
    pub fn quoted(&self) -> String {
        format!("\"{}\"", self.0)
    }
}

impl Default for SchemaName {
    fn default() -> Self {
        Self("public".to_owned())
    }
}

impl fmt::Display for SchemaName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for SchemaName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let plain = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
        if name.is_empty() || !plain || name.starts_with(|c: char| c.is_ascii_digit()) || name.len() > LONGEST {
            return Err(format!(
                "it must be of small letters, digits and _, not begin with a digit, and have at most {LONGEST} characters"
            ));
        }
        if name.starts_with("pg_") || TAKEN.contains(&name) {
            return Err("this schema is not for tables of yours".to_owned());
        }
        Ok(Self(name.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_plain() {
        for name in ["public", "lastseen", "presence_2", "_x", "user"] {
            assert_eq!(name.parse::<SchemaName>().map(|name| name.quoted()), Ok(format!("\"{name}\"")));
        }
        let long = "a".repeat(64);
        for name in ["", "My", "a-b", "a b", "a\"b", "2a", "é", "pg_x", "auth", "information_schema", long.as_str()] {
            assert!(name.parse::<SchemaName>().is_err(), "{name}");
        }
    }
}
