//! Reading what the verbs answer in JSON.

use serde_json::Value;
use std::collections::BTreeMap;

/// The rows of an answer by key: (bytes, count).
#[must_use]
pub fn rows(answer: &Value) -> BTreeMap<String, (u64, u64)> {
    let mut rows = BTreeMap::new();
    for row in array(answer, "rows") {
        let key = text(row, "key").to_owned();
        let old = rows.insert(key.clone(), (number(row, "bytes"), number(row, "count")));
        assert_eq!(old, None, "two rows have the key {key}");
    }
    rows
}

/// A member that is a number.
#[must_use]
pub fn number(value: &Value, member: &str) -> u64 {
    value[member]
        .as_u64()
        .unwrap_or_else(|| panic!("no number {member} in {value:#}"))
}

/// A member that is a text.
#[must_use]
pub fn text<'a>(value: &'a Value, member: &str) -> &'a str {
    value[member]
        .as_str()
        .unwrap_or_else(|| panic!("no text {member} in {value:#}"))
}

/// A member that is an array.
#[must_use]
pub fn array<'a>(value: &'a Value, member: &str) -> &'a [Value] {
    value[member]
        .as_array()
        .unwrap_or_else(|| panic!("no array {member} in {value:#}"))
}

/// The functions of a row's frames, most recent first; unknown ones are empty.
#[must_use]
pub fn functions(row: &Value) -> Vec<&str> {
    array(row, "frames")
        .iter()
        .map(|frame| frame["function"].as_str().unwrap_or(""))
        .collect()
}

/// Fails unless the rows add up to the answer's total.
pub fn assert_rows_add_up(answer: &Value) {
    let (mut bytes, mut count) = (0, 0);
    for row in array(answer, "rows") {
        bytes += number(row, "bytes");
        count += number(row, "count");
    }
    assert_eq!(
        bytes,
        number(&answer["total"], "bytes"),
        "bytes of the rows"
    );
    assert_eq!(
        count,
        number(&answer["total"], "count"),
        "counts of the rows"
    );
}
