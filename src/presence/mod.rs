//! Who is in a presence channel: distinct users, each with the nodes they are on and the connections they hold here.
//! What a change means to the outside is said by the return values; telling it is the broker's.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use gema_protocol::presence::Member;

use crate::bus::{NodeName, Presence};

/// The members of one channel, as the subscribers on this node see them. Dropped when nobody is left in it.
#[derive(Debug, Default)]
pub struct Members {
    users: BTreeMap<Arc<str>, User>,
    /// Users who are on any node.
    present: usize,
}

/// One user in one channel.
#[derive(Debug)]
struct User {
    /// What the first connection said; later ones change nothing while it lasts.
    user_info: Option<Arc<str>>,
    /// Where the user is. Nowhere: the user is not a member yet, or not any more.
    nodes: Vec<NodeName>,
    /// Connections on this node.
    seats: u32,
    /// The registry has had the user on this node.
    confirmed: bool,
    /// The registry has been told that the last connection here has gone.
    leaving: bool,
    /// The registry was told of the first connection here, and what it made of that is not known.
    untold: bool,
}

/// The channel has as many members as it may have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("The channel has reached limits.presence_members ({max})")]
pub struct ChannelFull {
    /// The limit.
    pub max: usize,
}

/// A change that subscribers are told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Turn {
    /// A user has come.
    Added {
        /// The user's id.
        user_id: Arc<str>,
        /// As JSON.
        user_info: Option<Arc<str>>,
    },
    /// A user has gone.
    Removed(Arc<str>),
}

impl Members {
    /// Takes in a connection of a user where this node decides by itself: true when the user is new to the channel. A
    /// further connection of a member always finds room; `max` counts distinct users.
    ///
    /// # Errors
    /// The channel is full, and nothing has changed.
    pub fn join(
        &mut self,
        member: &Member,
        here: NodeName,
        max: usize,
    ) -> Result<bool, ChannelFull> {
        let is_member = self.is_member(&member.user_id);
        if !is_member && self.present >= max {
            return Err(ChannelFull { max });
        }
        self.sit(member);
        self.stand_in(&member.user_id, here);
        Ok(!is_member)
    }

    /// Takes out a connection of a user where this node decides by itself: true when the user has left the channel.
    pub fn leave(&mut self, user_id: &str, here: NodeName) -> bool {
        self.rise(user_id) && self.stand_out(user_id, here)
    }

    /// Counts a connection of a user: true when the registry has to be told that the user is on this node.
    pub fn seat(&mut self, member: &Member, here: NodeName) -> bool {
        self.sit(member);
        let is_here = self.is_here(&member.user_id, here);
        let user = self.users.get_mut(&member.user_id);
        let was_leaving = user.is_some_and(|user| std::mem::take(&mut user.leaving));
        !is_here || was_leaving
    }

    /// Takes a connection back: true when it was the user's last on this node, of which the registry has to be told.
    pub fn unseat(&mut self, user_id: &str) -> bool {
        let last = self.rise(user_id);
        if let Some(user) = self.users.get_mut(user_id) {
            user.leaving |= last;
        }
        self.forget_if_gone(user_id);
        last
    }

    /// Makes a user a member by this node's own decision: true when that is new.
    pub fn admit(&mut self, user_id: &str, here: NodeName) -> bool {
        let is_member = self.is_member(user_id);
        self.stand_in(user_id, here);
        !is_member
    }

    /// Takes this node away from a user by its own decision: true when the user has left the channel.
    pub fn dismiss(&mut self, user_id: &str, here: NodeName) -> bool {
        self.stand_out(user_id, here)
    }

