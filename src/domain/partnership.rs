//! People who sit together.

use chrono::{DateTime, Utc};

use super::ids::PartnershipId;
use super::subject::Subject;

/// A stored partnership.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "the fields are the table's, see migrations")]
pub struct Partnership {
    pub id: PartnershipId,
    pub user_ids: Vec<Subject>,
    pub created_at: DateTime<Utc>,
}
