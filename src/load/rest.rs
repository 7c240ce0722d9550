//! The generator's calls over HTTP: opening and closing sessions, lists of participants, metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::json;

use super::frame::Snapshot;
use super::room::Invited;
use super::target::Target;
use crate::domain::ids::SessionId;

/// The timeout of a call.
const PATIENCE: Duration = Duration::from_secs(30);

/// The largest room that a server opens.
const MOST_PARTICIPANTS: usize = 100_000;

/// The server's metrics by name and labels.
pub type Figures = BTreeMap<String, f64>;

/// A client of the server's HTTP interface.
#[derive(Clone, Debug)]
pub struct Rest {
    target: Target,
    http: reqwest::Client,
    /// A token of the service; without one, sessions are opened as a guest.
    token: Option<String>,
}

impl Rest {
    /// A client of this server, as the service where there is a token.
    ///
    /// # Errors
    /// Where the TLS library cannot be set up.
    pub fn new(target: Target, token: Option<String>) -> anyhow::Result<Self> {
        Ok(Self { http: target.client()?, target, token })
    }

    /// Opens a session for this many people.
    ///
    /// # Errors
    /// The server's refusal, and what helps.
    pub async fn open(&self, title: &str, people: usize) -> anyhow::Result<Invited> {
        #[derive(Deserialize)]
        struct Invite {
            token: String,
        }
        #[derive(Deserialize)]
        struct Opened {
            id: SessionId,
            invite: Invite,
            host_invite: Option<Invite>,
        }
        // A person who joins may be counted before the one it replaces is gone.
        let body = json!({"title": title, "max_participants": (people * 2).clamp(10, MOST_PARTICIPANTS)});
        let request = self.http.post(self.target.http("/v1/reading-sessions"));
        let request = request.header("content-type", "application/json").body(body.to_string());
        let (status, text) = self.ask(request, self.token.as_deref()).await?;
        if status != 201 {
            let hint = match (status, &self.token) {
                (401 | 403, None) => ": give it a token of the service, with --token or --jwt-secret",
                (429, None) => {
                    ": guests open few sessions a minute; the service is not limited, see --token and --jwt-secret"
                }
                (401 | 403, Some(_)) => ": the token must be one of the service that this server takes",
                _ => "",
            };
            bail!("the server opens no session for us{hint} ({})", problem(status, &text));
        }
        let Opened { id, invite, host_invite } = serde_json::from_str(&text).context("the session cannot be read")?;
        Ok(Invited { id, invite: invite.token, host_invite: host_invite.map(|invite| invite.token) })
    }

    /// The participants of a session, read as the service or with a resume token of the session.
    ///
    /// # Errors
    /// Why the list cannot be read.
    pub async fn participants(&self, session: SessionId, resume: Option<&str>) -> anyhow::Result<Snapshot> {
        #[derive(Deserialize)]
        struct Listed {
            seq: u64,
            occupancy: usize,
            items: Vec<std::sync::Arc<super::frame::Person>>,
        }
        let request = self.http.get(self.target.http(&format!("/v1/reading-sessions/{session}/participants")));
        let (status, text) = self.ask(request, self.token.as_deref().or(resume)).await?;
        anyhow::ensure!(status == 200, "{}", problem(status, &text));
        let Listed { seq, occupancy, items } = serde_json::from_str(&text).context("the list cannot be read")?;
        Ok(Snapshot { seq, occupancy, participants: items })
    }

    /// Closes a session of the run, as the service or its host.
    ///
    /// # Errors
    /// Why it stays open.
    pub async fn close(&self, session: SessionId, resume: Option<&str>) -> anyhow::Result<()> {
        let request = self.http.post(self.target.http(&format!("/v1/reading-sessions/{session}/close")));
        let (status, text) = self.ask(request, self.token.as_deref().or(resume)).await?;
        anyhow::ensure!(status == 200, "{}", problem(status, &text));
        Ok(())
    }

    /// The server's metrics.
    ///
    /// # Errors
    /// Why they cannot be read.
    pub async fn figures(&self) -> anyhow::Result<Figures> {
        let (status, text) = self.ask(self.http.get(self.target.http("/metrics")), None).await?;
        anyhow::ensure!(status == 200, "{}", problem(status, &text));
        Ok(figures(&text))
    }

    async fn ask(&self, request: reqwest::RequestBuilder, token: Option<&str>) -> anyhow::Result<(u16, String)> {
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let response = request.timeout(PATIENCE).send().await.context("the server does not answer")?;
        let status = response.status().as_u16();
        Ok((status, response.text().await.context("the server's answer broke off")?))
    }
}

/// The text of a refusal.
fn problem(status: u16, text: &str) -> String {
    #[derive(Deserialize)]
    struct Problem {
        code: String,
        detail: String,
    }
    match serde_json::from_str(text) {
        Ok(Problem { code, detail }) => format!("{status} {code}: {detail}"),
        Err(_) => format!("status {status}"),
    }
}

/// The samples of a page in the format of Prometheus, without the buckets of histograms.
fn figures(page: &str) -> Figures {
    let lines = page.lines().filter(|line| !line.starts_with('#') && !line.contains("_bucket{"));
    lines
        .filter_map(|line| {
            let (name, value) = line.rsplit_once(' ')?;
            Some((name.strip_prefix("lastseen_").unwrap_or(name).to_owned(), value.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_read_from_the_servers_own_page() {
        let metrics = crate::metrics::Metrics::default();
        metrics.beats.inc_by(7);
        metrics.leaves("timeout").inc();
        metrics.admission_seconds.observe(0.5);
        let figures = figures(&metrics.encode());
        assert_eq!(figures["beats_total"], 7.0);
        assert_eq!(figures["leaves_total{reason=\"timeout\"}"], 1.0);
        assert_eq!(figures["admission_seconds_sum"], 0.5);
        assert!(figures.keys().all(|name| !name.contains("bucket")), "{figures:?}");
    }

    #[test]
    fn a_refusal_is_told_in_its_own_words() {
        assert_eq!(problem(403, r#"{"code":"forbidden","detail":"No.","status":403}"#), "403 forbidden: No.");
        assert_eq!(problem(502, "<html>"), "status 502");
    }
}
