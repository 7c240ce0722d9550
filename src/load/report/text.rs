//! The report as plain text in columns.

use std::collections::BTreeSet;
use std::fmt::{self, Write};

use super::{Counts, Report};
use crate::load::latency::Quantiles;

/// The report as text.
pub fn of(report: &Report) -> String {
    let mut text = String::new();
    write(report, &mut text).expect("writing to a string cannot fail");
    text
}

fn write(report: &Report, out: &mut String) -> fmt::Result {
    head(report, out)?;
    joins(report, out)?;
    latencies(report, out)?;
    received(report, out)?;
    disagreements(report, out)?;
    server(report, out)?;
    for hint in report.hints() {
        writeln!(out, "\nhint: {hint}")?;
    }
    Ok(())
}

fn head(report: &Report, out: &mut String) -> fmt::Result {
    let plan = &report.plan;
    writeln!(
        out,
        "{}: {} people in {} sessions of {}, {:.0} a second, held for {} s{}",
        plan.profile,
        grouped(plan.people as u64),
        grouped(plan.sessions as u64),
        plan.url,
        plan.ramp_per_second,
        plan.duration_seconds,
        if report.ended_early { " (ended early)" } else { "" },
    )
}

fn joins(report: &Report, out: &mut String) -> fmt::Result {
    let joins = &report.joins;
    writeln!(
        out,
        "\njoined           {:>10}   {:.0} a second, at most {} in one",
        grouped(joins.joined),
        joins.per_second,
        joins.most_in_a_second
    )?;
    writeln!(out, "came back        {:>10}", grouped(joins.came_back))?;
    if let Some(all_back) = report.all_back_ms {
        writeln!(out, "all back after   {:>10}   s after all lines were cut", format!("{:.1}", all_back / 1000.0))?;
    }
    counted(out, "failed to join", &joins.failures)?;
    counted(out, "lost connections", &report.connections_lost)?;
    counted(out, "errors received", &report.errors)?;
    writeln!(out, "outside at end   {:>10}", grouped(joins.outside_at_end))
}

fn counted(out: &mut String, what: &str, counts: &Counts) -> fmt::Result {
    let words: Vec<_> = counts.iter().map(|(word, count)| format!("{word} {}", grouped(*count))).collect();
    let line = format!("{what:<16} {:>10}   {}", grouped(counts.values().sum()), words.join(", "));
    writeln!(out, "{}", line.trim_end())
}

fn latencies(report: &Report, out: &mut String) -> fmt::Result {
    writeln!(out, "\n{:<16} {:>10} {:>9} {:>9} {:>9} {:>9}", "ms from when due", "count", "p50", "p90", "p99", "max")?;
    let latency = &report.latency;
    for (what, quantiles) in [
        ("join", latency.join),
        ("come back", latency.back),
        ("seen by others", latency.seen_by_others),
        ("beat answered", latency.beat),
        ("generator late", latency.generator_late),
    ] {
        let Some(Quantiles { count, p50_ms, p90_ms, p99_ms, max_ms }) = quantiles else { continue };
        writeln!(out, "{what:<16} {:>10} {p50_ms:>9.1} {p90_ms:>9.1} {p99_ms:>9.1} {max_ms:>9.1}", grouped(count))?;
    }
    Ok(())
}

fn received(report: &Report, out: &mut String) -> fmt::Result {
    let beats = &report.beats;
    writeln!(
        out,
        "\nbeats            {:>10}   {} answered, {} lost with their line",
        grouped(beats.sent),
        grouped(beats.answered),
        grouped(beats.lost_with_their_line)
    )?;
    counted(out, "frames", &report.frames)?;
    let each = &report.per_participant;
    writeln!(out, "each participant {:>10.1}   diffs, and {:.1} KiB in all", each.diffs, each.bytes / 1024.0)
}

fn disagreements(report: &Report, out: &mut String) -> fmt::Result {
    let disagreed = &report.disagreements;
    writeln!(
        out,
        "\ndisagreements    {:>10}   {} views compared with the server's answer",
        grouped(disagreed.count),
        grouped(disagreed.views_compared)
    )?;
    for one in &disagreed.shown {
        writeln!(out, "  {one}")?;
    }
    match disagreed.count - disagreed.shown.len() as u64 {
        0 => Ok(()),
        more => writeln!(out, "  and {} more", grouped(more)),
    }
}

/// The server's metrics that changed or are not zero.
fn server(report: &Report, out: &mut String) -> fmt::Result {
    let (before, after) = (&report.server.before, &report.server.after);
    if after.is_empty() {
        return writeln!(out, "\nserver           its figures cannot be had");
    }
    writeln!(out, "\n{:<40} {:>12} {:>12} {:>12}", "server", "before", "after", "change")?;
    let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
    for name in names {
        let of = |figures: &super::Figures| figures.get(name).copied().unwrap_or_default();
        let (before, after) = (of(before), of(after));
        if before != 0.0 || after != 0.0 {
            writeln!(out, "{name:<40} {:>12} {:>12} {:>12}", short(before), short(after), short(after - before))?;
        }
    }
    Ok(())
}

fn short(figure: f64) -> String {
    if figure.fract() == 0.0 { format!("{figure:.0}") } else { format!("{figure:.3}") }
}

/// `12,345`.
fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped() {
        for (count, text) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(count), text);
        }
    }
}
