//! `GET /api/stream`: what happens, as server-sent events (HTML Standard, section 9.2), with the overview in between.
//! A page that reads slowly is not waited for: it loses the oldest, and hears how many.

use std::convert::Infallible;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::poll_fn;
use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue};
use serde::Serialize;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep_until};
use warp::filters::BoxedFilter;
use warp::reply::Response;
use warp::{Filter as _, Reply};

use super::query::Query;
use super::told::{Filter, Told};
use super::{Ask, Console, Refused, Shared, answer, reading};
use crate::live::{Batch, WATCHERS, Watcher};

/// The shortest time between two messages with entries. With 256 of them in one, a page hears 5,000 a second.
const PAUSE: Duration = Duration::from_millis(50);

/// How often a page hears the overview. It is a sign of life, too.
const OVERVIEW: Duration = Duration::from_secs(2);

/// Where a browser says what it has heard last, when it connects anew.
const LAST: HeaderName = HeaderName::from_static("last-event-id");

/// Tells nginx to pass on every bit at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The data of a message with entries.
#[derive(Serialize)]
struct Entries {
    /// What this page has missed before these.
    left_out: u64,
    entries: Vec<Told>,
}

pub(super) fn routes(shared: Shared) -> BoxedFilter<(Response,)> {
    warp::path!("api" / "stream")
        .and(reading(shared))
        .map(|console: Arc<Console>, ask: Ask| {
            open(console, ask).unwrap_or_else(|refused| answer(Err::<(), _>(refused)))
        })
        .boxed()
}

fn open(console: Arc<Console>, ask: Ask) -> Result<Response, Refused> {
    let query = Query::of(&ask.call);
    let filter = Filter::of(&query, &console)?;
    let last = ask.headers.get(LAST).and_then(|last| last.to_str().ok());
    let last = last.and_then(|last| last.parse::<u64>().ok());
    let from = match last {
        Some(last) => Some(last + 1),
        None => query.number("from")?,
    };
    let watcher = console.live.watch(from).ok_or_else(|| {
        let error = format!("As many look on as may: {WATCHERS}. Close another console");
        Refused::of(StatusCode::SERVICE_UNAVAILABLE, error)
    })?;
    // One message lies between here and HTTP; who does not take it leaves the rest to the ring.
    let (sender, mut messages) = mpsc::channel(1);
    tokio::spawn(tell(console, ask, watcher, filter, sender));
    let body = poll_fn(move |cx| {
        messages
            .poll_recv(cx)
            .map(|text| text.map(Ok::<_, Infallible>))
    });
    let mut response = warp::reply::stream(body).into_response();
    let headers = response.headers_mut();
    let kind = HeaderValue::from_static("text/event-stream");
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(ACCEL_BUFFERING, HeaderValue::from_static("no"));
    Ok(response)
}

/// Tells a page until it has gone, or may not look any more.
async fn tell(
    console: Arc<Console>,
    ask: Ask,
    mut watcher: Watcher,
    filter: Filter,
    messages: mpsc::Sender<Bytes>,
) {
    let mut overviews = interval(OVERVIEW);
    let mut not_before = Instant::now();
    loop {
        let batch = async {
            sleep_until(not_before).await;
            watcher.next().await
        };
        let message = tokio::select! {
            () = messages.closed() => return,
            // A session may have ended meanwhile.
            _ = overviews.tick() => match console.guard.may_read(&ask) {
                Ok(()) => Some(overview(&console).await),
                Err(_) => return,
            },
            batch = batch => entries(&console, &filter, &batch),
        };
        let Some(message) = message else {
            // Nothing that this page wants: there may be much of it, and others have work too.
            tokio::task::yield_now().await;
            continue;
        };
        if messages.send(message.into()).await.is_err() {
            return;
        }
        not_before = Instant::now() + PAUSE;
    }
}

async fn overview(console: &Console) -> String {
    let overview = console.overview.get(console).await;
    format!("event: overview\ndata: {overview}\n\n")
}

/// `None` when there is nothing to tell.
fn entries(console: &Console, filter: &Filter, batch: &Batch) -> Option<String> {
    let told = batch.entries.iter();
    let told: Vec<_> = told
        .filter_map(|entry| filter.tell(entry, console))
        .collect();
    if told.is_empty() && batch.left_out == 0 {
        return None;
    }
    let entries = Entries {
        left_out: batch.left_out,
        entries: told,
    };
    let mut message = String::new();
    if let Some(last) = batch.entries.last() {
        // Writing into a String cannot fail.
        let _ = writeln!(message, "id: {}", last.number);
    }
    // JSON on one line, as a field has to be.
    let json = serde_json::to_string(&entries).unwrap_or_default();
    message.push_str("event: entries\ndata: ");
    message.push_str(&json);
    message.push_str("\n\n");
    Some(message)
}
