//! Redis Cluster: which server has which slots, and a link for each master.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::Value;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tracing::info;

use super::Shared;
use super::command::Script;
use super::connect::{Connection, connect};
use super::link::Link;
use super::map::{NOBODY, SLOTS};
use super::route::{Outcome, Route, Target};
use super::url::{Access, Address};

/// Between two questions, however great the doubt; twice that while a server is away or a slot unserved. All nodes must find
/// a new master within the time for which publications are kept for them.
const PAUSE: Duration = Duration::from_millis(250);
/// Between two questions while the servers may not agree yet.
const ANXIOUS: Duration = Duration::from_secs(1);
/// Servers tell each other of a change within seconds.
const AGREEMENT: Duration = Duration::from_secs(10);
/// Between two questions when all is well.
const CALM: Duration = Duration::from_secs(30);

/// Who has which slots: first, last, server.
type Ranges = Vec<(u16, u16, Address)>;

/// What one server says.
struct View {
    ranges: Ranges,
    /// Grows with every change of masters.
    epoch: u64,
}

/// What this task knows of the links.
struct Cluster<'a> {
    shared: &'a Shared,
    access: &'a Access,
    scripts: &'static [&'static Script],
    seeds: &'a [Address],
    links: HashMap<Address, Arc<Link>>,
    tasks: JoinSet<Arc<Link>>,
    /// How many questions were asked, so that not always the same server is asked first.
    turn: usize,
    /// Of what was adopted last.
    epoch: u64,
}

/// Keeps the map right for ever.
pub(super) async fn run(
    shared: &Shared,
    seeds: &[Address],
    access: &Access,
    scripts: &'static [&'static Script],
) {
    shared.map_mut().sharded = true;
    let mut cluster = Cluster {
        shared,
        access,
        scripts,
        seeds,
        links: HashMap::new(),
        tasks: JoinSet::new(),
        turn: 0,
        epoch: 0,
    };
    let mut doubted = Instant::now();
    loop {
        match cluster.ask().await {
            Ok(view) => {
                cluster.epoch = view.epoch;
                cluster.adopt(&view.ranges);
            }
            // Later the links themselves know what is wrong.
            Err(why) if cluster.links.is_empty() => {
                shared.map().lobby.failed("Redis Cluster", &why);
            }
            Err(_) => {}
        }
        sleep(PAUSE).await;
        let rest = rest(cluster.is_whole(), doubted.elapsed());
        tokio::select! {
            () = shared.ties.doubt.notified() => doubted = Instant::now(),
            () = sleep(rest) => {}
            Some(ended) = cluster.tasks.join_next() => {
                if let Ok(link) = ended {
                    cluster.bury(&link);
                }
            }
        }
    }
}

/// How long to wait after the pause for the next question; `doubted` is how long ago something spoke against the map.
fn rest(is_whole: bool, doubted: Duration) -> Duration {
    if !is_whole {
        PAUSE
    } else if doubted > AGREEMENT {
        CALM
    } else {
        ANXIOUS
    }
}

