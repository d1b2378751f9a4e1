//! An outage of Redis in a cluster of three nodes, the first of which sees Redis through a relay: what goes on meanwhile
//! and what must be so after it.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::client::{Client, text_of};
use super::node::{member_of_cluster, until_ready};
use super::redis::Redis;
use super::relay::Relay;
use super::view::{View, users};
use super::{DEADLINE, Server, by, until};

const ROOM: &str = "presence-room.1";
const NEWS: &str = "news";
pub const NODES: usize = 3;

/// How long a node that is cut off may take for an answer that needs Redis: it promises a second and a half.
const ANSWER: Duration = Duration::from_secs(2);

/// How long after the return all nodes agree with the truth.
const AGREED: Duration = Duration::from_secs(3);

/// Publications of each node before the outage, during it, and after.
const PUBLISHED: [u32; 3] = [5, 10, 5];

/// Who cannot reach Redis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    All,
    /// The first node, the one behind the relay.
    First,
}

/// The cluster, with a member, one who will leave, and a subscriber of the news on each node.
pub struct Scene {
    pub redis: Redis,
    pub relay: Relay,
    pub nodes: [Server; NODES],
    cut: Cut,
    views: Vec<View>,
    leavers: Vec<View>,
    news: Vec<Client>,
    published: [u32; NODES],
    /// By who hears and who publishes.
    heard: [[Vec<u32>; NODES]; NODES],
    truth: BTreeSet<String>,
}

impl Scene {
    /// All is well, and everyone has been heard everywhere.
    pub async fn set(cut: Cut) -> Scene {
        let redis = Redis::start().await;
        let relay = Relay::to(redis.address());
        let nodes = [
            member_of_cluster(&relay.url(), "").await,
            member_of_cluster(&redis.url(), "").await,
            member_of_cluster(&redis.url(), "").await,
        ];
        let mut scene = Scene {
            redis,
            relay,
            nodes,
            cut,
            views: Vec::new(),
            leavers: Vec::new(),
            news: Vec::new(),
            published: [0; NODES],
            heard: Default::default(),
            truth: BTreeSet::new(),
        };
        for (number, node) in scene.nodes.iter().enumerate() {
            let mut client = node.client().await;
            client.subscribe(NEWS).await;
            scene.news.push(client);
            let name = format!("stays{number}");
            scene.views.push(View::join(node, ROOM, &name).await);
            let name = format!("leaves{number}");
            scene.leavers.push(View::join(node, ROOM, &name).await);
        }
        let all = scene.views.iter().chain(&scene.leavers);
        scene.truth = users(all.map(|view| &view.user));
        scene.agrees(Instant::now() + DEADLINE).await;
        scene.publish(PUBLISHED[0]).await;
        // Nothing is on its way any more when the cut comes.
        for hearer in 0..NODES {
            scene.hear(hearer).await;
        }
        scene
    }

    /// Everyone's view and every node's API are the truth.
    async fn agrees(&mut self, deadline: Instant) {
        for node in &self.nodes {
            node.agrees(ROOM, &self.truth, deadline).await;
        }
        for view in self.views.iter_mut().chain(&mut self.leavers) {
            view.agrees(&self.truth, deadline).await;
        }
    }

    /// Each node publishes so much of the news, by turns.
    async fn publish(&mut self, count: u32) {
        for _ in 0..count {
            for (node, number) in self.published.iter_mut().enumerate() {
                let data = format!("{node} {number}");
                self.nodes[node].trigger(NEWS, "n", &data).await;
                *number += 1;
            }
        }
    }

    fn is_cut(&self, node: usize) -> bool {
        self.cut == Cut::All || node == 0
    }

