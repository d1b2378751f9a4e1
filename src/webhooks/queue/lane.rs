//! What waits for one receiver in one order: events, and the request that is made of the first of them.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

/// Bytes of events in one request, of which one is always taken: common body parsers stop at 100 kB.
pub(super) const BATCH_BYTES: usize = 64 * 1024;

pub(super) struct Lane {
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) request: Option<Request>,
    pub(super) state: State,
}

#[derive(PartialEq, Eq)]
pub(super) enum State {
    Ready,
    Parked(Instant),
    Sending,
}

pub(super) struct Waiting {
    pub(super) json: Arc<str>,
    pub(super) happened: Instant,
    pub(super) time_ms: u64,
}

/// A request as it is sent, the same at every attempt.
pub(super) struct Request {
    pub(super) body: Bytes,
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) happened: Instant,
    pub(super) attempts: u32,
}

impl Lane {
    /// What to send: the request of the last attempt, or a new one of at most so many events; `None` if nothing waits.
    pub(super) fn body(&mut self, most: usize) -> Option<Bytes> {
        if let Some(request) = &self.request {
            return Some(request.body.clone());
        }
        let first = self.waiting.front()?;
        let (happened, time_ms) = (first.happened, first.time_ms);
        let mut batch: Vec<Arc<str>> = Vec::new();
        let mut bytes = 0;
        while batch.len() < most
            && let Some(event) = self
                .waiting
                .pop_front_if(|event| batch.is_empty() || bytes + event.json.len() <= BATCH_BYTES)
        {
            bytes += event.json.len();
            batch.push(event.json);
        }
        let events = batch.join(",");
        let body = Bytes::from(format!("{{\"time_ms\":{time_ms},\"events\":[{events}]}}"));
        self.request = Some(Request {
            body: body.clone(),
            events: batch.len(),
            bytes,
            happened,
            attempts: 0,
        });
        Some(body)
    }
}