impl Cluster<'_> {
    /// Asks one server after the other, those first that can be expected to answer.
    /// An answer that is older than what is known counts only if there is no better one.
    async fn ask(&mut self) -> Result<View, String> {
        let (mut up, mut away) = (Vec::new(), Vec::new());
        for (address, link) in &self.links {
            let list = if link.is_up() { &mut up } else { &mut away };
            list.push(address.clone());
        }
        self.turn += 1;
        if !up.is_empty() {
            let first = self.turn % up.len();
            up.rotate_left(first);
        }
        let seeds = self
            .seeds
            .iter()
            .filter(|seed| !self.links.contains_key(*seed));
        up.extend(seeds.cloned());
        up.extend(away);
        let mut last: Result<View, String> = Err("there are no servers".into());
        for address in up {
            match (view(&address, self.access).await, &last) {
                (Ok(view), _) if view.epoch >= self.epoch => return Ok(view),
                (Ok(view), Ok(older)) if view.epoch <= older.epoch => {}
                (Err(_), Ok(_)) => {}
                (answer, _) => last = answer,
            }
        }
        last
    }

    /// Makes links for new masters, ends those of old ones, and hands slots over with what waits for them.
    fn adopt(&mut self, ranges: &Ranges) {
        let mut map = self.shared.map_mut();
        let mut addresses: Vec<&Address> = ranges.iter().map(|(_, _, address)| address).collect();
        addresses.sort_by_key(|address| (&address.host, address.port));
        addresses.dedup();
        let first = map.slots.is_empty();
        let mut shards = Vec::with_capacity(addresses.len());
        for address in &addresses {
            let link = self.links.get(*address).cloned().unwrap_or_else(|| {
                let link = Link::new(self.shared.ties.clone(), true, !first);
                self.links.insert((*address).clone(), Arc::clone(&link));
                let route = Route {
                    target: Target::Node((*address).clone()),
                    access: self.access.clone(),
                    scripts: self.scripts,
                };
                let running = Arc::clone(&link);
                self.tasks.spawn(async move {
                    let _: Outcome = Arc::clone(&running).run(route).await;
                    running
                });
                link
            });
            shards.push(link);
        }
        let mut slots = vec![NOBODY; SLOTS];
        for (from, to, address) in ranges {
            let index = addresses.iter().position(|known| known == &address);
            let index = index.and_then(|index| u16::try_from(index).ok());
            for slot in slots
                .iter_mut()
                .take(usize::from(*to) + 1)
                .skip(usize::from(*from))
            {
                *slot = index.unwrap_or(NOBODY);
            }
        }
        let old_shards = std::mem::replace(&mut map.shards, shards);
        let old_slots = std::mem::replace(&mut map.slots, slots);
        if first {
            info!(
                masters = map.shards.len(),
                "found the servers of Redis Cluster"
            );
        }
        self.links.retain(|address, link| {
            let stays = addresses.contains(&address);
            if !stays {
                link.end("the server is no master any more");
            }
            stays
        });
        // Whoever lives in a slot that came to a link must hear that it has to begin anew there.
        for link in &map.shards {
            let gained = (0..SLOTS as u16).any(|slot| {
                let before = old_slots.get(usize::from(slot));
                let before = before.and_then(|index| old_shards.get(usize::from(*index)));
                map.owner(slot).is_some_and(|owner| owner.id == link.id)
                    && before.is_none_or(|before| before.id != link.id)
            });
            if gained && !first {
                link.reconnect("slots came to the server");
            }
        }
        let lobby = &map.lobby;
        for link in old_shards.iter().chain([lobby]).chain(&map.shards) {
            let strays = link.take_strays(|slot| map.keeper(slot).id == link.id);
            for job in strays {
                map.keeper(job.slot).adopt(vec![job]);
            }
        }
    }

    /// Takes over what an ended link still had.
    fn bury(&mut self, link: &Link) {
        let map = self.shared.map_mut();
        for job in link.take_strays(|_| false) {
            map.keeper(job.slot).adopt(vec![job]);
        }
    }

    fn is_whole(&self) -> bool {
        let map = self.shared.map();
        !map.slots.is_empty()
            && !map.slots.contains(&NOBODY)
            && map.shards.iter().all(|link| link.is_up())
    }
}

/// Asks one server, which must be among those that can decide.
async fn view(address: &Address, access: &Access) -> Result<View, String> {
    let mut connection = connect(address, access, |_| {}).await?;
    let epoch = epoch(&mut connection).await?;
    let question = redis::cmd("CLUSTER").arg("SLOTS").to_owned();
    let answer = connection.ask(&question).await?;
    let ranges = read(&answer, address).ok_or("the answer to CLUSTER SLOTS makes no sense")?;
    if ranges.is_empty() {
        return Err("CLUSTERDOWN no server of the cluster has any slots".into());
    }
    Ok(View { ranges, epoch })
}

