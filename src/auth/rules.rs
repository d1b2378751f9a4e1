//! Rules say who may subscribe to channels that need a signature; guards, who may hear public ones.
//! In a list of either, the first whose pattern matches the channel decides, for or against.

use std::collections::BTreeMap;

use super::Identity;
use super::pattern::{Pattern, PatternError, Template};
use super::refusal::{GuardRefusal, Refusal};
use crate::store::Question;

/// One of `auth.channels`: all its conditions must hold. One without conditions admits every valid token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    pattern: Pattern,
    user: Option<Template>,
    roles: Vec<String>,
    claims: Vec<(String, Template)>,
    sql: Option<Question>,
}

/// What the database is to be asked when all else holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Asked<'a> {
    /// Answered by a row for those who may.
    pub(super) question: &'a Question,
    /// The captures in order, then the user's id.
    pub(super) values: Vec<&'a str>,
}

impl Rule {
    /// `channel` is a pattern over full channel names in which `{x}` captures a segment. `user` and the values of
    /// `claim` may use captures: the user must be the one, each claim must equal or list the other. `roles` are those
    /// of which one is needed, none when empty. `sql` is answered by a row for those who may, where `$1` and so on are the
    /// captures in order and then the user's id.
    ///
    /// # Errors
    /// Says what is wrong with the pattern or a condition.
    pub fn parse(
        channel: &str,
        user: Option<&str>,
        roles: Vec<String>,
        claim: &BTreeMap<String, String>,
        sql: Option<&str>,
    ) -> Result<Rule, PatternError> {
        let pattern = Pattern::parse(channel)?;
        let user = user
            .map(|user| Template::parse(user, &pattern))
            .transpose()?;
        let claims = claim
            .iter()
            .map(|(claim, value)| Ok((claim.clone(), Template::parse(value, &pattern)?)))
            .collect::<Result<_, PatternError>>()?;
        let most = pattern.capture_count() + 1;
        let sql = sql
            .map(|sql| Question::parse(sql, most))
            .transpose()
            .map_err(|problem| PatternError::Sql {
                pattern: pattern.text().to_owned(),
                problem,
            })?;
        Ok(Rule {
            pattern,
            user,
            roles,
            claims,
            sql,
        })
    }

    /// Whether it asks the database.
    pub fn has_sql(&self) -> bool {
        self.sql.is_some()
    }

    fn admits(&self, captures: &[&str], who: &Identity, channel: &str) -> Result<(), Refusal> {
        let channel = || channel.to_owned();
        if let Some(user) = &self.user {
            let owner = user.fill(captures);
            if owner != who.user_id {
                return Err(Refusal::OtherUser {
                    channel: channel(),
                    owner,
                    user: who.user_id.clone(),
                });
            }
        }
        if !self.roles.is_empty() && !who.has_one_of(&self.roles) {
            return Err(Refusal::Role {
                channel: channel(),
                roles: self.roles.clone(),
            });
        }
        for (claim, value) in &self.claims {
            let value = value.fill(captures);
            if !who.claim_holds(claim, &value) {
                return Err(Refusal::Claim {
                    channel: channel(),
                    claim: claim.clone(),
                    value,
                });
            }
        }
        Ok(())
    }
}

/// Whether the first rule that matches the channel admits this user, if the database agrees where it is to be asked.
pub(super) fn decide<'a>(
    rules: &'a [Rule],
    who: &'a Identity,
    channel: &'a str,
) -> Result<Option<Asked<'a>>, Refusal> {
    for rule in rules {
        if let Some(mut values) = rule.pattern.captures(channel) {
            rule.admits(&values, who, channel)?;
            values.push(&who.user_id);
            return Ok(rule.sql.as_ref().map(|question| Asked { question, values }));
        }
    }
    Err(Refusal::NoRule {
        channel: channel.to_owned(),
    })
}

/// One of `auth.guards`: a public channel that is not for everyone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    pattern: Pattern,
    roles: Vec<String>,
}

impl Guard {
    /// `channel` is a pattern as in a [`Rule`]; `roles` are those of which one is needed. With no roles it is enough
    /// to have signed in.
    ///
    /// # Errors
    /// Says what is wrong with the pattern.
    pub fn parse(channel: &str, roles: Vec<String>) -> Result<Guard, PatternError> {
        let pattern = Pattern::parse(channel)?;
        Ok(Guard { pattern, roles })
    }
}

