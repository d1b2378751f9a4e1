//! Those who stay: each listens to a public, a private and a presence channel, and comes back whenever its node has sent it away.
//! They keep the accounts of the ledger and a list of members, and some of them talk.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::client::{Client, Ended, Leaving, PATIENCE};
use crate::ledger::{Closing, Hearing, Source, count};
use crate::scene::{Scene, Stage};

/// All of them, on all nodes.
pub(crate) const LISTENERS: usize = 120;
/// They share so many sets of channels; no multiple of the nodes, so that each set is heard on every node.
pub(crate) const STREAMS: usize = 8;
/// One in so many talks, once in `TALK`.
const TALKERS: usize = 4;
const TALK: Duration = Duration::from_secs(1);
/// Between two attempts to come back.
const RETRY: Duration = Duration::from_millis(100);

/// The channels of one set.
pub(crate) fn channels(stream: usize) -> [String; 3] {
    ["", "private-", "presence-"].map(|kind| format!("{kind}stream-{stream}"))
}

/// The user id of a listener.
fn user(listener: usize) -> String {
    format!("listener-{listener}")
}

/// One connection of a listener.
struct Visit<'a> {
    scene: &'a Scene,
    listener: usize,
    node: usize,
    client: Client,
    hearings: BTreeMap<String, Hearing>,
    members: Option<BTreeSet<String>>,
}

/// Listens until the run is over.
pub(crate) async fn listen(scene: Rc<Scene>, listener: usize) {
    let node = listener % scene.nodes.len();
    while !scene.is(Stage::Over) {
        if !scene.nodes[node].is_open() {
            sleep(RETRY).await;
            continue;
        }
        let client = match Client::connect(scene.nodes[node].address).await {
            Ok(client) => client,
            Err(ended) => {
                if !scene.nodes[node].may_fail() {
                    let words = format!("listener {listener} at node {node}: {ended}");
                    scene.findings.add("not let in", words);
                }
                sleep(RETRY).await;
                continue;
            }
        };
        count(&scene.tallies.connected, 1);
        let mut visit = Visit {
            scene: &scene,
            listener,
            node,
            client,
            hearings: BTreeMap::new(),
            members: None,
        };
        match visit.stay().await {
            Ok(()) => {
                visit.agrees();
                visit.close(Closing::Over);
                visit.client.leave(Leaving::Politely).await;
                return;
            }
            Err(ended) => {
                visit.close(Closing::Ended);
                if scene.nodes[node].may_fail() {
                    count(&scene.tallies.sent_away, 1);
                } else {
                    let words = format!("listener {listener} at node {node}: {ended}");
                    scene.findings.add("closed", words);
                }
            }
        }
    }
}

