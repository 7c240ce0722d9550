//! Faults of the server's process.

use std::time::Duration;

use tokio::time::sleep;

use super::clients;
use crate::postgres::Stopped;
use crate::server::Log;
use crate::soak::World;

pub async fn stopped(world: &World, lasts: Duration) -> anyhow::Result<()> {
    let _stopped = Stopped::now(vec![world.server.pid()]);
    sleep(lasts).await;
    Ok(())
}

pub async fn killed(world: &mut World, lasts: Duration, under_another_name: bool) -> anyhow::Result<()> {
    world.server.kill()?;
    sleep(lasts).await;
    let name = under_another_name.then(|| {
        let number: u32 = world.server.node().trim_start_matches("soak-").parse().unwrap_or(1);
        format!("soak-{}", number + 1)
    });
    world.server.start_again(name).await
}

pub async fn restarted(world: &mut World, lasts: Duration) -> anyhow::Result<()> {
    stop(world).await?;
    sleep(lasts).await;
    world.server.start_again(None).await
}

async fn stop(world: &mut World) -> anyhow::Result<()> {
    let (status, took) = world.server.stop().await?;
    if !status.success() {
        world.wrong(format!("asked to stop, the server ended with {status} after {took:.1?}"));
    }
    Ok(())
}

/// Refused joins are logged one by one.
pub async fn log_stalled(world: &World, lasts: Duration) -> anyhow::Result<()> {
    let _stalled = world.server.stall_log();
    clients::bad_invites(world, lasts).await
}

/// From start to stop, while refused joins are logged one by one: nothing of it depends on the log.
pub async fn log_disk_full(world: &mut World, lasts: Duration) -> anyhow::Result<()> {
    stop(world).await?;
    world.server.start_with(Log::FullDisk).await?;
    clients::bad_invites(world, lasts).await?;
    if !world.is_ready().await {
        world.wrong("it is not ready while its log is on a full disk".to_owned());
    }
    stop(world).await?;
    world.server.start_with(Log::Pipe).await
}

pub async fn clock_jump(world: &World, lasts: Duration) -> anyhow::Result<()> {
    for seconds in [3600, -3600, 0] {
        world.server.set_clock(seconds)?;
        sleep(lasts / 3).await;
    }
    Ok(())
}
