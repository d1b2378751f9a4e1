//! What a cluster of three nodes promises, in one scene that any Redis must bear. All of it happens under several names,
//! which Redis Cluster spreads over all its masters.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::promises;
use crate::support::client::Client;
use crate::support::http::Api;
use crate::support::node::{LEASE, Node, app, member_of_cluster, settings, until_ready};
use crate::support::receiver::Receiver;
use crate::support::view::{View, users};
use crate::support::{DEADLINE, Server, until};

/// The names: of each kind of place some are on each third of the slots.
pub const NAMES: Range<usize> = 0..4;

/// A dead node's members are gone this long after its death at most.
const NOTICED: Duration = LEASE.saturating_add(Duration::from_secs(2));

/// How long after the return all nodes agree.
const AGREED: Duration = Duration::from_secs(3);

/// Longer than an absence is held back: what is told wrongly has been told by then.
const GRACE: Duration = Duration::from_millis(4500);

/// The cluster, with a member of each node in each room, named after the node.
pub struct Scene {
    staying: [Server; 2],
    dying: Node,
    receiver: Receiver,
    /// By room.
    views: Vec<Vec<View>>,
    truth: BTreeSet<String>,
    /// What the back end is to be told in the end.
    due: Vec<Value>,
}

pub fn room(name: usize) -> String {
    format!("presence-{name}")
}

/// Where only the node that dies has a member.
fn room_of_one(name: usize) -> String {
    format!("presence-only-{name}")
}

impl Scene {
    /// All are there; `redis` are more settings of it.
    pub async fn set(url: &str, redis: &str) -> Scene {
        let receiver = Receiver::start();
        let hook = receiver.url();
        let app = app(&format!(
            "subscription_count = true\n[[apps.webhooks]]\nurl = '{hook}'\nchannel_prefix = 'presence-'"
        ));
        let toml = format!("{redis}\n{app}");
        let mut scene = Scene {
            staying: [
                member_of_cluster(url, &toml).await,
                member_of_cluster(url, &toml).await,
            ],
            dying: Node::start(&settings(url, &toml)).await,
            receiver,
            views: Vec::new(),
            truth: users(0..3),
            due: Vec::new(),
        };
        for name in NAMES {
            let mut views = Vec::new();
            for (user, node) in scene.nodes().iter().enumerate() {
                views.push(View::join(node, &room(name), &user.to_string()).await);
            }
            scene.views.push(views);
            let occupied = json!({ "name": "channel_occupied", "channel": room(name) });
            scene.due.push(occupied);
            for user in 0..3 {
                scene.is_due("member_added", name, &user.to_string());
            }
        }
        scene.agrees(Instant::now() + DEADLINE).await;
        scene
    }

    fn nodes(&self) -> [&Api; 3] {
        [&self.staying[0], &self.staying[1], &self.dying]
    }

    fn is_due(&mut self, event: &str, name: usize, user: &str) {
        let event = json!({ "name": event, "channel": room(name), "user_id": user });
        self.due.push(event);
    }

    /// Everyone's view and the API of every node are the truth.
    async fn agrees(&mut self, deadline: Instant) {
        for name in NAMES {
            for node in self.nodes() {
                node.agrees(&room(name), &self.truth, deadline).await;
            }
        }
        for view in self.views.iter_mut().flatten() {
            view.agrees(&self.truth, deadline).await;
        }
    }

    /// `end` takes a server of Redis away, which another one replaces. Meanwhile one member goes, one comes, and
    /// something is published; in the end nothing of it is missing.
    pub async fn outlives(&mut self, end: impl AsyncFnOnce()) {
        let mut leavers = Vec::new();
        let mut ears = Vec::new();
        for name in NAMES {
            leavers.push(View::join(&self.staying[0], &room(name), "leaves").await);
            self.is_due("member_added", name, "leaves");
            let mut ear = self.staying[0].client().await;
            ear.subscribe(&format!("a-{name}")).await;
            ears.push(ear);
        }
        self.truth.insert("leaves".into());
        self.agrees(Instant::now() + DEADLINE).await;

        end().await;
        for node in self.nodes() {
            until("it is cut off", async || node.ready().await.status == 503).await;
        }
        self.truth.remove("leaves");
        self.truth.insert("comes".into());
        for (name, leaver) in NAMES.zip(leavers) {
            leaver.client.vanish();
            let comer = View::join(&self.staying[1], &room(name), "comes").await;
            self.views[name].push(comer);
            self.is_due("member_removed", name, "leaves");
            self.is_due("member_added", name, "comes");
            let channel = format!("a-{name}");
            self.staying[1].trigger(&channel, "during", "1").await;
            self.staying[1].trigger(&channel, "during", "2").await;
        }
        for node in self.nodes() {
            until_ready(node).await;
        }
        self.agrees(Instant::now() + AGREED).await;
        for (name, mut ear) in NAMES.zip(ears) {
            for data in ["1", "2"] {
                assert_eq!(hears(&mut ear, "during").await["data"], data);
            }
            self.staying[1]
                .trigger(&format!("a-{name}"), "after", "1")
                .await;
            hears(&mut ear, "after").await;
        }
    }

    /// Everything that is promised, to the end of the last member.
    pub async fn plays_out(mut self) {
        let nodes = self.nodes();
        promises::events(nodes).await;
        promises::counts(nodes).await;
        promises::caches(nodes).await;
        promises::sign_ins(nodes).await;
        self.says_what_is_occupied(NAMES.map(room).collect()).await;
        self.members_hear_each_other().await;
        self.a_user_is_on_two_nodes().await;
        self.a_node_dies().await;
        self.all_is_told_once().await;
    }

