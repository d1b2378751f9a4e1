//! Numbers and switches as other programs take them: JSON's own, or text that says the same.

use serde_json::Value;

/// A text, a number or a switch, as text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// A whole number.
pub(super) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number
            .as_i64()
            .or_else(|| number.as_f64().map(|n| n as i64)),
        Value::String(text) => text.trim().replace('_', "").parse().ok(),
        _ => None,
    }
}

/// A switch. Everything but what plainly says no is yes, as in JavaScript and in PHP's `env()`.
pub(super) fn flag(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !matches!(
            text.trim().to_ascii_lowercase().as_str(),
            "" | "0" | "false" | "(false)" | "off" | "no" | "null"
        ),
        Value::Null => false,
        _ => true,
    }
}

/// A list or an object, or text that holds one.
pub(super) fn parsed(value: Value) -> Value {
    match &value {
        Value::String(text) => serde_json::from_str(text).unwrap_or(value),
        _ => value,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_mean_what_they_meant_to_the_program_that_read_them() {
        assert_eq!(number(&json!("-1")), Some(-1));
        assert_eq!(number(&json!("10_000")), Some(10_000));
        assert_eq!(number(&json!(2.0)), Some(2));
        assert_eq!(number(&json!("many")), None);
        assert_eq!(text(&json!(1001)), Some("1001".to_owned()));
        for yes in [json!(true), json!("1"), json!("true"), json!(1)] {
            assert!(flag(&yes), "{yes}");
        }
        for no in [
            json!(false),
            json!("0"),
            json!("False"),
            json!(0),
            json!(null),
            json!(""),
        ] {
            assert!(!flag(&no), "{no}");
        }
        assert_eq!(parsed(json!("[1]")), json!([1]));
        assert_eq!(parsed(json!("x")), json!("x"));
    }
}