/// Whether the first guard that matches the channel lets a connection with these roles in.
pub(super) fn guard(
    guards: &[Guard],
    channel: &str,
    roles: Option<&[String]>,
) -> Result<(), GuardRefusal> {
    let matching = |guard: &&Guard| guard.pattern.captures(channel).is_some();
    let Some(guard) = guards.iter().find(matching) else {
        return Ok(());
    };
    let channel = || channel.to_owned();
    let Some(roles) = roles else {
        return Err(GuardRefusal::NotSignedIn { channel: channel() });
    };
    if guard.roles.is_empty() || roles.iter().any(|role| guard.roles.contains(role)) {
        return Ok(());
    }
    Err(GuardRefusal::Role {
        channel: channel(),
        roles: guard.roles.clone(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::super::tests::fixtures;
    use super::*;

    fn rule(channel: &str, user: Option<&str>, roles: &[&str], claim: &[(&str, &str)]) -> Rule {
        let claim = claim.iter().map(|(c, v)| (c.to_string(), v.to_string()));
        let roles = roles.iter().map(|role| role.to_string()).collect();
        Rule::parse(channel, user, roles, &claim.collect(), None).unwrap()
    }

    fn who(claims: Value) -> Identity {
        Identity::read(fixtures::map(claims), &fixtures::settings()).unwrap()
    }

    #[test]
    fn a_users_own_channel_opens_to_that_user_only() {
        let rules = [rule("private-booking.{user}", Some("{user}"), &[], &[])];
        let seven = who(json!({ "sub": 7 }));
        assert_eq!(decide(&rules, &seven, "private-booking.7"), Ok(None));
        let refusal = decide(&rules, &seven, "private-booking.77").unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "Channel private-booking.77 is for user 77; the token is user 7's"
        );
    }

    #[test]
    fn one_of_the_roles_is_enough_and_none_is_not() {
        let rules = [rule("private-staff", None, &["admin", "staff"], &[])];
        let staff = who(json!({ "sub": 1, "roles": ["x", "staff"] }));
        assert_eq!(decide(&rules, &staff, "private-staff"), Ok(None));
        let guest = who(json!({ "sub": 1, "roles": "guest" }));
        let refusal = decide(&rules, &guest, "private-staff").unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "Channel private-staff needs one of the roles admin, staff"
        );
    }

    #[test]
    fn a_claim_must_equal_or_list_what_was_captured() {
        let rules = [rule(
            "presence-room.{room}",
            None,
            &[],
            &[("rooms", "{room}")],
        )];
        for rooms in [json!(["4", "5"]), json!([5]), json!("5"), json!(5)] {
            let member = who(json!({ "sub": 1, "rooms": rooms }));
            assert_eq!(decide(&rules, &member, "presence-room.5"), Ok(None));
            let refusal = decide(&rules, &member, "presence-room.6").unwrap_err();
            assert!(
                refusal
                    .to_string()
                    .contains("claim 'rooms' is or lists '6'")
            );
        }
    }

    #[test]
    fn all_conditions_of_a_rule_must_hold() {
        let rules = [rule(
            "private-{u}.{r}",
            Some("{u}"),
            &["admin"],
            &[("rooms", "{r}")],
        )];
        let good = json!({ "sub": "u", "roles": "admin", "rooms": ["r"] });
        assert_eq!(decide(&rules, &who(good.clone()), "private-u.r"), Ok(None));
        for (claim, other) in [("sub", "v"), ("roles", "none"), ("rooms", "s")] {
            let mut bad = good.clone();
            bad[claim] = json!(other);
            assert!(decide(&rules, &who(bad), "private-u.r").is_err(), "{claim}");
        }
    }

    #[test]
    fn the_database_is_asked_last_with_the_captures_and_the_user() {
        let sql = Some("select 1 from o where a = $1 and b = $2 and u = $3");
        let admin = vec!["admin".to_owned()];
        let rule = |sql| {
            Rule::parse(
                "private-{a}.{b}",
                None,
                admin.clone(),
                &BTreeMap::new(),
                sql,
            )
        };
        let rules = [rule(sql).unwrap()];
        let seven = who(json!({ "sub": 7, "roles": "admin" }));
        let asked = decide(&rules, &seven, "private-x.y").unwrap().unwrap();
        assert_eq!(asked.values, ["x", "y", "7"]);
        let guest = who(json!({ "sub": 7 }));
        assert!(decide(&rules, &guest, "private-x.y").is_err());
        let wrong = rule(Some("select $4")).unwrap_err();
        assert_eq!(
            wrong.to_string(),
            "'private-{a}.{b}': sql uses $4, and there are 3 parameters: the captures in order, and the user's id"
        );
    }

    #[test]
    fn the_first_matching_rule_decides_even_when_a_later_one_would_admit() {
        let rules = [
            rule("private-room.vip", None, &["vip"], &[]),
            rule("private-room.{any}", None, &[], &[]),
        ];
        let guest = who(json!({ "sub": 1 }));
        assert_eq!(decide(&rules, &guest, "private-room.1"), Ok(None));
        let refusal = decide(&rules, &guest, "private-room.vip").unwrap_err();
        assert_eq!(
            refusal.to_string(),
            "Channel private-room.vip needs the role vip"
        );
        let refusal = decide(&rules, &guest, "private-other").unwrap_err();
        assert!(matches!(refusal, Refusal::NoRule { .. }));
    }

    #[test]
    fn guards_hold_back_their_channels_only() {
        let roles =
            |names: &[&str]| -> Vec<String> { names.iter().map(|n| n.to_string()).collect() };
        let guards = [
            Guard::parse("admin", roles(&["admin"])).unwrap(),
            Guard::parse("area.{x}", roles(&["staff", "admin"])).unwrap(),
            Guard::parse("members", Vec::new()).unwrap(),
        ];
        let admin = roles(&["admin"]);
        assert_eq!(guard(&guards, "admin", Some(&admin)), Ok(()));
        assert_eq!(guard(&guards, "area.1", Some(&admin)), Ok(()));
        assert_eq!(guard(&guards, "orders", None), Ok(()));
        assert_eq!(guard(&guards, "admin2", None), Ok(()));
        assert_eq!(guard(&[], "admin", None), Ok(()));
        assert_eq!(guard(&guards, "members", Some(&[])), Ok(()));
        for channel in ["admin", "area.1", "members"] {
            let refusal = guard(&guards, channel, None).unwrap_err();
            assert!(matches!(refusal, GuardRefusal::NotSignedIn { .. }));
        }
        let refusal = guard(&guards, "area.1", Some(&roles(&["x"]))).unwrap_err();
        let text = "Channel area.1 needs one of the roles staff, admin";
        assert_eq!(refusal.to_string(), text);
    }
}
