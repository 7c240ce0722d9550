//! Messages that are longer than a frame may be, in several frames: the first has the type of the message, the others
//! are `more`, and each has its number.

use std::fmt::Write;

use crate::room::{Text, Texts};

/// The type of the frames that go on with a message.
pub const MORE: &str = "more";

/// What a frame has at most beside its items and what a first frame has of its own: brackets, keys, and numbers of
/// twenty digits.
const FRAME_BYTES: usize = 256;

/// The start of a frame, up to its lists: of the first one of a message as it is given, of the others by its `seq`. Where
/// there are several, each has its number, from 1.
pub fn head(first: &str, seq: Option<u64>, chunk: usize, chunks: usize) -> String {
    let mut head = match (chunk, seq) {
        (1, _) => first.to_owned(),
        (_, Some(seq)) => format!(r#"{{"type":"{MORE}","seq":{seq}"#),
        (_, None) => format!(r#"{{"type":"{MORE}""#),
    };
    if chunks > 1 {
        let _ = write!(head, r#","chunk":{chunk},"chunks":{chunks}"#);
    }
    head
}

/// Adds an item to a list without brackets.
fn add(list: &mut String, item: &str) {
    if !list.is_empty() {
        list.push(',');
    }
    list.push_str(item);
}

/// Items of a list, without brackets, as texts none of which fills more than a frame. The first one fills at most half
/// of it, which leaves room for a `welcome`.
pub fn pieces<T: AsRef<str>>(items: impl IntoIterator<Item = T>, max_frame_bytes: usize) -> Texts {
    let (mut pieces, mut piece, mut most) = (Vec::new(), String::new(), max_frame_bytes / 2);
    for item in items {
        let item = item.as_ref();
        if !piece.is_empty() && piece.len() + 1 + item.len() > most {
            pieces.push(Text::from(std::mem::take(&mut piece)));
            most = max_frame_bytes - FRAME_BYTES;
        }
        add(&mut piece, item);
    }
    if !piece.is_empty() {
        pieces.push(piece.into());
    }
    pieces.into()
}

/// The items of one frame.
#[derive(Debug, Default)]
pub struct Chunk {
    /// A piece of the list that many receive.
    pub shared: Text,
    /// What is behind it, with its comma.
    pub own: String,
}

impl Chunk {
    fn is_empty(&self) -> bool {
        self.shared.is_empty() && self.own.is_empty()
    }
}

/// Deals out the pieces of a list, and the items that are not in it, to as many frames as they need. The first frame
/// has `head_bytes` of its own; where they leave no room for people it has none.
pub fn deal(
    head_bytes: usize,
    pieces: &[Text],
    newer: impl Iterator<Item = String>,
    max_frame_bytes: usize,
) -> Vec<Chunk> {
    let whole = max_frame_bytes - FRAME_BYTES;
    let (mut full, mut chunk, mut left) = (Vec::new(), Chunk::default(), whole.saturating_sub(head_bytes));
    for piece in pieces {
        if !chunk.is_empty() || piece.len() > left {
            full.push(std::mem::take(&mut chunk));
            left = whole;
        }
        chunk.shared = Text::clone(piece);
        left = left.saturating_sub(piece.len());
    }
    for item in newer {
        if item.len() + 1 > left {
            full.push(std::mem::take(&mut chunk));
            left = whole;
        }
        if !chunk.is_empty() {
            chunk.own.push(',');
        }
        chunk.own.push_str(&item);
        left = left.saturating_sub(item.len() + 1);
    }
    full.push(chunk);
    full
}

/// Deals out the items of several lists, each with the place of its list, to as many frames as they need.
pub fn deal_lists<const LISTS: usize>(
    items: impl Iterator<Item = (usize, String)>,
    max_frame_bytes: usize,
) -> Vec<[String; LISTS]> {
    let empty = || std::array::from_fn(|_| String::new());
    let whole = max_frame_bytes - FRAME_BYTES;
    let (mut full, mut lists, mut left): (Vec<_>, [String; LISTS], _) = (Vec::new(), empty(), whole);
    for (list, item) in items {
        if item.len() + 1 > left && left < whole {
            full.push(std::mem::replace(&mut lists, empty()));
            left = whole;
        }
        add(&mut lists[list], &item);
        left = left.saturating_sub(item.len() + 1);
    }
    full.push(lists);
    full
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MOST: usize = 8192;

    /// Items that are told apart.
    fn items(lengths: &[usize]) -> Vec<String> {
        lengths.iter().enumerate().map(|(n, &length)| format!("{n:0length$}")).collect()
    }

    fn lengths(most: usize) -> impl Strategy<Value = Vec<usize>> {
        prop::collection::vec(prop_oneof![3 => 4..400_usize, 1 => 400..4400_usize], 0..most)
    }

    proptest! {
        #[test]
        fn no_frame_is_too_long_and_nothing_is_lost(
            listed in lengths(60),
            newer in lengths(33),
            head in 40..3700_usize,
        ) {
            let (listed, newer) = (items(&listed), items(&newer));
            let pieces = pieces(&listed, MOST);
            let chunks = deal(head, &pieces, newer.iter().cloned(), MOST);
            for (place, chunk) in chunks.iter().enumerate() {
                let head = if place == 0 { head } else { 0 };
                prop_assert!(head + chunk.shared.len() + chunk.own.len() + FRAME_BYTES <= MOST);
                prop_assert!(place == 0 || !chunk.is_empty());
            }
            let texts = chunks.iter().map(|chunk| format!("{}{}", chunk.shared, chunk.own));
            let all: Vec<_> = texts.filter(|text| !text.is_empty()).collect();
            prop_assert_eq!(all.join(","), [listed, newer].concat().join(","));
        }

        #[test]
        fn lists_are_dealt_out_in_their_order(lengths in lengths(60)) {
            let items = items(&lengths);
            let thirds = |place: usize| place * 3 / items.len();
            let dealt = items.iter().enumerate().map(|(place, item)| (thirds(place), item.clone()));
            let chunks: Vec<[String; 3]> = deal_lists(dealt, MOST);
            for lists in &chunks {
                prop_assert!(lists.iter().map(|list| list.len() + 1).sum::<usize>() + FRAME_BYTES <= MOST + 3);
            }
            for list in 0..3 {
                let texts = chunks.iter().map(|lists| &*lists[list]).filter(|text| !text.is_empty());
                let expected: Vec<_> =
                    items.iter().enumerate().filter(|(place, _)| thirds(*place) == list).map(|(_, item)| &**item).collect();
                prop_assert_eq!(texts.collect::<Vec<_>>().join(","), expected.join(","));
            }
        }
    }

    #[test]
    fn a_list_that_fits_into_half_a_frame_is_one_piece() {
        assert_eq!(pieces(items(&[2000, 2000]), MOST).len(), 1);
        let three = pieces(items(&[2000, 2000, 2000]), MOST);
        assert_eq!(three.iter().map(|piece| piece.len()).collect::<Vec<_>>(), [4001, 2000]);
        assert_eq!(pieces(Vec::<String>::new(), MOST).len(), 0);
    }

    #[test]
    fn a_frame_has_its_number_only_where_there_are_several() {
        let first = r#"{"type":"state","seq":7"#;
        assert_eq!(head(first, Some(7), 1, 1), first);
        assert_eq!(head(first, Some(7), 1, 2), format!(r#"{first},"chunk":1,"chunks":2"#));
        assert_eq!(head(first, Some(7), 2, 2), r#"{"type":"more","seq":7,"chunk":2,"chunks":2"#);
        assert_eq!(head(first, None, 2, 3), r#"{"type":"more","chunk":2,"chunks":3"#);
    }
}
