//! What waits for a client of HTTP, and the response by which it may leave. It is in one of four stages:
//!
//! * *open*: a response is open. What waits is written to it; when nothing does for a while, a heartbeat.
//! * *full*: the response takes no more, and HTTP has not taken all of it. The client is slow, and the hub watches it
//!   as it watches any slow client.
//! * *out*: HTTP has taken it all, and the client may still be reading.
//! * *left*: the response is over.
//!
//! In the last three everything waits. In the last two the client has so long to ask again as its [`Patience`] says;
//! each of its requests starts that time anew.
//!
//! The invariant: a frame leaves `waiting` only into a response that is open and has a place for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use gema_protocol::frame::Frame;
use tokio::time::{Instant, sleep_until};

use super::lines::Lines;
use super::response::{Manner, Response};
use crate::hub::{Drained, Link};

/// How long a session lives without a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// When its client has nothing left to read.
    absent: Duration,
    /// When the client may still have much to read: HTTP has taken the bytes, but they lie in buffers of the kernel
    /// and of proxies, and pusher-js asks again only when it has read them all.
    reading: Duration,
}

/// What clients get. A full response is 256 KiB (more when it is not ASCII), which a minute carries at 5 kB/s, a bad
/// mobile line.
pub(super) const PATIENCE: Patience = Patience {
    absent: Duration::from_secs(10),
    reading: Duration::from_secs(60),
};

/// A response of more bytes is long in reading; this much takes half of the ten seconds at 5 kB/s.
const LARGE: usize = 24 * 1024;

/// Silence after which a response gets a heartbeat. pusher-js waits 30 s for the answer to a ping of its own, and
/// only a response can hold one; proxies cut what is silent for 60 s.
const HEARTBEAT: Duration = Duration::from_secs(20);

/// Whether a session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flow {
    On,
    /// Closed by the hub, left by its client, or not fetched from for too long.
    Ended,
}

/// How far the newest response has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Open,
    Full,
    Out,
    Left,
}

#[derive(Debug)]
pub(super) struct Outlet {
    link: Arc<Link>,
    /// Taken from the link, not yet written; they count as the link's unsent bytes.
    waiting: VecDeque<Frame>,
    /// The newest one.
    response: Response,
    stage: Stage,
    /// The first line of the session is written.
    opened: bool,
    /// When open: the next heartbeat. When out or left: the end.
    due: Instant,
    patience: Patience,
}

impl Outlet {
    /// A session that its client has just begun with `response`.
    pub(super) fn new(link: Arc<Link>, response: Response, patience: Patience) -> Outlet {
        Outlet {
            link,
            waiting: VecDeque::new(),
            response,
            stage: Stage::Open,
            opened: false,
            due: Instant::now() + HEARTBEAT,
            patience,
        }
    }

    /// Takes the client's next receive request.
    pub(super) fn receive(&mut self, response: Response) -> Flow {
        if self.stage != Stage::Open {
            self.response = response;
            self.stage = Stage::Open;
            self.due = Instant::now() + HEARTBEAT;
        } else if self.response.is_gone() {
            return Flow::Ended;
        } else {
            response.refuse_second();
        }
        Flow::On
    }

    /// The client has shown that it is there, by a request of another kind.
    pub(super) fn heard(&mut self) {
        if matches!(self.stage, Stage::Out | Stage::Left) {
            self.wait();
        }
    }

    /// Does the next thing there is to do, and waits for it. Cancel safe.
    pub(super) async fn turn(&mut self) -> Flow {
        match self.stage {
            Stage::Open => return self.write().await,
            Stage::Full => {
                self.stage = match self.response.taken().await {
                    true => Stage::Out,
                    // That of an answer to a poll is taken with its end.
                    false => {
                        self.response.gone().await;
                        Stage::Left
                    }
                };
            }
            Stage::Out => {
                tokio::select! {
                    () = self.response.gone() => self.stage = Stage::Left,
                    () = sleep_until(self.due) => return Flow::Ended,
                }
            }
            Stage::Left => {
                sleep_until(self.due).await;
                return Flow::Ended;
            }
        }
        self.wait();
        Flow::On
    }

    /// From now on the client is waited for.
    fn wait(&mut self) {
        // The client itself ends a stream, and only when it has read it. The end of an answer to a poll is written
        // by HTTP, which does not see how far the client has come.
        let has_read = match self.response.manner() {
            Manner::Streaming => self.stage == Stage::Left,
            Manner::Polling => self.response.bytes() <= LARGE,
        };
        let wait = match has_read {
            true => self.patience.absent,
            false => self.patience.reading,
        };
        self.due = Instant::now() + wait;
    }

