//! A member's view of a presence channel: who is there as far as its client was told, as any page would add it up.

use std::collections::BTreeSet;
use std::time::Instant;

use serde_json::{Value, json};

use super::client::{Client, data, text_of};
use super::http::Api;
use super::{PAUSE, by};

/// A change that the member was told of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    Added(String),
    Removed(String),
}

/// A client in a presence channel. It panics at what no page could make sense of: who was there is added, or who was
/// not there is removed.
pub struct View {
    pub client: Client,
    pub user: String,
    channel: String,
    /// Who is there, itself included.
    pub members: BTreeSet<String>,
    /// All changes since it entered, in order.
    pub changes: Vec<Change>,
    /// All other events of its channel since it entered, in order.
    pub heard: Vec<Value>,
}

impl View {
    /// Connects to a node and joins the channel as this user.
    pub async fn join(node: &Api, channel: &str, user: &str) -> View {
        let mut view = View::connect(node, channel, user).await;
        view.enter().await;
        view
    }

    /// Connects, and does not join yet.
    pub async fn connect(node: &Api, channel: &str, user: &str) -> View {
        View {
            client: node.client().await,
            user: user.to_owned(),
            channel: channel.to_owned(),
            members: BTreeSet::new(),
            changes: Vec::new(),
            heard: Vec::new(),
        }
    }

    /// Joins, and takes the list of who is there. What comes before it was still meant for the last visit.
    pub async fn enter(&mut self) {
        let member = json!({ "user_id": self.user });
        self.client
            .ask_to_subscribe(&self.channel, Some(&member))
            .await;
        let answer = loop {
            let event = self.client.next().await;
            assert_ne!(event["event"], "pusher:subscription_error", "{event}");
            if event["event"] == "pusher_internal:subscription_succeeded" {
                break data(&event);
            }
        };
        let presence = &answer["presence"];
        let ids = presence["ids"].as_array().expect("a list");
        self.members = ids.iter().map(text_of).collect();
        assert_eq!(presence["count"], ids.len(), "{presence}");
        assert_eq!(self.members.len(), ids.len(), "somebody twice: {presence}");
        assert!(self.members.contains(&self.user), "{presence}");
        self.changes.clear();
        self.heard.clear();
    }

    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// Leaves the channel; the connection stays.
    pub async fn leave(&mut self) {
        let channel = json!({ "channel": self.channel });
        self.client
            .send(json!({ "event": "pusher:unsubscribe", "data": channel }))
            .await;
        self.members.clear();
    }

    /// Adds up what it was told until now.
    pub async fn catch_up(&mut self) {
        self.client.send(json!({ "event": "pusher:ping" })).await;
        loop {
            let event = self.client.next().await;
            if event["event"] == "pusher:pong" {
                return;
            }
            self.take(event);
        }
    }

    fn take(&mut self, event: Value) {
        assert_eq!(event["channel"], self.channel, "{event}");
        let user = || text_of(&data(&event)["user_id"]);
        match event["event"].as_str() {
            Some("pusher_internal:member_added") => {
                let new = self.members.insert(user());
                assert!(new, "{} hears of one who was there: {event}", self.user);
                self.changes.push(Change::Added(user()));
            }
            Some("pusher_internal:member_removed") => {
                let was = self.members.remove(&user());
                assert!(was, "{} hears of one who was not there: {event}", self.user);
                self.changes.push(Change::Removed(user()));
            }
            _ => self.heard.push(event),
        }
    }

    /// Waits, until `deadline` at most, for its view to be this.
    pub async fn agrees(&mut self, members: &BTreeSet<String>, deadline: Instant) {
        loop {
            self.catch_up().await;
            if self.members == *members {
                return;
            }
            if Instant::now() > deadline {
                let ghosts: Vec<_> = self.members.difference(members).collect();
                let missing: Vec<_> = members.difference(&self.members).collect();
                panic!("{}: ghosts {ghosts:?}, missing {missing:?}", self.user);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// How often it was told that this user left.
    pub fn removals(&self, user: &str) -> usize {
        self.count(&Change::Removed(user.to_owned()))
    }

    /// How often it was told that this user came.
    pub fn additions(&self, user: &str) -> usize {
        self.count(&Change::Added(user.to_owned()))
    }

    fn count(&self, wanted: &Change) -> usize {
        self.changes
            .iter()
            .filter(|change| *change == wanted)
            .count()
    }
}

/// User ids as a set.
pub fn users<I: IntoIterator<Item: ToString>>(ids: I) -> BTreeSet<String> {
    ids.into_iter().map(|id| id.to_string()).collect()
}

impl Api {
    /// Who is in a presence channel, as the HTTP API of this node says.
    pub async fn users(&self, channel: &str) -> BTreeSet<String> {
        let path = format!("/apps/app-id/channels/{channel}/users");
        let answer = self.get(&path, "").await.json();
        let list = answer["users"].as_array().expect("a list");
        let users: BTreeSet<String> = list.iter().map(|user| text_of(&user["id"])).collect();
        assert_eq!(users.len(), list.len(), "somebody twice: {answer}");
        users
    }

    /// Waits, until `deadline` at most, for the HTTP API of this node to say that these are in the channel.
    pub async fn agrees(&self, channel: &str, members: &BTreeSet<String>, deadline: Instant) {
        let what = format!("{} says that {members:?} are there", self.address);
        by(deadline, &what, async || {
            self.users(channel).await == *members
        })
        .await;
    }
}
