//! A measured figure: a line for people, and one of JSON for `script/bench`.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// One run of one row.
#[derive(Debug, Serialize, Deserialize)]
pub struct Figure {
    /// The row of the table.
    pub row: String,
    /// Which server, where others are measured too.
    #[serde(default = "lastseen")]
    pub subject: String,
    pub value: f64,
    pub unit: String,
    /// What else was seen.
    #[serde(default)]
    pub detail: Value,
}

fn lastseen() -> String {
    "lastseen".to_owned()
}

impl Figure {
    /// Prints it: for machines on standard output, for people on standard error.
    pub fn print(&self, json: bool) -> anyhow::Result<()> {
        let Self { row, subject, value, unit, detail } = self;
        eprintln!("{subject} {row}: {value:.3} {unit} {detail}");
        if json {
            println!("{}", serde_json::to_string(self)?);
        }
        Ok(())
    }
}
