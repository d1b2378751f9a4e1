//! Channel rules and guards: from their tables to the authorizer's own, all mistakes noted.
//! What a pattern may be, the authorizer says.

use super::check::Check;
use super::error::Why;
use super::raw::{RawGuard, RawRule};
use crate::auth::{Guard, PatternError, Rule};

/// `[[auth.channels]]`
pub(super) fn rules(check: &mut Check<'_>, raw: &[RawRule]) -> Vec<Rule> {
    let read = |check: &mut Check<'_>, path: &str, rule: &RawRule| {
        let channel = check.required(&format!("{path}.channel"), rule.channel.as_deref());
        let roles = roles(check, path, rule.roles.as_deref());
        let claim = rule.claim.clone().unwrap_or_default();
        Rule::parse(
            &channel,
            rule.user.as_deref(),
            roles,
            &claim,
            rule.sql.as_deref(),
        )
    };
    each(check, "auth.channels", raw, read)
}

/// `[[auth.guards]]`
pub(super) fn guards(check: &mut Check<'_>, raw: &[RawGuard]) -> Vec<Guard> {
    let read = |check: &mut Check<'_>, path: &str, guard: &RawGuard| {
        let channel = check.required(&format!("{path}.channel"), guard.channel.as_deref());
        let roles = roles(check, path, guard.roles.as_deref());
        Guard::parse(&channel, roles)
    };
    each(check, "auth.guards", raw, read)
}

/// Reads every table of a list. An empty pattern has been noted as such already.
fn each<R, T>(
    check: &mut Check<'_>,
    list: &str,
    raw: &[R],
    read: impl Fn(&mut Check<'_>, &str, &R) -> Result<T, PatternError>,
) -> Vec<T> {
    let mut all = Vec::with_capacity(raw.len());
    for (index, table) in raw.iter().enumerate() {
        let path = format!("{list}[{index}]");
        match read(check, &path, table) {
            Ok(one) => all.push(one),
            Err(PatternError::Empty) => {}
            Err(error) => check.refuse(path, error),
        }
    }
    all
}

/// A list of roles that is there and empty would lock everybody out or let everybody in, depending on who
/// reads it; so it is refused.
fn roles(check: &mut Check<'_>, path: &str, roles: Option<&[String]>) -> Vec<String> {
    if roles.is_some_and(<[String]>::is_empty) {
        check.refuse(format!("{path}.roles"), Why::Empty);
    }
    roles.unwrap_or_default().to_vec()
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    fn complaint(text: &str) -> String {
        Config::from_toml(text).unwrap_err().to_string()
    }

    fn rule(condition: &str) -> String {
        format!("[[auth.channels]]\nchannel = 'private-{{a}}.{{b}}'\n{condition}")
    }

    #[test]
    fn rules_of_a_file_take_the_place_of_the_defaults() {
        let config = Config::from_toml(&rule("user = '{a}'")).unwrap();
        assert_eq!(config.auth.settings.rules.len(), 1);
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_refused_with_its_place() {
        assert_eq!(
            complaint("[[auth.channels]]\nchannel = 'private-{user'"),
            "config:1:1: auth.channels[0] cannot be used: 'private-{user' has a brace without its partner; \
             captures are written {name}"
        );
        assert_eq!(
            complaint("[[auth.guards]]\nchannel = ''"),
            "config:2:11: auth.guards[0].channel is empty"
        );
        assert_eq!(
            complaint("[[auth.channels]]\nuser = '7'"),
            "config:1:1: auth.channels[0].channel is missing"
        );
    }

    #[test]
    fn a_condition_names_only_what_the_channel_captures() {
        let said = complaint(&rule("user = '{c}'"));
        assert!(
            said.starts_with("config:1:1: auth.channels[0] cannot be used: "),
            "{said}"
        );
        assert!(said.contains("{c}"), "{said}");
    }

    #[test]
    fn roles_that_are_named_are_not_none() {
        assert_eq!(
            complaint(&rule("roles = []")),
            "config:3:9: auth.channels[0].roles is empty"
        );
    }

    #[test]
    fn guards_come_from_the_file() {
        let config =
            Config::from_toml("[[auth.guards]]\nchannel = 'admin'\nroles = ['admin']").unwrap();
        assert_eq!(config.auth.settings.guards.len(), 1);
    }
}
