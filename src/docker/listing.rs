//! Reads a listing row by row, without a limit of its length.
//!
//! A row that cannot be read costs only its container: the id is taken from the start of the row,
//! and the container's inspection decides.

use std::hash::{DefaultHasher, Hash, Hasher};

use awc::ClientResponse;
use futures_util::StreamExt;
use highhock_actors::{
    ContainerId, ContainerListing, ContainerSummary, NetworkMode, SourceError, UnreadableRow,
};
use serde::de::IgnoredAny;

use super::error::{RequestContext, json_error};
use super::partial_json::find_id;
use super::response::ApiResponse;
use super::wire::ListingRow;
use crate::text::json_array::{ArrayElement, JsonArraySplitter};

/// The longest row that is read, in bytes. A row has some 2 KiB, and some 10 MiB if all ports are
/// published.
const ROW_BYTES_MAX: usize = 32 << 20;
/// The part of an unreadable row in which its id is searched. Engines write the id first.
const ID_BYTES_MAX: usize = 4 << 10;
/// The part of a foreign response that is read for an error message.
const EXCERPT_BYTES_MAX: usize = 64 << 10;

/// A row of a listing.
pub(super) enum ReadRow {
    Complete(Box<ListingRow>),
    Unreadable { row: UnreadableRow, fingerprint: u64 },
}

impl ReadRow {
    fn parse(element: &ArrayElement) -> Self {
        let (bytes, reason) = match element {
            ArrayElement::Complete(bytes) => match serde_json::from_slice(bytes) {
                Ok(row) => return Self::Complete(Box::new(row)),
                Err(error) => (bytes, json_error(&error)),
            },
            ArrayElement::TooLong(start) => {
                (start, format!("the row is longer than {} MiB", ROW_BYTES_MAX >> 20))
            }
        };
        let start = &bytes[..bytes.len().min(ID_BYTES_MAX)];
        let container = find_id(start, "Id").map(ContainerId::new);
        let mut hasher = DefaultHasher::new();
        bytes.hash(&mut hasher);
        Self::Unreadable { row: UnreadableRow { container, reason }, fingerprint: hasher.finish() }
    }
}

/// Builds a listing from its rows. `complete` may change a row that was read.
///
/// # Errors
/// Returns the reason of an unreadable row if no row at all names a container.
pub(super) fn to_listing(
    rows: Vec<ReadRow>,
    mut complete: impl FnMut(ListingRow) -> ContainerSummary,
) -> Result<ContainerListing, String> {
    let mut listing = ContainerListing::default();
    for row in rows {
        match row {
            ReadRow::Complete(row) => listing.containers.push(complete(*row)),
            ReadRow::Unreadable { row, fingerprint } => {
                let summary = |id: &ContainerId| unreadable_summary(id, fingerprint);
                listing.containers.extend(row.container.as_ref().map(summary));
                listing.unreadable.push(row);
            }
        }
    }
    match listing.unreadable.first() {
        Some(row) if listing.containers.is_empty() => Err(row.reason.clone()),
        _ => Ok(listing),
    }
}

fn unreadable_summary(id: &ContainerId, fingerprint: u64) -> ContainerSummary {
    ContainerSummary {
        id: id.clone(),
        name: id.short().to_owned(),
        network: NetworkMode::Own,
        condition: None,
        fingerprint,
        uptime: None,
    }
}

/// Reads the body of a successful response as an array of rows.
pub(super) async fn read_rows(
    context: RequestContext<'_>,
    response: ClientResponse,
) -> Result<Vec<ReadRow>, SourceError> {
    let mut rows = Vec::new();
    read_elements(context, response, "the listing of containers", |element| {
        rows.push(ReadRow::parse(&element));
    })
    .await?;
    Ok(rows)
}

/// Reads the body of a successful response as an array, and passes each element to `receive`.
/// `expected` names the array in an error message.
pub(super) async fn read_elements(
    context: RequestContext<'_>,
    mut response: ClientResponse,
    expected: &str,
    mut receive: impl FnMut(ArrayElement),
) -> Result<(), SourceError> {
    let mut array = JsonArraySplitter::with_max_length(ROW_BYTES_MAX);
    let (mut start, mut length) = (Vec::new(), 0);
    while let Some(bytes) = response.next().await {
        let bytes = bytes.map_err(|error| context.read_error(&error, ROW_BYTES_MAX))?;
        length += bytes.len();
        let room = EXCERPT_BYTES_MAX.saturating_sub(start.len());
        start.extend_from_slice(&bytes[..bytes.len().min(room)]);
        if !array.push(&bytes, &mut receive) {
            break;
        }
    }
    if array.is_complete() {
        return Ok(());
    }
    if array.is_open() {
        return Err(context.malformed(&format!("the response is cut off after {length} bytes")));
    }
    let response = ApiResponse::new(&response, start);
    match response.json::<Vec<IgnoredAny>>(context, expected) {
        Ok(_) => Err(context.malformed("the response continues after its end")),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listing_needs_one_row_with_an_id() {
        let parse = |json: &str| ReadRow::parse(&ArrayElement::Complete(json.as_bytes().to_vec()));
        let summary = |row: ListingRow| ContainerSummary::from(row);
        let listing =
            to_listing(vec![parse(r#"{"Id":"a"}"#), parse(r#"{"Id":7}"#)], summary).unwrap();
        assert_eq!((listing.containers.len(), listing.unnamed_rows()), (1, 1));
        let listing = to_listing(vec![parse(r#"{"Id":"a","Ports":7}"#)], summary).unwrap();
        assert_eq!((listing.containers.len(), listing.unnamed_rows()), (1, 0));
        assert_eq!(listing.containers[0].condition, None);
        assert!(to_listing(vec![parse("1"), parse("{}")], summary).is_err());
        assert_eq!(to_listing(Vec::new(), summary).unwrap().unnamed_rows(), 0);
    }
}
