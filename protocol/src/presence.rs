//! A member of a presence channel, as the signed `channel_data` of a subscription describes it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json;
use crate::user::User;

/// Pusher's limit on a user id, in characters.
pub(crate) const MAX_USER_ID: usize = 128;

/// Who a connection is to the others in a presence channel.
#[derive(Clone, Debug, PartialEq)]
pub struct Member {
    /// The user's id; a number in `channel_data` counts as its digits, `10` and `"10"` are one user.
    pub user_id: Arc<str>,
    /// What the others may know: JSON as it was signed, never parsed. `None` when missing or null.
    pub user_info: Option<Arc<str>>,
}

impl Member {
    /// Reads `{"user_id": string or number, "user_info": any}`, the second being optional and at most `max_info_bytes`
    /// long. Check the signature first.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn parse(channel_data: &str, max_info_bytes: usize) -> Result<Self, MemberError> {
        #[derive(Deserialize)]
        struct ChannelData<'a> {
            #[serde(borrow)]
            user_id: Option<&'a RawValue>,
            user_info: Option<&'a RawValue>,
        }
        let data: ChannelData<'_> = json::object(channel_data).ok_or(MemberError::NotJson)?;
        let user_id = data.user_id.and_then(json::id).filter(|id| !id.is_empty());
        let user_id = user_id.ok_or(MemberError::MissingUserId)?;
        if user_id.chars().count() > MAX_USER_ID {
            return Err(MemberError::UserIdTooLong);
        }
        let user_info = data.user_info.map(|info| info.get().into());
        Self {
            user_id: user_id.as_ref().into(),
            user_info,
        }
        .within(max_info_bytes)
    }

    /// The member that a signed-in user is where the subscription brings no `channel_data`.
    ///
    /// # Errors
    /// [`MemberError::InfoTooLarge`]
    pub fn of_user(user: &User, max_info_bytes: usize) -> Result<Self, MemberError> {
        Self {
            user_id: user.id.clone(),
            user_info: user.user_info.clone(),
        }
        .within(max_info_bytes)
    }

    fn within(self, max: usize) -> Result<Self, MemberError> {
        match self.user_info.as_ref().map_or(0, |info| info.len()) {
            bytes if bytes > max => Err(MemberError::InfoTooLarge { max, bytes }),
            _ => Ok(self),
        }
    }
}

/// Why `channel_data` describes no member. The fault is that of the app's authorizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MemberError {
    /// Not a JSON object.
    #[error("Invalid channel_data: not a JSON object")]
    NotJson,
    /// No `user_id`, or one that is neither a non-empty string nor a number.
    #[error("Invalid channel_data: user_id must be a non-empty string or a number")]
    MissingUserId,
    /// A `user_id` of more than 128 characters.
    #[error("Invalid channel_data: user_id is longer than 128 characters")]
    UserIdTooLong,
    /// More about the user than the server is set to accept.
    #[error(
        "Invalid channel_data: user_info is {bytes} bytes, limits.presence_info_bytes allows {max}"
    )]
    InfoTooLarge {
        /// The limit in bytes.
        max: usize,
        /// The size of the JSON in bytes.
        bytes: usize,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(channel_data: &str) -> (String, Option<String>) {
        let member = Member::parse(channel_data, 1024).unwrap();
        (
            member.user_id.to_string(),
            member.user_info.map(|info| info.to_string()),
        )
    }

    #[test]
    fn a_number_and_its_digits_are_one_user() {
        for (data, id) in [
            (r#"{"user_id":10}"#, "10"),
            (r#"{"user_id":"10"}"#, "10"),
            (r#"{"user_id":0}"#, "0"),
            (r#"{"user_id":9007199254740993}"#, "9007199254740993"),
            (r#"{"user_id":"j\u00f6"}"#, "jö"),
        ] {
            assert_eq!(member(data), (id.to_owned(), None), "{data}");
        }
    }

    #[test]
    fn user_info_stays_as_it_was_signed() {
        for info in [
            "{ \"b\": 1, \"a\": 12345678901234567890 }",
            "true",
            "\"x\\u00e9\"",
            "[]",
            "0",
        ] {
            let data = format!("{{\"user_info\":{info},\"user_id\":\"1\",\"more\":{{}}}}");
            assert_eq!(member(&data), ("1".to_owned(), Some(info.to_owned())));
        }
        assert_eq!(
            member(r#"{"user_id":"1","user_info":null}"#),
            ("1".to_owned(), None)
        );
    }

    #[test]
    fn what_describes_no_member_is_refused_by_name() {
        let refusal = |data: &str| Member::parse(data, 8).unwrap_err();
        for data in ["", "7", "[\"1\"]", "nonsense"] {
            assert_eq!(refusal(data), MemberError::NotJson, "{data}");
        }
        for data in [
            "{}",
            r#"{"user_id":null}"#,
            r#"{"user_id":""}"#,
            r#"{"user_id":true}"#,
            r#"{"user_id":[1]}"#,
        ] {
            assert_eq!(refusal(data), MemberError::MissingUserId, "{data}");
        }
        let with_id = |chars| format!("{{\"user_id\":\"{}\"}}", "ü".repeat(chars));
        assert_eq!(refusal(&with_id(129)), MemberError::UserIdTooLong);
        assert!(Member::parse(&with_id(128), 8).is_ok());
        let too_large = MemberError::InfoTooLarge { max: 8, bytes: 9 };
        assert_eq!(refusal(r#"{"user_id":1,"user_info":"1234567"}"#), too_large);
        assert!(too_large.to_string().contains("limits.presence_info_bytes"));
        assert!(Member::parse(r#"{"user_id":1,"user_info":"123456"}"#, 8).is_ok());
    }
}