    async fn says_what_is_occupied(&self, channels: Vec<String>) {
        let all = channels.iter().map(|channel| (channel.clone(), json!({})));
        let expected = json!({ "channels": all.collect::<serde_json::Map<_, _>>() });
        // A killed node is not asked.
        for node in &self.staying {
            until("just these channels are occupied", async || {
                let answer = node.get("/apps/app-id/channels", "").await;
                answer.json() == expected
            })
            .await;
        }
    }

    async fn members_hear_each_other(&mut self) {
        for views in &mut self.views {
            let (one, others) = views.split_first_mut().expect("a member");
            let event = json!({ "event": "client-x", "channel": one.channel(), "data": "1" });
            one.client.send(event).await;
            for view in others {
                let event = view.client.event("client-x").await;
                assert_eq!(event["user_id"], one.user, "{event}");
            }
        }
    }

    async fn a_user_is_on_two_nodes(&mut self) {
        for name in NAMES {
            let first = View::join(&self.staying[0], &room(name), "both").await;
            let second = View::join(&self.staying[1], &room(name), "both").await;
            first.client.close().await;
            let path = format!("/apps/app-id/channels/{}", room(name));
            let left = self.views[name].len() + 1;
            until("the first connection is gone", async || {
                let answer = self.staying[1].get(&path, "info=subscription_count").await;
                answer.json()["subscription_count"] == left
            })
            .await;
            for view in &mut self.views[name] {
                view.catch_up().await;
                assert_eq!((view.additions("both"), view.removals("both")), (1, 0));
            }
            second.client.vanish();
            self.is_due("member_added", name, "both");
            self.is_due("member_removed", name, "both");
        }
        self.agrees(Instant::now() + DEADLINE).await;
        for view in self.views.iter().flatten() {
            assert_eq!((view.additions("both"), view.removals("both")), (1, 1));
        }
    }

    async fn a_node_dies(&mut self) {
        let mut lonely = Vec::new();
        for name in NAMES {
            let channel = format!("only-{name}");
            let mut client = self.dying.client().await;
            client.subscribe(&channel).await;
            lonely.push(client);
            let channel = room_of_one(name);
            lonely.push(View::join(&self.dying, &channel, "2").await.client);
            // Asked where nobody is in it.
            assert_eq!(self.staying[0].users(&channel).await, users(["2"]));
        }
        for name in NAMES {
            let channel = room_of_one(name);
            self.due.extend([
                json!({ "name": "channel_occupied", "channel": channel }),
                json!({ "name": "member_added", "channel": channel, "user_id": "2" }),
            ]);
        }
        self.arrivals_are_told().await;
        self.dying.kill();
        let deadline = Instant::now() + NOTICED;
        self.truth.remove("2");
        for views in &mut self.views {
            views.retain(|view| view.user != "2");
            for view in views {
                view.agrees(&self.truth, deadline).await;
            }
        }
        for name in NAMES {
            for node in &self.staying {
                node.agrees(&room(name), &self.truth, deadline).await;
            }
            self.is_due("member_removed", name, "2");
            let channel = room_of_one(name);
            self.due.extend([
                json!({ "name": "member_removed", "channel": channel, "user_id": "2" }),
                json!({ "name": "channel_vacated", "channel": channel }),
            ]);
        }
        self.says_what_is_occupied(NAMES.map(room).collect()).await;
        drop(lonely);
    }

    /// Who has come has been told to the back end. What waits for a receiver dies with its node: a killed one takes the news
    /// of whoever came a moment before with it, while what its end means is told by the others.
    async fn arrivals_are_told(&mut self) {
        let is_arrival =
            |event: &&Value| event["name"] == "channel_occupied" || event["name"] == "member_added";
        let due: Vec<Value> = self.due.iter().filter(is_arrival).cloned().collect();
        self.receiver
            .until("news of all who came", |receiver| {
                let told = receiver.taken();
                due.iter().all(|event| told.contains(event))
            })
            .await;
    }

    async fn all_is_told_once(mut self) {
        for (name, views) in NAMES.zip(std::mem::take(&mut self.views)) {
            for view in views {
                self.is_due("member_removed", name, &view.user);
                view.client.close().await;
            }
            let vacated = json!({ "name": "channel_vacated", "channel": room(name) });
            self.due.push(vacated);
        }
        // Client events are told too, and have been heard.
        let told = |receiver: &Receiver| {
            let mut told = receiver.taken();
            told.retain(|event| event["name"] != "client_event");
            lines(told)
        };
        let due = lines(self.due);
        self.receiver
            .until("news of all who came and went", |receiver| {
                told(receiver).len() >= due.len()
            })
            .await;
        tokio::time::sleep(GRACE).await;
        let told = told(&self.receiver);
        assert_eq!(differences(&told, &due), [""; 0]);
    }
}

/// Events in an order of ours: those of different nodes come in none.
fn lines(events: Vec<Value>) -> Vec<String> {
    let mut lines: Vec<String> = events.iter().map(Value::to_string).collect();
    lines.sort();
    lines
}

/// What is there too often or not often enough.
fn differences(told: &[String], due: &[String]) -> Vec<String> {
    let count = |lines: &[String], line: &String| lines.iter().filter(|one| *one == line).count();
    let all: BTreeSet<&String> = told.iter().chain(due).collect();
    all.into_iter()
        .map(|line| (count(told, line), count(due, line), line))
        .filter(|(told, due, _)| told != due)
        .map(|(told, due, line)| format!("{told} times and not {due}: {line}"))
        .collect()
}

/// The next event that is not a number of subscriptions, which must have this name.
pub async fn hears(client: &mut Client, name: &str) -> Value {
    loop {
        let event = client.next().await;
        if event["event"] != "pusher_internal:subscription_count" {
            assert_eq!(event["event"], name, "{event}");
            return event;
        }
    }
}
