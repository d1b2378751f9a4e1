//! Who is in a presence channel: distinct users, each with the connections they hold. What a change means
//! to the outside is said by the return values; telling it is the broker's.

use std::collections::BTreeMap;
use std::sync::Arc;

use gema_protocol::presence::Member;

/// The members of one channel. Dropped when the last has left.
#[derive(Debug, Default)]
pub struct Members(BTreeMap<Arc<str>, Seats>);

/// One user in one channel.
#[derive(Debug)]
struct Seats {
    /// What the first connection said; later ones change nothing while it lasts.
    user_info: Option<Arc<str>>,
    connections: u32,
}

/// The channel has as many members as it may have.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("The channel has reached limits.presence_members ({max})")]
pub struct ChannelFull {
    max: usize,
}

impl Members {
    /// Takes in a connection of a user: true when the user is new to the channel. A further connection of a
    /// member always finds room; `max` counts distinct users.
    ///
    /// # Errors
    /// The channel is full, and nothing has changed.
    pub fn join(&mut self, member: &Member, max: usize) -> Result<bool, ChannelFull> {
        if let Some(seats) = self.0.get_mut(&member.user_id) {
            seats.connections += 1;
            return Ok(false);
        }
        if self.0.len() >= max {
            return Err(ChannelFull { max });
        }
        let seats = Seats {
            user_info: member.user_info.clone(),
            connections: 1,
        };
        self.0.insert(member.user_id.clone(), seats);
        Ok(true)
    }

    /// Takes out a connection of a user: true when it was the user's last.
    pub fn leave(&mut self, user_id: &str) -> bool {
        let Some(seats) = self.0.get_mut(user_id) else {
            return false;
        };
        seats.connections -= 1;
        let last = seats.connections == 0;
        if last {
            self.0.remove(user_id);
        }
        last
    }

    /// Every user once, by id, with their info as JSON.
    pub fn roster(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0
            .iter()
            .map(|(user_id, seats)| (&**user_id, seats.user_info.as_deref()))
    }

    /// The ids of the distinct users, sorted.
    pub fn ids(&self) -> impl Iterator<Item = &Arc<str>> {
        self.0.keys()
    }

    /// Distinct users.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Nobody is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}
