//! `lastseen migrate`: brings the schema up to date, for servers that are run with `--migrate=false`.

use std::process::ExitCode;

use clap::{Args, ValueEnum};

use crate::config::DatabaseSettings;
use crate::server::Database;
use crate::store::schema::{Compat, CompatChange, Schema, make_roles};

/// The database to migrate, and what is made beside the schema.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Make all functions, views, policies, triggers and privileges anew, whoever has changed them since
    #[arg(long)]
    redefine: bool,
    /// Make the roles that the cluster lacks and nothing else, before a dump is restored there
    #[arg(long, conflicts_with_all = ["redefine", "compat"])]
    roles: bool,
    #[command(flatten)]
    database: DatabaseSettings,
    /// Also make views under names of other designs, for apps that ask for them; may be repeated, and is remembered
    #[arg(long, value_enum, value_delimiter = ',', value_name = "DESIGN,…")]
    compat: Vec<Views>,
}

/// Views for apps that ask for other names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Views {
    /// public.sessions: the check-ins
    CheckIns,
    /// public.sessions: the sits
    Sits,
    /// session.active_sessions, session.session_metadata, simulator.instances: user sessions and simulators
    SessionService,
    /// Drops those that the database has
    None,
}

impl Views {
    fn change(chosen: &[Self]) -> CompatChange {
        let add = chosen.iter().filter_map(|views| match views {
            Self::CheckIns => Some(Compat::CheckIns),
            Self::Sits => Some(Compat::Sits),
            Self::SessionService => Some(Compat::SessionService),
            Self::None => None,
        });
        CompatChange { none: chosen.contains(&Self::None), add: add.collect() }
    }
}

/// Migrates.
///
/// # Errors
/// Why the schema could not be brought up to date.
pub async fn run(mut arguments: Arguments) -> anyhow::Result<ExitCode> {
    super::settle_data_dir(&mut arguments.database)?;
    let database = Database::open_beside(&arguments.database).await?;
    if arguments.roles {
        let made = make_roles(&database.owner()).await;
        database.close().await;
        made?;
        super::print("the roles are there\n")?;
        return Ok(ExitCode::SUCCESS);
    }
    let schema = Schema::embedded().within(&arguments.database.schema);
    let change = Views::change(&arguments.compat);
    let migrated = match arguments.redefine {
        true => schema.redefine(&change, &database.owner()).await,
        false => schema.migrate_with(&change, &database.owner()).await,
    };
    database.close().await;
    let views: Vec<_> = migrated?.into_iter().map(Compat::as_str).collect();
    super::print(&match views.is_empty() {
        true => "the schema is up to date\n".to_owned(),
        false => format!("the schema is up to date, with the views of {}\n", views.join(", ")),
    })?;
    Ok(ExitCode::SUCCESS)
}
