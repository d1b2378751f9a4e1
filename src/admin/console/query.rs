//! Parameters and bodies of the console's requests.

use std::collections::HashMap;

use serde::Deserialize;

use super::Refused;
use crate::http::Call;

/// Rows of a list, unless fewer are asked for.
const ROWS: usize = 100;

/// The parameters of a query; of one that is there several times the last counts.
pub(super) struct Query(HashMap<String, String>);

impl Query {
    pub(super) fn of(call: &Call) -> Query {
        let query = call.uri.query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        Query(pairs.into_owned().collect())
    }

    /// The parameter, if it is there and says something.
    pub(super) fn text(&self, name: &str) -> Option<&str> {
        let value = self.0.get(name).map(String::as_str);
        value.filter(|value| !value.is_empty())
    }

    /// The parameter in lower case, for comparing; empty when it is not there.
    pub(super) fn lower(&self, name: &str) -> String {
        self.text(name).unwrap_or_default().to_lowercase()
    }

    pub(super) fn number<N: std::str::FromStr>(
        &self,
        name: &'static str,
    ) -> Result<Option<N>, Refused> {
        let Some(text) = self.text(name) else {
            return Ok(None);
        };
        let number = text.parse();
        let number = number.map_err(|_| Refused::bad(name, format!("'{text}' is not a number")));
        number.map(Some)
    }

    /// How many rows are wanted: 1 to 100.
    pub(super) fn rows(&self) -> Result<usize, Refused> {
        Ok(self.number("limit")?.unwrap_or(ROWS).clamp(1, ROWS))
    }
}

/// The body of an action.
pub(super) fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| {
        Refused::bad(
            "body",
            format!("The body is not what it should be: {error}"),
        )
    })
}