    /// Takes what the registry says of a user. Who has connections here and was a member here stays one, whatever the
    /// registry says: [`Members::is_doubted`].
    pub fn set(&mut self, presence: Presence, here: NodeName) -> Option<Turn> {
        let Presence {
            user_id,
            user_info,
            mut nodes,
        } = presence;
        if let Some(user) = self.users.get(&user_id)
            && user.seats > 0
            && !nodes.iter().any(|node| node.same_node(here))
            && let Some(own) = user.nodes.iter().find(|node| node.same_node(here))
        {
            nodes.push(*own);
        }
        let was = self.is_member(&user_id);
        let is = !nodes.is_empty();
        if let Some(user) = self.users.get_mut(&user_id) {
            user.confirmed |= nodes.contains(&here);
            user.nodes = nodes;
            if is {
                user.user_info.clone_from(&user_info);
            }
        } else if is {
            let user = User {
                user_info: user_info.clone(),
                confirmed: nodes.contains(&here),
                nodes,
                seats: 0,
                leaving: false,
                untold: false,
            };
            self.users.insert(user_id.clone(), user);
        }
        self.forget_if_gone(&user_id);
        match (was, is) {
            (false, true) => {
                self.present += 1;
                Some(Turn::Added { user_id, user_info })
            }
            (true, false) => {
                self.present -= 1;
                Some(Turn::Removed(user_id))
            }
            _ => None,
        }
    }

    /// Whether the registry is wrong in saying that this user is on these nodes: others took this node for dead, say.
    pub fn is_doubted(&self, user_id: &str, nodes: &[NodeName], here: NodeName) -> bool {
        let own = |node: &NodeName| node.same_node(here);
        self.users.get(user_id).is_some_and(|user| {
            user.seats > 0 && user.nodes.iter().any(own) && !nodes.iter().any(own)
        })
    }

    /// Takes all that the registry says. With `settled` who is not in there is gone; without, who is known to be on
    /// another node stays, since that node may not have said so yet.
    pub fn load(
        &mut self,
        mut registry: HashMap<Arc<str>, Presence>,
        here: NodeName,
        settled: bool,
    ) -> Vec<Turn> {
        let gone = self.users.iter().filter(|(user_id, user)| {
            let elsewhere = user.nodes.iter().any(|node| !node.same_node(here));
            !registry.contains_key(*user_id) && (settled || !elsewhere)
        });
        let gone: Vec<_> = gone.map(|(user_id, _)| user_id.clone()).collect();
        for user_id in gone {
            let nowhere = Presence {
                user_id: user_id.clone(),
                user_info: None,
                nodes: Vec::new(),
            };
            registry.insert(user_id, nowhere);
        }
        let changes = registry.into_values();
        changes
            .filter_map(|presence| self.set(presence, here))
            .collect()
    }

    /// Goes by this node's own connections from now on, as far as this node is concerned.
    pub fn cut_off(&mut self, here: NodeName) -> Vec<Turn> {
        let mut changes = Vec::new();
        for (user_id, user) in &self.users {
            let mut nodes = user.nodes.clone();
            nodes.retain(|node| !node.same_node(here));
            if user.seats > 0 {
                nodes.push(here);
            }
            if nodes != user.nodes {
                changes.push(Presence {
                    user_id: user_id.clone(),
                    user_info: user.user_info.clone(),
                    nodes,
                });
            }
        }
        let confirmed = |members: &Members, user_id: &str| {
            let user = members.users.get(user_id);
            user.is_some_and(|user| user.confirmed)
        };
        let mut turns = Vec::new();
        for change in changes {
            let (user_id, was) = (change.user_id.clone(), confirmed(self, &change.user_id));
            turns.extend(self.set(change, here));
            if let Some(user) = self.users.get_mut(&user_id) {
                user.confirmed = was;
            }
        }
        turns
    }

    /// Who has connections here: id, info, and whether the registry has yet to say so.
    pub fn holding(&self, here: NodeName) -> Vec<(Arc<str>, Option<Arc<str>>, bool)> {
        let seated = self.users.iter().filter(|(_, user)| user.seats > 0);
        seated
            .map(|(user_id, user)| {
                let asked = !user.nodes.iter().any(|node| node.same_node(here));
                (user_id.clone(), user.user_info.clone(), asked)
            })
            .collect()
    }