    /// What goes on during the outage, from its very beginning: nobody has noticed anything yet.
    pub async fn goes_on(&mut self) {
        for (number, node) in self.nodes.iter().enumerate() {
            let mut ear = node.client().await;
            let channel = format!("here-{number}");
            within(ANSWER, "a subscription", ear.subscribe(&channel)).await;
            node.trigger(&channel, "n", "1").await;
            within(ANSWER, "an event of the same node", ear.event("n")).await;

            let mut joiner = View::connect(node, ROOM, &format!("joins{number}")).await;
            within(ANSWER, "a place in the room", joiner.enter()).await;
            // The lease of a node that is cut off alone may have ended for the others by now.
            let lost = usize::from(self.cut == Cut::First && number != 0);
            let known = users(self.views[lost..NODES].iter().map(|view| &view.user));
            let missing: Vec<_> = known.difference(&joiner.members).collect();
            assert!(missing.is_empty(), "node {number} forgot {missing:?}");
            self.truth.insert(joiner.user.clone());
            self.views.push(joiner);

            let alone = format!("presence-here-{number}");
            let mut other = View::connect(node, &alone, "1").await;
            within(ANSWER, "a place in a new room", other.enter()).await;

            // Somebody of whom nothing may be left.
            let mut visitor = View::connect(node, ROOM, &format!("visits{number}")).await;
            within(ANSWER, "a visit", visitor.enter()).await;
            visitor.client.vanish();
        }
        for leaver in self.leavers.drain(..) {
            self.truth.remove(&leaver.user);
            leaver.client.vanish();
        }
        self.publish(PUBLISHED[1]).await;
        for number in 0..NODES {
            let node = &self.nodes[number];
            if self.is_cut(number) {
                until("it says that Redis is away", async || {
                    let ready = node.ready().await;
                    ready.status == 503 && ready.text.contains("Redis")
                })
                .await;
            } else {
                assert_eq!(node.ready().await.status, 200);
            }
            // Who is there knows each other, cut off or not.
            let here = users([&format!("stays{number}"), &format!("joins{number}")]);
            let view = &mut self.views[number];
            until("the member sees who came and went here", async || {
                view.catch_up().await;
                let gone = [format!("leaves{number}"), format!("visits{number}")];
                here.is_subset(&view.members)
                    && gone.iter().all(|gone| !view.members.contains(gone))
            })
            .await;
        }
    }

    /// What is so after the return, which was at `back`.
    pub async fn is_over(&mut self, back: Instant) {
        let deadline = back + AGREED;
        for node in &self.nodes {
            by(deadline, "the node is ready", async || {
                node.ready().await.status == 200
            })
            .await;
        }
        self.agrees(deadline).await;
        for node in &self.nodes {
            by(deadline, "all subscribers of the news count", async || {
                let path = "/apps/app-id/channels/news";
                let answer = node.get(path, "info=subscription_count").await;
                answer.json()["subscription_count"] == NODES
            })
            .await;
        }
        // Who stayed was never said to have gone, unless their node was lost to the others for longer than its lease.
        for (number, view) in self.views.iter().enumerate() {
            for stayed in 0..NODES {
                let lost = self.cut == Cut::First && stayed == 0 && number % NODES != 0;
                let user = format!("stays{stayed}");
                assert!(
                    lost || view.removals(&user) == 0,
                    "{user} for {}",
                    view.user
                );
            }
        }
        self.publish(PUBLISHED[2]).await;
        for hearer in 0..NODES {
            let heard = self.hear(hearer).await.clone();
            for (publisher, numbers) in heard.iter().enumerate() {
                // What others publish while a node alone is cut off does not reach it.
                let missed = self.cut == Cut::First && hearer == 0 && publisher != 0;
                let during = PUBLISHED[0]..PUBLISHED[0] + PUBLISHED[1];
                let expected: Vec<u32> = (0..self.published[publisher])
                    .filter(|n| !(missed && during.contains(n)) || numbers.contains(n))
                    .collect();
                assert_eq!(*numbers, expected, "of node {publisher} on node {hearer}");
            }
        }
        for node in &self.nodes {
            until_ready(node).await;
        }
    }

    /// What this node's subscriber has heard of each publisher up to the last of all.
    async fn hear(&mut self, hearer: usize) -> &[Vec<u32>; NODES] {
        let last = self.published.map(|count| Some(count - 1));
        let heard = &mut self.heard[hearer];
        while heard.each_ref().map(|numbers| numbers.last().copied()) != last {
            let event = self.news[hearer].event("n").await;
            let text = text_of(&event["data"]);
            let (publisher, number) = text.split_once(' ').expect("two numbers");
            let publisher: usize = publisher.parse().expect("a node");
            heard[publisher].push(number.parse().expect("a number"));
        }
        heard
    }
}

/// Takes no longer than `limit`.
async fn within<T>(limit: Duration, what: &str, doing: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(limit, doing).await;
    done.unwrap_or_else(|_| panic!("not within {limit:?}: {what}"))
}
