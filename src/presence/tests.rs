//! What the members of a channel come to, change by change.

use super::*;

const HERE: u64 = 1;

fn here() -> NodeName {
    NodeName::first(HERE)
}

fn member(user_id: &str) -> Member {
    Member {
        user_id: user_id.into(),
        user_info: None,
    }
}

fn presence(user_id: &str, nodes: &[u64]) -> Presence {
    Presence {
        user_id: user_id.into(),
        user_info: None,
        nodes: nodes.iter().copied().map(NodeName::first).collect(),
    }
}

fn registry(presences: &[(&str, &[u64])]) -> HashMap<Arc<str>, Presence> {
    let each = presences.iter();
    each.map(|(id, nodes)| ((*id).into(), presence(id, nodes)))
        .collect()
}

fn added(user_id: &str) -> Turn {
    Turn::Added {
        user_id: user_id.into(),
        user_info: None,
    }
}

fn ids(members: &Members) -> Vec<&str> {
    assert_eq!(members.ids().count(), members.len());
    members.ids().map(|id| &**id).collect()
}

#[test]
fn a_user_with_two_connections_comes_once_and_goes_with_the_last() {
    let mut members = Members::default();
    assert_eq!(members.join(&member("a"), here(), 1), Ok(true));
    assert_eq!(members.join(&member("a"), here(), 1), Ok(false));
    assert_eq!(
        members.join(&member("b"), here(), 1),
        Err(ChannelFull { max: 1 })
    );
    assert!(!members.leave("a", here()) && members.leave("a", here()));
    assert!(!members.leave("a", here()) && members.is_empty());
}

#[test]
fn a_user_is_a_member_when_the_registry_says_so_and_until_the_last_node_is_gone() {
    let mut members = Members::default();
    assert!(members.seat(&member("a"), here()));
    assert!(ids(&members).is_empty() && !members.is_empty());
    assert_eq!(
        members.set(presence("a", &[HERE]), here()),
        Some(added("a"))
    );
    assert!(!members.seat(&member("a"), here()));
    assert_eq!(members.set(presence("a", &[HERE, 2]), here()), None);
    assert!(!members.unseat("a") && members.unseat("a"));
    assert!(
        members.seat(&member("a"), here()),
        "the registry was told of a leave"
    );
    assert!(members.is_doubted("a", &[], here()));
    assert_eq!(members.set(presence("a", &[]), here()), None);
    assert!(members.unseat("a"));
    assert_eq!(members.set(presence("a", &[2]), here()), None);
    assert_eq!(ids(&members), ["a"]);
    assert_eq!(
        members.set(presence("a", &[]), here()),
        Some(Turn::Removed("a".into()))
    );
    assert!(members.is_empty());
}

#[test]
fn cut_off_the_own_users_go_by_their_connections_and_others_stay() {
    let mut members = Members::default();
    members.load(
        registry(&[("left", &[HERE]), ("both", &[HERE, 2]), ("other", &[2])]),
        here(),
        true,
    );
    members.seat(&member("asked"), here());
    let turns = members.cut_off(here());
    assert_eq!(turns, [added("asked"), Turn::Removed("left".into())]);
    assert_eq!(ids(&members), ["asked", "both", "other"]);
    assert!(!members.is_confirmed("asked"));
}

#[test]
fn what_is_read_before_all_are_back_takes_nobody_away_from_other_nodes() {
    let mut members = Members::default();
    members.load(registry(&[("own", &[HERE]), ("other", &[2])]), here(), true);
    let early = members.load(registry(&[("new", &[3])]), here(), false);
    assert_eq!(early.len(), 2);
    assert_eq!(ids(&members), ["new", "other"]);
    let late = members.load(registry(&[("new", &[3])]), here(), true);
    assert_eq!(late, [Turn::Removed("other".into())]);
}

#[test]
fn what_this_node_holds_is_said_with_what_is_under_way() {
    let mut members = Members::default();
    members.load(
        registry(&[("a", &[HERE]), ("elsewhere", &[2])]),
        here(),
        true,
    );
    members.seat(&member("a"), here());
    members.seat(&member("b"), here());
    let holding = members.holding(here().next());
    assert_eq!(
        holding,
        [("a".into(), None, false), ("b".into(), None, true)]
    );
}
