//! The registry in Redis: who is in a place, by node. Each transition is one script, which also publishes the news.
//! The scripts say in their first lines what goes in and what comes out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use gema_protocol::presence::Member;
use redis::{FromRedisValue, Value, from_redis_value};

use super::news::Presence;
use super::place::NodeName;
use super::redis::{Command, Script};

macro_rules! script {
    ($file:literal) => {
        Script::new(concat!(
            include_str!("place.lua"),
            "\n",
            include_str!($file)
        ))
    };
}

static CHANGE: Script = script!("change.lua");
static SYNC: Script = script!("sync.lua");
static CACHE: Script = script!("cache.lua");
static CLAIM: Script = Script::new(include_str!("claim.lua"));
static LEASE: Script = Script::new(include_str!("lease.lua"));

/// All that will be run.
pub(super) static SCRIPTS: &[&Script] = &[&CHANGE, &SYNC, &CACHE, &CLAIM, &LEASE];

/// Where a place lives in Redis, and how news of it is sent there.
#[derive(Clone, Debug)]
pub(super) struct Home {
    /// The name of its keys and its channel, hash tag included.
    pub(super) base: String,
    /// In a Redis cluster.
    pub(super) sharded: bool,
}

/// What the webhooks and the subscribers of a place want to know.
#[derive(Clone, Copy, Debug, Default)]
pub struct Interest {
    /// Absences are held for the grace of the webhooks.
    pub hold: bool,
    /// The number of subscriptions is news.
    pub tell: bool,
}

/// A transition of this node.
#[derive(Clone, Copy, Debug)]
pub enum Move<'a> {
    /// Only the number of subscriptions has changed.
    None,
    /// The user's first connection here; refused when the place has `max` members and this would be one more.
    Join {
        /// Who.
        member: &'a Member,
        /// `limits.presence_members`
        max: usize,
    },
    /// The user's last connection here has gone.
    Leave(&'a str),
}

/// What became of a transition.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// The place is full; nothing has changed.
    pub full: bool,
    /// The place's version with it.
    pub version: u64,
    /// Subscriptions in the cluster before.
    pub before: u32,
    /// And after.
    pub after: u32,
    /// 1: the user is new in the cluster; -1: gone from it.
    pub gained: i8,
    /// The user comes back from an absence that was held.
    pub returned: bool,
    /// The first subscriber comes back from an absence of all.
    pub reoccupied: bool,
    /// When the place had come to be known, before this; 0 = it was not.
    pub birth: u64,
}

/// What one node holds in a place.
#[derive(Clone, Debug)]
pub struct Holding {
    /// Its subscriptions.
    pub count: u32,
    /// Its members: who, info, and whether a transition is under way, which is not to be touched.
    pub seats: Vec<(Arc<str>, Option<Arc<str>>, bool)>,
}

/// A place as it is, after what a node holds was written into it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// When Redis had come to know the place, before the writing; 0 = it did not.
    pub birth_before: u64,
    /// The same after it.
    pub birth: u64,
    /// Its version.
    pub version: u64,
    /// Subscriptions in the cluster before the writing.
    pub before: u32,
    /// And after.
    pub after: u32,
    /// The place comes back from an absence of all that was held.
    pub reoccupied: bool,
    /// Users who are new in the cluster and do not come back from an absence.
    pub added: Vec<Arc<str>>,
    /// Users who are gone from it.
    pub removed: Vec<Arc<str>>,
    /// Absences that the node, or its heir, now holds; an empty id is the place's own.
    pub held: Vec<Arc<str>>,
    /// Who is there.
    pub members: Vec<Presence>,
    /// Subscriptions by node.
    pub counts: Vec<(NodeName, u32)>,
    /// The last event of a cache channel.
    pub cached: Option<CachedEvent>,
}

/// The last event of a cache channel, as the registry has it.
#[derive(Clone, Debug)]
pub struct CachedEvent {
    /// The place's version with it.
    pub version: u64,
    /// The encoded envelope.
    pub envelope: Bytes,
    /// For how long it is still replayed.
    pub left: Duration,
}

/// What the lease of a node came to.
#[derive(Clone, Debug)]
pub struct Lease {
    /// It had one until now; if not, others have taken it for dead.
    pub kept: bool,
    /// Who has one.
    pub live: Vec<NodeName>,
    /// Whose is over.
    pub expired: Vec<NodeName>,
    /// Who has one, and has not said yet all that it holds.
    pub unsettled: Vec<NodeName>,
}

/// Redis said something that no script of ours says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Redis answered in an unknown form")]
pub struct FormError;

impl Home {
    fn keys(&self, kinds: &str) -> Vec<String> {
        let key = |kind| format!("{}:{kind}", self.base);
        kinds.chars().map(key).collect()
    }

    fn publish(&self) -> Vec<u8> {
        let command = if self.sharded { "SPUBLISH" } else { "PUBLISH" };
        command.into()
    }

    fn script(&self, script: &'static Script, kinds: &str, args: Vec<Vec<u8>>) -> Command {
        let keys = self.keys(kinds);
        Command::Script { script, keys, args }
    }

    pub(super) fn change(
        &self,
        node: NodeName,
        count: u32,
        change: Move<'_>,
        interest: Interest,
    ) -> Command {
        let (what, user, info, max) = match change {
            Move::None => ("", "", "", 0),
            Move::Join { member, max } => {
                let info = member.user_info.as_deref().unwrap_or_default();
                ("join", &*member.user_id, info, max)
            }
            Move::Leave(user) => ("leave", user, "", 0),
        };
        let args = vec![
            node.to_string().into(),
            count.to_string().into(),
            what.into(),
            user.into(),
            info.into(),
            max.to_string().into(),
            flag(interest.hold),
            flag(interest.tell),
            self.publish(),
            self.base.clone().into(),
        ];
        self.script(&CHANGE, "vnma", args)
    }

