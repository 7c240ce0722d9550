//! The report as one page with charts. It contains everything and asks no other host.

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
    // A `<` could end the element around it.
    let figures = serde_json::to_string(report)?.replace('<', "\\u003c");
    let text = report.text().replace('&', "&amp;").replace('<', "&lt;");
    // Text from outside is put in last: a placeholder in it would otherwise be replaced.
    Ok(PAGE
        .replace("{{uplot style}}", UPLOT_STYLE)
        .replace("{{script}}", SCRIPT)
        .replace("{{uplot}}", UPLOT)
        .replace("{{text}}", &text)
        .replace("{{figures}}", &figures))
}
