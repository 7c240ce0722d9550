//! Cursors as a client may write them: one that is taken is the cursor that it gives again.
#![no_main]

use lastseen::api::page::Asked;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (Option<&str>, &str)| {
    let (limit, cursor) = input;
    let _ = Asked::read(limit, Some(cursor));
    let Ok(asked) = Asked::read(Some("1"), Some(cursor)) else { return };
    let after = asked.after.expect("a cursor that was taken");
    // A page of one, of two rows, has a next page, which goes on where the cursor says.
    let page = asked.page(vec![(), ()], |()| after, |()| 0);
    let page = serde_json::to_value(page).expect("JSON");
    let again = Asked::read(None, page["next_cursor"].as_str()).unwrap_or_else(|_| panic!("refused: {page}"));
    assert_eq!(again.after, Some(after));
});
