//! The report as one page with charts: everything is in it, and it asks no other host.

use super::Report;

const PAGE: &str = include_str!("page.html");
const SCRIPT: &str = include_str!("page.js");
const UPLOT: &str = include_str!("../../../static/vendor/uplot/uPlot.esm.js");
const UPLOT_STYLE: &str = include_str!("../../../static/vendor/uplot/uPlot.min.css");

/// The page.
///
/// # Errors
/// Where a figure cannot be written as JSON.
pub fn of(report: &Report) -> serde_json::Result<String> {
    // In the page a `<` could end the element that it stands in.
    let figures = serde_json::to_string(report)?.replace('<', "\\u003c");
    let text = report.text().replace('&', "&amp;").replace('<', "&lt;");
    // What others wrote comes last: a mark in it would otherwise be taken for one of the page's.
    Ok(PAGE
        .replace("{{uplot style}}", UPLOT_STYLE)
        .replace("{{script}}", SCRIPT)
        .replace("{{uplot}}", UPLOT)
        .replace("{{text}}", &text)
        .replace("{{figures}}", &figures))
}
