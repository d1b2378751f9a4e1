//! The parameters of a query as signatures see them: decoded, keys in lower case, sorted.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What travels as it is in a query: the unreserved characters of RFC 3986 section 2.3.
const QUERY: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// The query, decoded, with keys in lower case; sorted by key, equal keys in the order of the query.
pub(crate) struct Params<'a>(Vec<(String, Cow<'a, str>)>);

impl<'a> Params<'a> {
    /// Reads a query as it is on the wire.
    pub(crate) fn of(query: &'a str) -> Self {
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let mut params = Self(
            pairs
                .map(|pair| pair.split_once('=').unwrap_or((pair, "")))
                .map(|(name, value)| (decoded(name).to_ascii_lowercase(), decoded(value)))
                .collect(),
        );
        params.sort();
        params
    }

    /// The same without the parameters that make up a signature.
    pub(crate) fn unsigned(mut self) -> Self {
        self.0
            .retain(|(name, _)| !name.starts_with("auth_") && name != "body_md5");
        self
    }

    /// Adds a parameter in its place.
    pub(crate) fn add(&mut self, name: &str, value: String) {
        self.0.push((name.to_owned(), value.into()));
        self.sort();
    }

    /// The query as it goes on the wire, percent-encoded.
    pub(crate) fn encoded(&self) -> String {
        join(self.0.iter(), |text| {
            utf8_percent_encode(text, QUERY).into()
        })
    }

    fn sort(&mut self) {
        self.0.sort_by(|(a, _), (b, _)| a.cmp(b));
    }

    /// The first value of a parameter.
    pub(crate) fn get(&self, wanted: &str) -> Option<&str> {
        self.0
            .iter()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| &**value)
    }

    /// The third line of the text to sign.
    pub(crate) fn signed(&self) -> String {
        let signed = self.0.iter().filter(|(name, _)| name != "auth_signature");
        join(signed, |text| text.into())
    }
}

fn join<'p>(
    params: impl Iterator<Item = &'p (String, Cow<'p, str>)>,
    written: impl Fn(&'p str) -> Cow<'p, str>,
) -> String {
    let mut joined = String::new();
    for (name, value) in params {
        if !joined.is_empty() {
            joined.push('&');
        }
        joined.push_str(&written(name));
        joined.push('=');
        joined.push_str(&written(value));
    }
    joined
}

/// Undoes form encoding: a plus is a space.
fn decoded(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned());
    }
    percent_decode_str(text).decode_utf8_lossy()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_decoded_and_keys_sorted_in_lower_case() {
        let params = Params::of("b=x%2Cy+z&A=%C3%A9&&empty&a[]=2&a%5B%5D=1&auth_signature=s&c=d=e");
        assert_eq!(params.signed(), "a=é&a[]=2&a[]=1&b=x,y z&c=d=e&empty=");
        assert_eq!(params.get("auth_signature"), Some("s"));
        assert_eq!(params.get("missing"), None);
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_read_back(name in "[a-y_]{1,8}", value in ".{0,40}") {
            let mut params = Params::of("zz=1");
            params.add(&name, value.clone());
            let wire = params.encoded();
            let read = Params::of(&wire);
            prop_assert_eq!(read.get(&name), Some(&*value));
        }
    }
}
