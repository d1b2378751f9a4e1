//! The little JSON that several parts share: strings to and from their escaped form, and "this text is an object".

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

/// Appends `text` as a JSON string, quotes included.
pub(crate) fn push_quoted(out: &mut Vec<u8>, text: &str) {
    // Neither writing to a Vec nor serializing a str has a way to fail.
    serde_json::to_writer(out, text).unwrap_or_default();
}

/// `text` as a JSON string, quotes included.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// How many bytes [`push_quoted`] appends.
pub(crate) fn quoted_len(text: &str) -> usize {
    2 + text.bytes().map(escaped_len).sum::<usize>()
}

fn escaped_len(byte: u8) -> usize {
    match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => 6,
        _ => 1,
    }
}

/// Reads `text` as a JSON object into a struct of its known keys; other keys are ignored, a known key that comes twice
/// is refused. `None` when it is not a JSON object: serde alone would also take an array for a struct.
pub(crate) fn object<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// The text of a JSON string, without a copy when nothing in it is escaped. `None` when the value is not a string.
pub(crate) fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// An id that may be written as a string or as a number: `10` and `"10"` are the same one. `None` for other values.
pub(crate) fn id(value: &RawValue) -> Option<Cow<'_, str>> {
    if value
        .get()
        .starts_with(|c: char| c == '-' || c.is_ascii_digit())
    {
        return Some(Cow::Borrowed(value.get()));
    }
    text(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_ascii_character_is_counted_as_it_is_escaped() {
        for byte in 0..128_u8 {
            let text = char::from(byte).to_string();
            let mut out = Vec::new();
            push_quoted(&mut out, &text);
            assert_eq!(out.len(), quoted_len(&text), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn quoting_is_undone_by_reading(written in "\\PC*|(?s).*") {
            let mut out = Vec::new();
            push_quoted(&mut out, &written);
            prop_assert_eq!(out.len(), quoted_len(&written));
            prop_assert_eq!(std::str::from_utf8(&out).unwrap(), quoted(&written));
            let raw: Box<RawValue> = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(text(&raw).unwrap(), written);
        }
    }

    #[test]
    fn an_array_is_no_object() {
        #[derive(Deserialize)]
        struct One {
            a: u8,
        }
        assert!(object::<One>("[1]").is_none());
        assert_eq!(object::<One>(" {\"a\":1,\"b\":2}").unwrap().a, 1);
        assert!(object::<One>("{\"a\":1,\"a\":2}").is_none());
    }

    #[test]
    fn numbers_and_strings_are_ids_and_nothing_else_is() {
        let id_of = |json: &str| {
            let raw: Box<RawValue> = serde_json::from_str(json).unwrap();
            id(&raw).map(Cow::into_owned)
        };
        for json in ["10", "\"10\"", "\"\\u0031\\u0030\""] {
            assert_eq!(id_of(json).as_deref(), Some("10"));
        }
        assert_eq!(
            id_of("9007199254740993").as_deref(),
            Some("9007199254740993")
        );
        for json in ["true", "null", "{}", "[1]"] {
            assert_eq!(id_of(json), None);
        }
    }
}