    /// Whether the registry, or in its absence this node, has the user here.
    pub fn is_here(&self, user_id: &str, here: NodeName) -> bool {
        let user = self.users.get(user_id);
        user.is_some_and(|user| user.nodes.contains(&here))
    }

    /// Who has connections here, and the registry has never had here.
    pub fn unconfirmed(&self) -> HashSet<Arc<str>> {
        let new = self.users.iter();
        let new = new.filter(|(_, user)| user.seats > 0 && !user.confirmed);
        new.map(|(user_id, _)| user_id.clone()).collect()
    }

    /// Whether the registry has ever had the user on this node, since the user is here.
    pub fn is_confirmed(&self, user_id: &str) -> bool {
        self.users.get(user_id).is_some_and(|user| user.confirmed)
    }

    /// Notes that what the registry made of a user's coming is not known.
    pub fn lose(&mut self, user_id: &str) {
        if let Some(user) = self.users.get_mut(user_id) {
            user.untold = true;
        }
    }

    /// Those of whose coming it was not known what the registry made of it, and who are in it now on this node alone: it
    /// had made them members.
    pub fn take_found(&mut self, here: NodeName) -> Vec<Arc<str>> {
        let mut found = Vec::new();
        for (user_id, user) in &mut self.users {
            if std::mem::take(&mut user.untold) && user.nodes == [here] {
                found.push(user_id.clone());
            }
        }
        found
    }

    /// Whether a user is on another node, as far as is known.
    pub fn is_elsewhere(&self, user_id: &str, here: NodeName) -> bool {
        let user = self.users.get(user_id);
        user.is_some_and(|user| user.nodes.iter().any(|node| !node.same_node(here)))
    }

    /// Every member once, by id, with their info as JSON.
    pub fn roster(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.members()
            .map(|(user_id, user)| (&**user_id, user.user_info.as_deref()))
    }

    /// The ids of the members, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.members().map(|(user_id, _)| user_id)
    }

    /// Distinct users.
    pub fn len(&self) -> usize {
        self.present
    }

    /// Nobody is there, nor about to be.
    pub fn is_empty(&self) -> bool {
        self.users.is_empty()
    }

    fn members(&self) -> impl Iterator<Item = (&Arc<str>, &User)> {
        self.users.iter().filter(|(_, user)| !user.nodes.is_empty())
    }

    fn is_member(&self, user_id: &str) -> bool {
        let user = self.users.get(user_id);
        user.is_some_and(|user| !user.nodes.is_empty())
    }

    fn sit(&mut self, member: &Member) {
        if let Some(user) = self.users.get_mut(&member.user_id) {
            user.seats += 1;
            return;
        }
        let user = User {
            user_info: member.user_info.clone(),
            nodes: Vec::new(),
            seats: 1,
            confirmed: false,
            leaving: false,
            untold: false,
        };
        self.users.insert(member.user_id.clone(), user);
    }

    fn rise(&mut self, user_id: &str) -> bool {
        let Some(user) = self.users.get_mut(user_id) else {
            return false;
        };
        let before = user.seats;
        user.seats = before.saturating_sub(1);
        before == 1
    }

    fn stand_in(&mut self, user_id: &str, here: NodeName) {
        if let Some(user) = self.users.get_mut(user_id)
            && !user.nodes.contains(&here)
        {
            if user.nodes.is_empty() {
                self.present += 1;
            }
            user.nodes.push(here);
        }
    }

    fn stand_out(&mut self, user_id: &str, here: NodeName) -> bool {
        let Some(user) = self.users.get_mut(user_id) else {
            return false;
        };
        let was = !user.nodes.is_empty();
        user.nodes.retain(|node| !node.same_node(here));
        let gone = was && user.nodes.is_empty();
        if gone {
            self.present -= 1;
        }
        self.forget_if_gone(user_id);
        gone
    }

    fn forget_if_gone(&mut self, user_id: &str) {
        let gone = |user: &User| user.seats == 0 && user.nodes.is_empty();
        if self.users.get(user_id).is_some_and(gone) {
            self.users.remove(user_id);
        }
    }
}

#[cfg(test)]
mod tests;