impl Visit<'_> {
    /// Until the run is over, or the connection.
    async fn stay(&mut self) -> Result<(), Ended> {
        let wanted = channels(self.listener % STREAMS);
        for channel in &wanted {
            let user = user(self.listener);
            self.client.ask_to_subscribe(channel, &user).await?;
        }
        let asked = Instant::now();
        let mut talk = interval(TALK);
        talk.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let scene = self.scene;
        let over = scene.reached(Stage::Over);
        tokio::pin!(over);
        let mut late = false;
        loop {
            tokio::select! {
                event = self.client.next() => self.on_event(&event?),
                _ = talk.tick() => {
                    if self.hearings.len() < wanted.len() {
                        if asked.elapsed() > PATIENCE && !late && !scene.is_troubled(self.node) {
                            late = true;
                            scene.findings.add("no answer", format!("listener {} at node {}", self.listener, self.node));
                        }
                    } else if self.listener.is_multiple_of(TALKERS) && scene.is(Stage::Busy) {
                        self.talk(&wanted[1]).await?;
                    }
                }
                () = &mut over => return Ok(()),
            }
        }
    }

    /// As a source of events.
    fn as_source(&self) -> Source {
        Source::Talker(self.listener, self.node)
    }

    async fn talk(&mut self, channel: &str) -> Result<(), Ended> {
        let (ledger, source) = (&self.scene.ledger, self.as_source());
        let number = ledger.publish(channel, source);
        let data = format!("t {} {number}", self.listener);
        let event = json!({ "event": "client-talk", "channel": channel, "data": data });
        self.client.send(&event).await?;
        ledger.taken(channel, source, number);
        count(&self.scene.tallies.talked, 1);
        Ok(())
    }

    fn on_event(&mut self, event: &Value) {
        let name = event["event"].as_str().unwrap_or_default();
        let channel = event["channel"].as_str().unwrap_or_default();
        let data = event["data"].as_str().unwrap_or_default();
        match name {
            "pusher_internal:subscription_succeeded" => self.on_acknowledged(channel, data),
            "pusher_internal:member_added" => self.on_member(data, true),
            "pusher_internal:member_removed" => self.on_member(data, false),
            "soak" | "client-talk" => self.on_number(channel, data),
            _ => {
                if !self.scene.is_troubled(self.node) {
                    let words = format!("listener {}: {event}", self.listener);
                    self.scene.findings.add("refused", words);
                }
            }
        }
    }

    fn on_acknowledged(&mut self, channel: &str, data: &str) {
        let own = Some(self.as_source());
        let hearing = self.scene.ledger.acknowledged(channel, own);
        self.hearings.insert(channel.to_owned(), hearing);
        if channel.starts_with("presence-") {
            let data: Value = serde_json::from_str(data).unwrap_or_default();
            let ids = data["presence"]["ids"].as_array().cloned();
            let ids = ids.unwrap_or_default().into_iter();
            let ids = ids.filter_map(|id| id.as_str().map(str::to_owned));
            self.members = Some(ids.collect());
        }
    }

    fn on_member(&mut self, data: &str, added: bool) {
        let data: Value = serde_json::from_str(data).unwrap_or_default();
        let user = data["user_id"].as_str().unwrap_or_default();
        let Some(members) = &mut self.members else {
            return;
        };
        let was_news = match added {
            true => members.insert(user.to_owned()),
            false => members.remove(user),
        };
        if !was_news {
            let what = if added { "added" } else { "removed" };
            let words = format!(
                "listener {} at node {}: {user} was {what} twice",
                self.listener, self.node
            );
            self.scene.findings.add("member", words);
        }
    }

    /// `n NODE NUMBER ...` was posted, `t LISTENER NUMBER` was said by a client.
    fn on_number(&mut self, channel: &str, data: &str) {
        let scene = self.scene;
        let mut words = data.split(' ');
        let kind = words.next();
        let mut number = || words.next()?.parse::<usize>().ok();
        let source = match (kind, number()) {
            (Some("n"), Some(node)) => Some(Source::Node(node)),
            (Some("t"), Some(talker)) => Some(Source::Talker(talker, talker % scene.nodes.len())),
            _ => None,
        };
        match (source, number(), self.hearings.get_mut(channel)) {
            (Some(source), Some(number), Some(hearing)) => {
                scene
                    .ledger
                    .received(hearing, source, number as u64, &scene.findings);
            }
            _ => {
                let words = format!("listener {}: {channel}: {data:.40}", self.listener);
                scene.findings.add("unexpected", words);
            }
        }
    }

    /// At the end, when only listeners are left, the list of members is that of the listeners.
    fn agrees(&self) {
        let stream = self.listener % STREAMS;
        let all = (0..LISTENERS).filter(|listener| listener % STREAMS == stream);
        let truth: BTreeSet<String> = all.map(user).collect();
        let seen = self.members.clone().unwrap_or_default();
        if seen != truth {
            let (ghosts, unseen) = (seen.difference(&truth), truth.difference(&seen));
            let words = format!(
                "listener {} at node {}: ghosts {:?}, not seen {:?}",
                self.listener,
                self.node,
                ghosts.collect::<Vec<_>>(),
                unseen.collect::<Vec<_>>()
            );
            self.scene.findings.add("members", words);
        }
    }

    fn close(&mut self, closing: Closing) {
        let scene = self.scene;
        let talked_in = &channels(self.listener % STREAMS)[1];
        if closing == Closing::Ended {
            scene.ledger.source_ended(talked_in, self.as_source());
        }
        for hearing in std::mem::take(&mut self.hearings).into_values() {
            scene
                .ledger
                .close(hearing, closing, &scene.outages, &scene.findings);
        }
    }
}