    pub(super) fn sync(
        &self,
        node: NodeName,
        holding: &Holding,
        heir: Option<NodeName>,
        interest: Interest,
    ) -> Command {
        let mut args = vec![
            node.to_string().into(),
            holding.count.to_string().into(),
            heir.map(|heir| heir.to_string()).unwrap_or_default().into(),
            flag(interest.hold),
            flag(interest.tell),
            self.publish(),
            self.base.clone().into(),
        ];
        for (user, info, asked) in &holding.seats {
            args.push(user.as_bytes().to_vec());
            args.push(info.as_deref().unwrap_or_default().into());
            args.push(if *asked { "asked" } else { "held" }.into());
        }
        self.script(&SYNC, "vnmac", args)
    }

    /// `restore`: only if Redis has none, and without sending it.
    pub(super) fn cache(&self, envelope: Vec<u8>, life_ms: u64, restore: bool) -> Command {
        let args = vec![
            envelope,
            life_ms.to_string().into(),
            flag(restore),
            self.publish(),
            self.base.clone().into(),
        ];
        self.script(&CACHE, "vc", args)
    }

    pub(super) fn claim(&self, user: &str, node: NodeName) -> Command {
        let args = vec![user.into(), node.to_string().into()];
        self.script(&CLAIM, "a", args)
    }

    pub(super) fn counts(&self) -> Command {
        Command::Plain(redis::Cmd::hgetall(format!("{}:n", self.base)))
    }

    pub(super) fn members(&self) -> Command {
        Command::Plain(redis::Cmd::hkeys(format!("{}:m", self.base)))
    }

    pub(super) fn cached(&self) -> [Command; 2] {
        let key = format!("{}:c", self.base);
        [
            Command::Plain(redis::Cmd::hget(&key, "e")),
            Command::Plain(redis::Cmd::pttl(&key)),
        ]
    }
}

/// `length_ms` 0 gives the lease up. A node that `had` one and has lost it gets none.
pub(super) fn lease(
    nodes: &str,
    node: NodeName,
    length_ms: u64,
    had: bool,
    is_unsettled: bool,
) -> Command {
    Command::Script {
        script: &LEASE,
        keys: vec![nodes.to_owned(), format!("{nodes}:unsettled")],
        args: vec![
            node.to_string().into(),
            length_ms.to_string().into(),
            flag(had),
            flag(is_unsettled),
        ],
    }
}

fn flag(set: bool) -> Vec<u8> {
    if set { "1" } else { "0" }.into()
}

/// Reads a reply as `T`.
pub(super) fn read<T: FromRedisValue>(value: Value) -> Result<T, FormError> {
    from_redis_value(value).map_err(|_| FormError)
}

impl Outcome {
    pub(super) fn read(value: Value) -> Result<Outcome, FormError> {
        let (full, version, before, after, gained, returned, reoccupied, birth) =
            read::<(u8, u64, u32, u32, i8, u8, u8, u64)>(value)?;
        Ok(Outcome {
            full: full == 1,
            version,
            before,
            after,
            gained,
            returned: returned == 1,
            reoccupied: reoccupied == 1,
            birth,
        })
    }
}

impl Snapshot {
    pub(super) fn read(value: Value) -> Result<Snapshot, FormError> {
        let Value::Array(parts) = value else {
            return Err(FormError);
        };
        let parts: [Value; 12] = parts.try_into().map_err(|_| FormError)?;
        let [
            birth_before,
            birth,
            version,
            before,
            after,
            reoccupied,
            added,
            removed,
            held,
            members,
            counts,
            cached,
        ] = parts;
        let members: Vec<Vec<u8>> = read(members)?;
        let members = members
            .chunks_exact(2)
            .map(|pair| Presence::parse(&pair[0], &pair[1]).ok_or(FormError));
        let counts: Vec<u64> = read(counts)?;
        let counts = counts
            .chunks_exact(2)
            .map(|pair| (NodeName::of_number(pair[0]), pair[1] as u32));
        let (version_of_event, envelope, left_ms): (Option<u64>, Option<Vec<u8>>, i64) =
            read(cached)?;
        let cached = version_of_event
            .zip(envelope)
            .map(|(version, envelope)| CachedEvent {
                version,
                envelope: envelope.into(),
                left: Duration::from_millis(u64::try_from(left_ms).unwrap_or(0)),
            });
        Ok(Snapshot {
            birth_before: read(birth_before)?,
            birth: read(birth)?,
            version: read(version)?,
            before: read(before)?,
            after: read(after)?,
            reoccupied: read::<u8>(reoccupied)? == 1,
            added: texts(added)?,
            removed: texts(removed)?,
            held: texts(held)?,
            members: members.collect::<Result<_, _>>()?,
            counts: counts.collect(),
            cached,
        })
    }
}

impl Lease {
    pub(super) fn read(value: Value) -> Result<Lease, FormError> {
        let (kept, live, expired, unsettled) = read::<(u8, Vec<u64>, Vec<u64>, Vec<u64>)>(value)?;
        let names = |numbers: Vec<u64>| numbers.into_iter().map(NodeName::of_number).collect();
        Ok(Lease {
            kept: kept == 1,
            live: names(live),
            expired: names(expired),
            unsettled: names(unsettled),
        })
    }
}

fn texts(value: Value) -> Result<Vec<Arc<str>>, FormError> {
    Ok(read::<Vec<String>>(value)?
        .into_iter()
        .map(Arc::from)
        .collect())
}
