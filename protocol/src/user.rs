//! The user as whom a connection has signed in.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json;
use crate::presence::MAX_USER_ID;

/// Who is behind a connection, on the app's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// The id; a number in `user_data` counts as its digits.
    pub id: Arc<str>,
    /// What others in presence channels may know: JSON as it was signed. `None` when missing or null.
    pub user_info: Option<Arc<str>>,
    /// The roles that guards of channels ask for; empty when `user_data` names none.
    pub roles: Vec<String>,
    /// The users whose coming and going this one wants to hear of, at most [`MAX_WATCHLIST`] and each once.
    pub watchlist: Vec<Arc<str>>,
    /// Whether `user_data` named more than that.
    pub watchlist_cut: bool,
}

/// The users that one user may watch. Source: "Watchlist" in Pusher's documentation of user authentication.
pub const MAX_WATCHLIST: usize = 100;

impl User {
    /// Reads the `user_data` of a sign-in: `{"id", "user_info"?, "roles"?: [string], "watchlist"?: [string]}`. Check the signature first.
    ///
    /// # Errors
    /// Says which rule the text breaks.
    pub fn parse(user_data: &str) -> Result<Self, UserError> {
        #[derive(Deserialize)]
        struct UserData<'a> {
            #[serde(borrow)]
            id: Option<&'a RawValue>,
            user_info: Option<&'a RawValue>,
            roles: Option<&'a RawValue>,
            watchlist: Option<&'a RawValue>,
        }
        let data: UserData<'_> = json::object(user_data).ok_or(UserError::NotJson)?;
        let id = data
            .id
            .and_then(json::id)
            .filter(|id| !id.is_empty())
            .ok_or(UserError::MissingId)?;
        if id.chars().count() > MAX_USER_ID {
            return Err(UserError::IdTooLong);
        }
        let roles = match data.roles {
            Some(roles) => serde_json::from_str(roles.get()).map_err(|_| UserError::BadRoles)?,
            None => Vec::new(),
        };
        let watched: Vec<String> = match data.watchlist {
            Some(ids) => serde_json::from_str(ids.get()).map_err(|_| UserError::BadWatchlist)?,
            None => Vec::new(),
        };
        let watchlist_cut = watched.len() > MAX_WATCHLIST;
        let mut watchlist: Vec<Arc<str>> = watched
            .into_iter()
            .take(MAX_WATCHLIST)
            .map(Arc::from)
            .collect();
        watchlist.sort_unstable();
        watchlist.dedup();
        let user_info = data.user_info.map(|info| info.get().into());
        Ok(Self {
            id: id.as_ref().into(),
            user_info,
            roles,
            watchlist,
            watchlist_cut,
        })
    }
}

/// Why `user_data` describes no user. The fault is that of the app's authorizer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UserError {
    /// Not a JSON object.
    #[error("Invalid user_data: not a JSON object")]
    NotJson,
    /// No `id`, or one that is neither a non-empty string nor a number.
    #[error("Invalid user_data: id must be a non-empty string")]
    MissingId,
    /// An `id` of more than 128 characters.
    #[error("Invalid user_data: id is longer than 128 characters")]
    IdTooLong,
    /// `roles` is there, but not a list of strings.
    #[error("Invalid user_data: roles must be a list of strings")]
    BadRoles,
    /// `watchlist` is there, but not a list of strings.
    #[error("Invalid user_data: watchlist must be a list of strings")]
    BadWatchlist,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn id_info_and_roles_are_read_and_the_rest_is_ignored() {
        let data = r#"{"id":"7","user_info":{"n": 1},"roles":["admin","staff"],"watchlist":["9","8","9"]}"#;
        let user = User::parse(data).unwrap();
        assert_eq!(
            (&*user.id, user.user_info.as_deref()),
            ("7", Some(r#"{"n": 1}"#))
        );
        assert_eq!(user.roles, ["admin", "staff"]);
        assert_eq!(user.watchlist, ["8".into(), "9".into()]);
        assert!(!user.watchlist_cut);
    }

    #[test]
    fn a_number_is_an_id_and_zero_is_one_too() {
        let user = User::parse(r#"{"id":0,"user_info":null,"roles":null}"#).unwrap();
        assert_eq!(
            user,
            User {
                id: "0".into(),
                user_info: None,
                roles: Vec::new(),
                watchlist: Vec::new(),
                watchlist_cut: false,
            }
        );
    }

    #[test]
    fn a_longer_watchlist_is_cut_and_said_to_be() {
        let ids: Vec<String> = (0..101).map(|id| format!("\"{id}\"")).collect();
        let user =
            User::parse(&format!(r#"{{"id":"7","watchlist":[{}]}}"#, ids.join(","))).unwrap();
        assert_eq!((user.watchlist.len(), user.watchlist_cut), (100, true));
        assert!(!user.watchlist.contains(&"100".into()));
    }

    #[test]
    fn what_describes_no_user_is_refused_by_name() {
        let long = format!("{{\"id\":\"{}\"}}", "a".repeat(129));
        for (data, error) in [
            ("", UserError::NotJson),
            ("[\"7\"]", UserError::NotJson),
            ("{}", UserError::MissingId),
            (r#"{"id":""}"#, UserError::MissingId),
            (r#"{"id":{}}"#, UserError::MissingId),
            (&long, UserError::IdTooLong),
            (r#"{"id":"7","roles":"admin"}"#, UserError::BadRoles),
            (r#"{"id":"7","roles":[1]}"#, UserError::BadRoles),
            (r#"{"id":"7","watchlist":"8"}"#, UserError::BadWatchlist),
        ] {
            assert_eq!(User::parse(data), Err(error), "{data}");
        }
    }
}