/// The cluster's epoch, of a node whose cluster serves. Nodes answer as long as they live, whatever their cluster does.
pub(super) async fn epoch(connection: &mut Connection) -> Result<u64, String> {
    let question = redis::cmd("CLUSTER").arg("INFO").to_owned();
    let answer = connection.ask(&question).await?;
    let text: String = redis::from_redis_value(answer).unwrap_or_default();
    let field = |name| text.lines().find_map(|line| line.strip_prefix(name));
    if field("cluster_state:") != Some("ok") {
        return Err("CLUSTERDOWN the cluster is down".into());
    }
    let epoch = field("cluster_current_epoch:").and_then(|epoch| epoch.parse().ok());
    Ok(epoch.unwrap_or_default())
}

/// `[[first, last, [host, port, …], replicas…], …]`; a host that is missing is the one that was asked
/// (<https://redis.io/docs/latest/commands/cluster-slots/>).
fn read(answer: &Value, asked: &Address) -> Option<Ranges> {
    let mut ranges = Vec::new();
    for range in answer.as_sequence()? {
        let [Value::Int(first), Value::Int(last), master, ..] = range.as_sequence()? else {
            return None;
        };
        let [host, Value::Int(port), ..] = master.as_sequence()? else {
            return None;
        };
        let host: Option<String> = redis::from_redis_value(host.clone()).ok()?;
        let host = match host.as_deref() {
            // The server does not know the master's name; another one may.
            Some("?") => continue,
            None | Some("") => &asked.host,
            Some(host) => host,
        };
        let address = Address {
            host: host.to_owned(),
            port: u16::try_from(*port).ok()?,
        };
        let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
        if usize::from(last) >= SLOTS {
            return None;
        }
        ranges.push((first, last, address));
    }
    Some(ranges)
}

#[cfg(test)]
mod tests {
    use super::super::queue::SETTLE;
    use super::*;

    #[test]
    fn a_new_master_is_found_by_all_nodes_before_kept_publications_are_sent() {
        let cadence = PAUSE + rest(false, Duration::ZERO);
        assert!(2 * cadence <= SETTLE, "with time to connect and subscribe");
        assert_eq!(cadence, PAUSE + rest(false, 2 * AGREEMENT));
    }

    fn text(text: &str) -> Value {
        Value::BulkString(text.as_bytes().to_vec())
    }

    fn range(first: i64, last: i64, host: Value) -> Value {
        let server = vec![host, Value::Int(7), text("id"), Value::Array(vec![])];
        Value::Array(vec![
            Value::Int(first),
            Value::Int(last),
            Value::Array(server),
        ])
    }

    fn hosts(ranges: Vec<Value>) -> Option<Vec<(u16, u16, String)>> {
        let asked = Address {
            host: "asked".into(),
            port: 1,
        };
        let ranges = read(&Value::Array(ranges), &asked)?;
        let ranges = ranges.into_iter();
        Some(
            ranges
                .map(|(first, last, address)| (first, last, address.to_string()))
                .collect(),
        )
    }

    #[test]
    fn a_master_without_a_host_is_the_server_that_was_asked() {
        let ranges = vec![range(0, 1, Value::Nil), range(2, 3, text(""))];
        let asked = || "asked:7".to_owned();
        assert_eq!(hosts(ranges), Some(vec![(0, 1, asked()), (2, 3, asked())]));
    }

    #[test]
    fn a_master_whose_host_is_unknown_is_left_out() {
        let ranges = vec![range(0, 1, text("?")), range(2, 16_383, text("::1"))];
        assert_eq!(hosts(ranges), Some(vec![(2, 16_383, "[::1]:7".into())]));
    }

    #[test]
    fn slots_that_do_not_exist_are_not_believed() {
        assert_eq!(hosts(vec![range(0, 16_384, text("a"))]), None);
        assert_eq!(hosts(vec![range(-1, 5, text("a"))]), None);
    }
}
