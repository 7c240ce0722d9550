//! Lists in pages, the newest first.

use axum::Json;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::{DateTime, Datelike, Utc};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::extract::parse;
use crate::protocol::Refusal;
use crate::store::{Cursor, StoreError};

/// Items per page: the default, and the most.
const ITEMS: i64 = 50;
const MOST_ITEMS: i64 = 200;

/// A page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub struct Page<T> {
    #[expect(missing_docs, reason = "the name says it")]
    #[schema(max_items = 200)]
    pub items: Vec<T>,
    /// Shown as `cursor` it gives the next page; null on the last one.
    #[schema(required)]
    pub next_cursor: Option<String>,
}

/// The query of a list without filters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Listing {
    /// Items per page; 50 by default.
    #[param(value_type = Option<i64>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// The `next_cursor` of an earlier page.
    #[param(min_length = 1)]
    cursor: Option<String>,
}

impl Listing {
    /// Which page that is.
    ///
    /// # Errors
    /// `invalid_request` that names the key.
    pub fn asked(&self) -> Result<Asked, Refusal> {
        Asked::read(self.limit.as_deref(), self.cursor.as_deref())
    }
}

/// The page that a caller asks for.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    /// The page begins after this item.
    pub after: Option<Cursor>,
    items: i64,
}

impl Asked {
    /// One page that holds the whole list.
    pub const ALL: Self = Self { after: None, items: i64::MAX };

    /// Reads `limit` and `cursor` of a query.
    ///
    /// # Errors
    /// `invalid_request` that names the key.
    pub fn read(limit: Option<&str>, cursor: Option<&str>) -> Result<Self, Refusal> {
        let items = parse("limit", limit, "a number")?.unwrap_or(ITEMS);
        if !(1..=MOST_ITEMS).contains(&items) {
            return Err(Refusal::invalid("limit", format!("must be from 1 to {MOST_ITEMS}")));
        }
        Ok(Self { after: cursor.map(read_cursor).transpose()?, items })
    }

    /// The page of a list that the store holds: `read` gives the rows from there on, at most so many.
    ///
    /// # Errors
    /// Those of `read`, as refusals.
    pub async fn read_page<Row, T: From<Row>, Reading>(
        &self,
        read: impl FnOnce(Option<Cursor>, i64) -> Reading,
        place: impl Fn(&Row) -> Cursor,
    ) -> Result<Json<Page<T>>, Refusal>
    where
        Reading: Future<Output = Result<Vec<Row>, StoreError>>,
    {
        let rows = read(self.after, self.rows()).await?;
        Ok(Json(self.page(rows, place, T::from)))
    }

    /// How many rows to ask the store for: one more than the page holds shows whether there is a next one.
    pub fn rows(&self) -> i64 {
        self.items + 1
    }

    /// The page of as many rows as were asked for; `place` gives the position of a row in the list.
    pub fn page<Row, T>(
        &self,
        mut rows: Vec<Row>,
        place: impl Fn(&Row) -> Cursor,
        show: impl FnMut(Row) -> T,
    ) -> Page<T> {
        let items = usize::try_from(self.items).unwrap_or(usize::MAX);
        let more = rows.len() > items;
        rows.truncate(items);
        let next_cursor = rows.last().filter(|_| more).map(|last| write_cursor(place(last)));
        Page { items: rows.into_iter().map(show).collect(), next_cursor }
    }
}

fn write_cursor(cursor: Cursor) -> String {
    BASE64_URL_SAFE_NO_PAD.encode(format!("{} {}", cursor.at.timestamp_micros(), cursor.id))
}

fn read_cursor(text: &str) -> Result<Cursor, Refusal> {
    let read = || {
        let text = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (micros, id) = text.split_once(' ')?;
        let at: DateTime<Utc> = DateTime::from_timestamp_micros(micros.parse().ok()?)?;
        // No page ends at a year that PostgreSQL cannot store.
        (0..=9999).contains(&at.year()).then_some(())?;
        Some(Cursor { at, id: id.parse::<Uuid>().ok()? })
    };
    read().ok_or_else(|| Refusal::invalid("cursor", "must be the next_cursor of an earlier page"))
}
