//! What waits for a client of HTTP, and the response by which it may leave. It is in one of two states:
//!
//! * *receiving*: a response is open. What waits is written to it; when nothing does for a while, a heartbeat.
//! * *absent*: there is no response, or the one there is spent. Everything waits, and the client has
//!   [`PATIENCE`] to ask again.
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

/// How long a session lives without a receive request.
pub(super) const PATIENCE: Duration = Duration::from_secs(10);

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

#[derive(Debug)]
pub(super) struct Outlet {
    link: Arc<Link>,
    /// Taken from the link, not yet written; they count as the link's unsent bytes.
    waiting: VecDeque<Frame>,
    response: Option<Response>,
    /// The first line of the session is written.
    opened: bool,
    /// When receiving: the next heartbeat. When absent: the end.
    due: Instant,
    patience: Duration,
}

impl Outlet {
    /// A session that its client has just begun with `response`.
    pub(super) fn new(link: Arc<Link>, response: Response, patience: Duration) -> Outlet {
        Outlet {
            link,
            waiting: VecDeque::new(),
            response: Some(response),
            opened: false,
            due: Instant::now() + HEARTBEAT,
            patience,
        }
    }

    /// Takes the client's next receive request.
    pub(super) fn receive(&mut self, response: Response) -> Flow {
        match &self.response {
            Some(open) if open.room().is_some() => {
                if open.is_gone() {
                    return Flow::Ended;
                }
                response.refuse_second();
            }
            _ => {
                self.response = Some(response);
                self.due = Instant::now() + HEARTBEAT;
            }
        }
        Flow::On
    }

    /// Does the next thing there is to do, and waits for it. Cancel safe.
    pub(super) async fn turn(&mut self) -> Flow {
        let due = sleep_until(self.due);
        let response = match &mut self.response {
            Some(response) if response.room().is_some() => response,
            _ => {
                due.await;
                return Flow::Ended;
            }
        };
        let room = response.room().unwrap_or_default();
        let mut lines = Lines::default();
        if !self.opened {
            lines.open();
        }
        tokio::select! {
            () = response.gone() => return Flow::Ended,
            ready = ready(&self.link, &mut self.waiting, response) => match ready {
                Flow::On => lines.fill(&mut self.waiting, room),
                Flow::Ended => return Flow::Ended,
            },
            () = due => lines.heartbeat(),
        }
        let closes = lines.closes;
        let written = response.write(lines, &self.link);
        // Only a heartbeat may find no place: the client has not read what came before it.
        self.opened |= written;
        if closes {
            return Flow::Ended;
        }
        let answered = response.manner() == Manner::Polling && written && self.waiting.is_empty();
        let spent = response.room().is_none();
        if answered || (spent && response.manner() == Manner::Polling) {
            self.response = None;
        }
        let wait = if answered || spent {
            self.patience
        } else {
            HEARTBEAT
        };
        self.due = Instant::now() + wait;
        Flow::On
    }
}

/// Waits until there is something to write and a place for it.
async fn ready(link: &Link, waiting: &mut VecDeque<Frame>, response: &Response) -> Flow {
    while waiting.is_empty() {
        match link.drain().await {
            Drained::Frames(frames) => waiting.extend(frames),
            Drained::Finished | Drained::Severed => return Flow::Ended,
        }
    }
    match response.writable().await {
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
        let hub = Hub::start(&settings, 1, tasks);
        let link = Arc::new(Link::door());
        let (response, answer) = pair(manner);
        let id = hub
            .add(hub.next_socket_id(), link.clone(), server::pong(), None)
            .await;
        let outlet = Outlet::new(link, response, Duration::from_millis(50));
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

        // Nobody asks any more.
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

    #[tokio::test]
    async fn a_client_that_breaks_its_request_off_ends_the_session() {
        let mut tasks = JoinSet::new();
        let (_hub, _, mut outlet, answer) = begin(Manner::Streaming, &mut tasks).await;
        drop(answer);
        while outlet.turn().await == Flow::On {}
    }
}
