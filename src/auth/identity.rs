//! Who a token speaks for: the user's id, name and roles, read from the claims where the settings say they stand.

use serde::Serialize;
use serde_json::{Map, Value};

use super::{AuthSettings, TokenError};

/// Pusher's limit on a user id, in characters.
const MAX_USER_ID: usize = 128;

/// The user of a token whose signature, times, issuer and audience were right.
#[derive(Clone, Debug)]
pub struct Identity {
    /// 1 to 128 characters; an integer in the token is its digits, so `7` and `"7"` are one user.
    pub user_id: String,
    /// The name, if the token has one.
    pub name: Option<String>,
    /// The roles; empty when the token names none.
    pub roles: Vec<String>,
    /// The token's claims as they stand.
    pub claims: Map<String, Value>,
}

impl Identity {
    pub(super) fn read(
        claims: Map<String, Value>,
        settings: &AuthSettings,
    ) -> Result<Identity, TokenError> {
        let wrong = |claim: &str, wanted| TokenError::Claim {
            claim: claim.to_owned(),
            wanted,
        };
        let at = settings.claim_user.as_str();
        let user_id = match claims.get(at) {
            None | Some(Value::Null) => return Err(TokenError::Missing(at.to_owned())),
            Some(id @ (Value::String(_) | Value::Number(_))) => text(id),
            Some(_) => None,
        };
        let user_id = user_id
            .filter(|id| (1..=MAX_USER_ID).contains(&id.chars().count()))
            .ok_or_else(|| wrong(at, "a text of 1 to 128 characters or an integer"))?;
        let name = match claims.get(&settings.claim_name) {
            None | Some(Value::Null) => None,
            Some(Value::String(name)) => Some(name.clone()),
            Some(_) => return Err(wrong(&settings.claim_name, "a text")),
        };
        let roles = match claims.get(&settings.claim_roles) {
            None | Some(Value::Null) => Some(Vec::new()),
            Some(Value::String(role)) => Some(vec![role.clone()]),
            Some(Value::Array(roles)) => {
                let roles = roles.iter().map(|role| role.as_str().map(str::to_owned));
                roles.collect()
            }
            Some(_) => None,
        };
        let roles =
            roles.ok_or_else(|| wrong(&settings.claim_roles, "a text or a list of texts"))?;
        Ok(Identity {
            user_id,
            name,
            roles,
            claims,
        })
    }

    /// Whether the claim equals `wanted`, or is a list that holds it. Numbers and booleans count as their text.
    pub(super) fn claim_holds(&self, claim: &str, wanted: &str) -> bool {
        let is = |value: &Value| text(value).is_some_and(|text| text == wanted);
        match self.claims.get(claim) {
            Some(Value::Array(values)) => values.iter().any(is),
            Some(value) => is(value),
            None => false,
        }
    }

    pub(super) fn has_one_of(&self, roles: &[String]) -> bool {
        self.roles.iter().any(|role| roles.contains(role))
    }

    /// What others may see of the user: the claims listed, without those the token lacks. `name` is the user's name
    /// wherever it stands in the token.
    pub(super) fn info<'a>(&'a self, listed: &'a [String]) -> UserInfo<'a> {
        UserInfo {
            identity: self,
            listed,
        }
    }
}

/// Serializes to a map, empty if there is nothing to tell.
pub(super) struct UserInfo<'a> {
    identity: &'a Identity,
    listed: &'a [String],
}

impl Serialize for UserInfo<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let known = self.listed.iter().filter_map(|claim| {
            let name = || self.identity.name.clone().filter(|_| claim == "name");
            let value = self.identity.claims.get(claim).cloned();
            Some((claim, value.or_else(|| name().map(Value::String))?))
        });
        serializer.collect_map(known)
    }
}

/// The one text that stands for a value; fractions, lists, maps and null have none.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::tests::fixtures;
    use super::*;

    fn read(claims: Value) -> Result<Identity, TokenError> {
        Identity::read(fixtures::map(claims), &fixtures::settings())
    }

    #[test]
    fn a_user_id_is_the_same_as_a_number_and_as_a_text() {
        for id in [json!(7), json!("7")] {
            assert_eq!(read(json!({ "sub": id })).unwrap().user_id, "7");
        }
        assert_eq!(read(json!({ "sub": -3 })).unwrap().user_id, "-3");
    }

    #[test]
    fn a_token_without_a_usable_user_id_names_the_claim() {
        let missing = read(json!({ "name": "A" })).unwrap_err().to_string();
        assert_eq!(missing, "The token has no claim 'sub'");
        let too_long = json!("x".repeat(129));
        for bad in [
            json!(""),
            json!(7.5),
            json!(true),
            json!([]),
            json!({}),
            too_long,
        ] {
            let error = read(json!({ "sub": bad })).unwrap_err().to_string();
            assert!(
                error.contains("claim 'sub' must be a text of 1 to 128"),
                "{error}"
            );
        }
        assert!(read(json!({ "sub": "x".repeat(128) })).is_ok());
    }

    #[test]
    fn roles_are_a_list_or_a_single_text() {
        let roles = |value| read(json!({ "sub": 7, "roles": value })).map(|who| who.roles);
        assert_eq!(roles(json!(["a", "b"])).unwrap(), ["a", "b"]);
        assert_eq!(roles(json!("a")).unwrap(), ["a"]);
        assert!(roles(json!(null)).unwrap().is_empty());
        assert!(roles(json!({ "a": 1 })).is_err());
        assert!(roles(json!(["a", 1])).is_err());
    }

    #[test]
    fn claims_stand_where_the_settings_say() {
        let settings = AuthSettings {
            claim_user: "uid".into(),
            claim_name: "display".into(),
            claim_roles: "https://example.com/roles".into(),
            ..fixtures::settings()
        };
        let claims = json!({ "uid": 1, "display": "Ada", "https://example.com/roles": ["x"] });
        let who = Identity::read(fixtures::map(claims), &settings).unwrap();
        assert_eq!(who.user_id, "1");
        assert_eq!(who.name.as_deref(), Some("Ada"));
        assert_eq!(who.roles, ["x"]);
        let listed = ["name".to_owned(), "team".to_owned()];
        let info = serde_json::to_value(who.info(&listed)).unwrap();
        assert_eq!(info, json!({ "name": "Ada" }));
    }

    #[test]
    fn a_claim_holds_a_value_it_equals_or_lists() {
        let who = read(json!({ "sub": 1, "rooms": [5, "b"], "team": "x", "ok": true })).unwrap();
        assert!(who.claim_holds("rooms", "5"));
        assert!(who.claim_holds("rooms", "b"));
        assert!(!who.claim_holds("rooms", "5b"));
        assert!(who.claim_holds("team", "x"));
        assert!(who.claim_holds("ok", "true"));
        assert!(!who.claim_holds("none", "x"));
    }
}
