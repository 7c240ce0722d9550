//! Faults of the database.

use std::time::Duration;

use anyhow::Context;
use sqlx::Connection;
use tokio::time::{sleep, timeout};

use crate::postgres::Stopped;
use crate::soak::World;

pub async fn stopped(world: &World, lasts: Duration) -> anyhow::Result<()> {
    let _stopped = Stopped::now(world.postgres.processes()?);
    sleep(lasts).await;
    Ok(())
}

pub async fn killed(world: &World, lasts: Duration) -> anyhow::Result<()> {
    world.postgres.kill()?;
    sleep(lasts).await;
    Ok(())
}

pub async fn connections_ended(world: &World, lasts: Duration) -> anyhow::Result<()> {
    let mut connection = world.postgres.connect().await?;
    let end = "select pg_terminate_backend(pid) from pg_stat_activity where backend_type = 'client backend' and pid <> pg_backend_pid()";
    sqlx::query(end).execute(&mut connection).await?;
    connection.close().await?;
    sleep(lasts).await;
    Ok(())
}

/// A room of the crowd, its row and those of its people.
pub async fn rows_locked(world: &World, lasts: Duration) -> anyhow::Result<()> {
    let session = world.crowd.rooms.first().context("a room")?.id.0;
    let mut connection = world.postgres.connect().await?;
    let mut locked = connection.begin().await?;
    for lock in [
        "select 1 from reading_sessions where id = $1 for update",
        "select 1 from session_participants where session_id = $1 for update",
    ] {
        sqlx::query(lock).bind(session).execute(&mut *locked).await?;
    }
    sleep(lasts).await;
    locked.rollback().await?;
    connection.close().await?;
    Ok(())
}

pub async fn disk_full(world: &World, lasts: Duration) -> anyhow::Result<()> {
    let filled = world.place.fill()?;
    // PostgreSQL writes into segments that it has; it needs new ones soon. That this fails is the point.
    let segments = async {
        let mut connection = world.postgres.connect().await?;
        for _ in 0..3 {
            sqlx::query("select pg_switch_wal()").execute(&mut connection).await?;
            sleep(Duration::from_millis(300)).await;
        }
        connection.close().await?;
        anyhow::Ok(())
    };
    let _ = timeout(lasts, segments).await;
    sleep(lasts).await;
    drop(filled);
    Ok(())
}
