//! The connections to Redis: what is asked is answered or refused in time, what is kept arrives, and every outage is
//! told once.

mod cluster;
mod one;
mod sentinel;

use std::time::Duration;

use gema::bus::redis::{Command, Happening, Inbox, LinkId, Redis, Script, Servers};
use tokio::time::timeout;

use crate::support::DEADLINE;

/// Adds to a key and publishes what it was.
static BUMP: Script = Script::new(
    "local n = redis.call('INCR', KEYS[1]) redis.call('PUBLISH', KEYS[1], ARGV[1]) return n",
);
static SCRIPTS: [&Script; 1] = [&BUMP];

/// A handle and its inbox, with what was heard so far.
struct Node {
    redis: Redis,
    inbox: Inbox,
}

impl Node {
    fn start(url: &str) -> Node {
        let servers = Servers::parse(url).unwrap();
        let (redis, inbox) = Redis::start(servers, &SCRIPTS);
        Node { redis, inbox }
    }

    async fn next(&mut self) -> Happening {
        let happening = timeout(DEADLINE, self.inbox.next()).await;
        happening.expect("something happens").expect("not the end")
    }

    /// The next happening must be this.
    async fn up(&mut self) -> LinkId {
        match self.next().await {
            Happening::Up { link } => link,
            other => panic!("not up: {other:?}"),
        }
    }

    async fn down(&mut self) -> (LinkId, String) {
        match self.next().await {
            Happening::Down { link, why } => (link, why),
            other => panic!("not down: {other:?}"),
        }
    }

    async fn message(&mut self) -> (String, String) {
        match self.next().await {
            Happening::Message { channel, payload } => {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                (text(&channel), text(&payload))
            }
            other => panic!("no message: {other:?}"),
        }
    }

    async fn listen(&self, name: &str) {
        let answer = self.redis.ask(name, Command::Listen(name.into())).await;
        assert_eq!(answer, Ok(redis::Value::Okay));
    }

    fn publish(&self, name: &str, payload: impl Into<String>) {
        self.redis.keep(name, publication(name, payload));
    }

    /// How often the key was bumped.
    async fn bump(&self, name: &str) -> i64 {
        match self.redis.ask(name, bump(name)).await {
            Ok(redis::Value::Int(count)) => count,
            other => panic!("no number: {other:?}"),
        }
    }
}

fn publication(name: &str, payload: impl Into<String>) -> Command {
    Command::Publish {
        channel: name.into(),
        payload: payload.into().into_bytes(),
    }
}

fn bump(name: &str) -> Command {
    Command::Script {
        script: &BUMP,
        keys: vec![name.into()],
        args: vec![b"bumped".to_vec()],
    }
}

fn plain(words: &[&str]) -> Command {
    let mut command = redis::Cmd::new();
    command.arg(words);
    Command::Plain(command)
}

/// Long enough for a link that is not meant to do something to do it.
const A_WHILE: Duration = Duration::from_millis(300);