    async fn write(&mut self) -> Flow {
        let response = &mut self.response;
        let room = response.room().unwrap_or_default();
        let mut lines = Lines::default();
        if !self.opened {
            lines.open();
        }
        tokio::select! {
            ready = ready(&self.link, &mut self.waiting, response) => match ready {
                Flow::On => lines.fill(&mut self.waiting, room),
                Flow::Ended => return Flow::Ended,
            },
            () = sleep_until(self.due) => lines.heartbeat(),
        }
        let closes = lines.closes;
        let written = response.write(lines, &self.link);
        // Only a heartbeat may find no place: the client has not read what came before it.
        self.opened |= written;
        if closes {
            return Flow::Ended;
        }
        self.due = Instant::now() + HEARTBEAT;
        let spent = response.room().is_none();
        let polled = response.manner() == Manner::Polling;
        if polled && (spent || (written && self.waiting.is_empty())) {
            response.finish();
        }
        if response.room().is_none() {
            self.stage = Stage::Full;
        }
        Flow::On
    }
}

/// Waits until there is something to write and a place for it.
async fn ready(link: &Link, waiting: &mut VecDeque<Frame>, response: &mut Response) -> Flow {
    while waiting.is_empty() {
        tokio::select! {
            () = response.gone() => return Flow::Ended,
            drained = link.drain() => match drained {
                Drained::Frames(frames) => waiting.extend(frames),
                Drained::Finished | Drained::Severed => return Flow::Ended,
            },
        }
    }
    match response.taken().await {
        true => Flow::On,
        false => Flow::Ended,
    }
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;
    use gema_protocol::liveness::Liveness;
    use gema_protocol::server;
    use tokio::task::JoinSet;

    use super::super::response::{LENGTH, pair};
    use super::*;
    use crate::hub::{ConnectionId, Hub, Settings};

    const SHORT: Patience = Patience {
        absent: Duration::from_millis(100),
        reading: Duration::from_millis(600),
    };

    /// An outlet of a connection that has been greeted, and the answer its client reads.
    async fn begin(
        manner: Manner,
        tasks: &mut JoinSet<()>,
    ) -> (Arc<Hub>, ConnectionId, Outlet, super::super::Answer) {
        let settings = Settings {
            shards: 1,
            outbox_bytes: 10_000_000,
            liveness: Liveness {
                activity_timeout_ms: 60_000,
                pong_timeout_ms: 60_000,
            },
        };
        let (hub, shards) = Hub::new(&settings, 1);
        shards
            .into_iter()
            .for_each(|shard| drop(tasks.spawn(shard)));
        let link = Arc::new(Link::door());
        let (response, answer) = pair(manner);
        let id = hub
            .add(0, hub.next_socket_id(), link.clone(), server::pong(), None)
            .await;
        let outlet = Outlet::new(link, response, SHORT);
        (hub, id, outlet, answer)
    }

    #[tokio::test]
    async fn a_poll_ends_with_what_there_is_and_the_rest_waits_for_the_next_but_not_for_ever() {
        let mut tasks = JoinSet::new();
        let (hub, id, mut outlet, mut answer) = begin(Manner::Polling, &mut tasks).await;
        assert_eq!(outlet.turn().await, Flow::On);
        assert!(answer.next().await.unwrap().unwrap().starts_with(b"o\na["));
        assert!(answer.next().await.is_none());

        hub.send(id, server::pong()).await;
        let (response, mut answer) = pair(Manner::Polling);
        assert_eq!(outlet.receive(response), Flow::On);
        assert_eq!(outlet.turn().await, Flow::On);
        assert!(answer.next().await.unwrap().unwrap().starts_with(b"a["));

        // Its end is read, and nobody asks any more.
        assert!(answer.next().await.is_none());
        assert_eq!(outlet.turn().await, Flow::On);
        assert_eq!(outlet.turn().await, Flow::Ended);
    }

    #[tokio::test]
    async fn a_stream_stops_at_the_line_with_which_its_client_leaves_it() {
        let mut tasks = JoinSet::new();
        let (hub, id, mut outlet, mut answer) = begin(Manner::Streaming, &mut tasks).await;
        let event = server::event("a", "e", &"x".repeat(LENGTH / 2 + 1));
        for _ in 0..3 {
            hub.send(id, event.clone()).await;
        }
        let mut units = 0;
        while units <= LENGTH {
            assert_eq!(outlet.turn().await, Flow::On);
            units += answer.next().await.unwrap().unwrap().len();
        }
        // The third event waits for the next request, however long this one stays open.
        let (response, mut next) = pair(Manner::Streaming);
        assert_eq!(outlet.receive(response), Flow::On);
        assert!(answer.next().await.is_none());
        assert_eq!(outlet.turn().await, Flow::On);
        let rest = next.next().await.unwrap().unwrap();
        assert!(
            rest.len() > LENGTH / 2 && rest.len() < LENGTH,
            "{}",
            rest.len()
        );
    }

    /// An outlet whose stream is spent, with the third of three events waiting.
    async fn spent(tasks: &mut JoinSet<()>) -> (Arc<Hub>, Outlet, super::super::Answer) {
        let (hub, id, mut outlet, mut answer) = begin(Manner::Streaming, tasks).await;
        let event = server::event("a", "e", &"x".repeat(LENGTH / 2 + 1));
        for _ in 0..3 {
            hub.send(id, event.clone()).await;
        }
        assert_eq!(outlet.turn().await, Flow::On);
        while outlet.stage == Stage::Open {
            answer.next().await.unwrap().unwrap();
            assert_eq!(outlet.turn().await, Flow::On);
        }
        (hub, outlet, answer)
    }

    #[tokio::test]
    async fn who_reads_a_spent_stream_slowly_keeps_the_session() {
        let mut tasks = JoinSet::new();
        let (_hub, mut outlet, mut answer) = spent(&mut tasks).await;
        // HTTP has not taken the last of it: no time runs, the hub sees to it.
        let long = SHORT.reading * 3 / 2;
        assert!(tokio::time::timeout(long, outlet.turn()).await.is_err());
        answer.next().await.unwrap().unwrap();
        assert_eq!(outlet.turn().await, Flow::On);
        assert_eq!(outlet.stage, Stage::Out);
        // The client reads on out of the kernel's buffer.
        let most = SHORT.reading * 2 / 3;
        assert!(tokio::time::timeout(most, outlet.turn()).await.is_err());
        // A request of another kind starts the time anew.
        outlet.heard();
        assert!(tokio::time::timeout(most, outlet.turn()).await.is_err());
        // It has read it all, and leaves; asking again takes a moment.
        drop(answer);
        assert_eq!(outlet.turn().await, Flow::On);
        let moment = SHORT.absent / 2;
        assert!(tokio::time::timeout(moment, outlet.turn()).await.is_err());
        let (response, mut next) = pair(Manner::Streaming);
        assert_eq!(outlet.receive(response), Flow::On);
        assert_eq!(outlet.turn().await, Flow::On);
        assert!(next.next().await.unwrap().unwrap().starts_with(b"a["));
    }

    #[tokio::test]
    async fn who_never_leaves_a_spent_stream_is_not_waited_for_for_ever() {
        let mut tasks = JoinSet::new();
        let (_hub, mut outlet, mut answer) = spent(&mut tasks).await;
        answer.next().await.unwrap().unwrap();
        assert_eq!(outlet.turn().await, Flow::On);
        let since = Instant::now();
        assert_eq!(outlet.turn().await, Flow::Ended);
        assert!(since.elapsed() >= SHORT.reading);
    }

    #[tokio::test]
    async fn a_large_answer_to_a_poll_gives_time_to_read_it_from_when_it_is_taken() {
        for (length, expected) in [(10, SHORT.absent), (LARGE, SHORT.reading)] {
            let mut tasks = JoinSet::new();
            let (hub, id, mut outlet, _first) = begin(Manner::Polling, &mut tasks).await;
            assert_eq!(outlet.turn().await, Flow::On);
            let (response, mut answer) = pair(Manner::Polling);
            assert_eq!(outlet.receive(response), Flow::On);
            hub.send(id, server::event("a", "e", &"x".repeat(length)))
                .await;
            assert_eq!(outlet.turn().await, Flow::On);
            let long = SHORT.reading * 3 / 2;
            assert!(tokio::time::timeout(long, outlet.turn()).await.is_err());
            while answer.next().await.is_some() {}
            let since = Instant::now();
            assert_eq!(outlet.turn().await, Flow::On);
            assert_eq!(outlet.turn().await, Flow::Ended);
            let waited = since.elapsed();
            assert!(
                waited >= expected && (expected > SHORT.absent || waited < SHORT.reading),
                "{waited:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_client_that_breaks_its_request_off_ends_the_session() {
        let mut tasks = JoinSet::new();
        let (_hub, _, mut outlet, answer) = begin(Manner::Streaming, &mut tasks).await;
        drop(answer);
        while outlet.turn().await == Flow::On {}
    }
}
