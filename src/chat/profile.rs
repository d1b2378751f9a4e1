//! Who a sender is to the others: what the token says about the user, and what the table `users` keeps of it.

use serde::Serialize;
use serde_json::Value;

use super::ChatError;
use crate::auth::Identity;

/// The longest name or table number that is kept, in characters; longer ones are cut.
const NAME_CHARS: usize = 255;

/// The longest URL of a photo that is kept, in characters: half an URL is none, so longer ones are left out.
const URL_CHARS: usize = 2000;

/// A user, as the others see it. It serializes to what is known of it, without the id.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Profile {
    /// Who it is.
    #[serde(skip)]
    pub user_id: i64,
    /// Claim `auth.claim_name`, else `name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Claim `photo_url`, else `avatar`, else `picture`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub photo_url: Option<String>,
    /// Claim `table_number`; a number is its digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table_number: Option<String>,
}

impl Profile {
    /// A user of whom nothing else is known.
    pub fn unknown(user_id: i64) -> Profile {
        Profile {
            user_id,
            ..Profile::default()
        }
    }

    /// What a token says.
    ///
    /// # Errors
    /// The user's id is no integer.
    pub fn of(identity: &Identity) -> Result<Profile, ChatError> {
        let user_id = integer(&identity.user_id)
            .ok_or_else(|| ChatError::UserId(identity.user_id.clone()))?;
        let claim = |name: &str| identity.claims.get(name).and_then(text);
        let name = identity.name.clone().or_else(|| claim("name"));
        let photo_url = ["photo_url", "avatar", "picture"]
            .into_iter()
            .find_map(claim);
        let cut = |text: String| text.chars().take(NAME_CHARS).collect::<String>();
        Ok(Profile {
            user_id,
            name: name.map(cut),
            photo_url: photo_url.filter(|url| url.chars().count() <= URL_CHARS),
            table_number: claim("table_number").map(cut),
        })
    }

    /// Whether there is nothing to tell.
    pub fn is_unknown(&self) -> bool {
        *self == Profile::unknown(self.user_id)
    }
}

/// The number that a text writes in the one way there is: `7` and `07` must not be one user.
pub(super) fn integer(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    (number.to_string() == text).then_some(number)
}

/// A claim that says something. NUL, which PostgreSQL's texts cannot hold, is left out.
fn text(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.replace('\0', ""),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    (!text.is_empty()).then_some(text)
}
