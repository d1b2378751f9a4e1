//! Carries one receiver's queue out over HTTP: signed requests, some at a time, and a line in the log when it fails.
//! What is sent when is the queue's to say.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use gema_protocol::auth::sign_webhook;
use reqwest::header::CONTENT_TYPE;
use reqwest::{Client, Response};
use tokio::sync::Notify;
use tracing::{debug, info, warn};

use super::event::Event;
use super::log::{Delivery, Log, Outcome};
use super::queue::{Failure, Job, Next, Note, Queue};
use super::{Settings, Totals};
use crate::apps::{App, Webhook};
use crate::clock;
use crate::outbound;

/// An answer is read so that its connection can be used again; a longer one costs the connection instead.
const ANSWER_BYTES: usize = 16 * 1024;

/// One receiver of one app.
pub(super) struct Sender {
    /// Among all receivers that the app has had.
    number: u32,
    /// Another when the app has changed and this receiver has not.
    stands_for: RwLock<StandsFor>,
    webhook: Webhook,
    client: Client,
    in_flight: usize,
    queue: Mutex<Queue>,
    wake: Notify,
    log: Arc<Log>,
}

/// Whom requests come from.
#[derive(Clone)]
struct StandsFor {
    /// Signs them.
    app: Arc<App>,
    /// The receiver's place in the app's list of webhooks.
    place: usize,
}

impl Sender {
    /// For one of the app's webhooks, with its number among all there have been and its place in the list.
    pub(super) fn new(
        app: &Arc<App>,
        webhook: &Webhook,
        (number, place): (u32, usize),
        client: &Client,
        settings: &Settings,
        log: &Arc<Log>,
    ) -> Sender {
        let app = app.clone();
        Sender {
            number,
            stands_for: RwLock::new(StandsFor { app, place }),
            webhook: webhook.clone(),
            client: client.clone(),
            in_flight: settings.in_flight,
            queue: Mutex::new(Queue::new(*settings, webhook.batch)),
            wake: Notify::new(),
            log: log.clone(),
        }
    }

    /// Its number among all receivers that the app has had.
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    /// Whether it tells this receiver, just so.
    pub(super) fn tells(&self, webhook: &Webhook) -> bool {
        self.webhook == *webhook
    }

    /// From now on requests are signed as by this app, in whose list the receiver has this place.
    pub(super) fn stand_for(&self, app: Arc<App>, place: usize) {
        let stands_for = self.stands_for.write();
        *stands_for.unwrap_or_else(PoisonError::into_inner) = StandsFor { app, place };
    }

    /// Whether the receiver wants to be told.
    pub(super) fn wants(&self, event: &Event) -> bool {
        let webhook = &self.webhook;
        webhook.events.contains(event.kind())
            && event
                .channel()
                .as_str()
                .starts_with(&webhook.channel_prefix)
    }

    /// Queues an event that happened now; never waits.
    pub(super) fn push(&self, event: &Event, json: Arc<str>) {
        let (now, time_ms) = (Instant::now(), clock::unix_ms());
        if self.queue().push(event.channel(), json, now, time_ms) {
            self.wake.notify_one();
        }
    }

    /// Nothing more comes: [`Sender::run`] returns when the queue is empty.
    pub(super) fn end(&self) {
        self.queue().end();
        self.wake.notify_one();
    }

    /// Ends at once; gives the number of events that were dropped with it.
    pub(super) fn give_up(&self) -> usize {
        let dropped = self.queue().give_up_all();
        self.wake.notify_one();
        dropped
    }

    /// Events that are neither delivered nor given up.
    pub(super) fn waiting(&self) -> usize {
        self.queue().len()
    }

    pub(super) fn totals(&self) -> Totals {
        self.queue().totals()
    }

    /// Delivers until the end.
    pub(super) async fn run(self: Arc<Self>) {
        let mut sending = FuturesUnordered::new();
        loop {
            let (next, notes) = {
                let mut queue = self.queue();
                let next = if sending.len() < self.in_flight {
                    queue.next(Instant::now())
                } else {
                    Next::Wait(None)
                };
                (next, queue.take_notes())
            };
            for note in notes {
                self.log(note);
            }
            let due = match next {
                Next::Send(job) => {
                    sending.push(self.attempt(job));
                    continue;
                }
                Next::Wait(due) => due,
                Next::End => return,
            };
            let alarm = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = self.wake.notified() => {}
                Some((job, outcome)) = sending.next() => self.report(job, outcome),
                () = alarm => {}
            }
        }
    }

    async fn attempt(&self, job: Job) -> (Job, Result<(), Failure>) {
        let delivery = self.send(job.body.clone(), false).await;
        let outcome = match &delivery.outcome {
            Outcome::Answered(status) if status.is_success() => Ok(()),
            Outcome::Answered(status) => Err(Failure {
                reason: format!("the answer was {status}"),
                answered: true,
            }),
            Outcome::Failed(reason) => Err(Failure {
                reason: reason.clone(),
                answered: false,
            }),
        };
        (job, outcome)
    }

    /// Sends the request of an attempt once more, beside the queue: nothing waits for it and it is not tried again.
    pub(super) async fn replay(&self, attempt: &Delivery) -> Arc<Delivery> {
        self.send(attempt.body.clone(), true).await
    }

    /// Sends a signed request and writes down what became of it.
    async fn send(&self, body: Bytes, is_replay: bool) -> Arc<Delivery> {
        let (unix_ms, began) = (clock::unix_ms(), Instant::now());
        let (webhook, StandsFor { app, place }) = (&self.webhook, self.stands_for());
        let request = self.client.post(webhook.url.clone());
        let request = request
            .headers(webhook.headers.clone())
            .header(CONTENT_TYPE, "application/json")
            .header("X-Pusher-Key", &app.key)
            .header("X-Pusher-Signature", sign_webhook(&app.secret, &body))
            .body(body.clone());
        let outcome = match request.send().await {
            Ok(response) => {
                let status = response.status();
                finish(response).await;
                Outcome::Answered(status)
            }
            Err(error) => Outcome::Failed(outbound::reason(error)),
        };
        self.log.write(|number| Delivery {
            number,
            unix_ms,
            webhook: place,
            sender: self.number,
            receiver: webhook.url.origin().ascii_serialization(),
            body,
            outcome,
            took: began.elapsed(),
            is_replay,
        })
    }

    fn report(&self, job: Job, outcome: Result<(), Failure>) {
        let now = Instant::now();
        match outcome {
            Ok(()) => self.queue().delivered(job, now),
            Err(failure) => {
                let StandsFor { app, place } = self.stands_for();
                debug!(app = app.id, webhook = place, reason = %failure.reason, "a webhook's request failed");
                // Without a random number the pauses are only less spread.
                let random = getrandom::u32().unwrap_or_default();
                self.queue().failed(job, failure, random, now);
            }
        }
    }

    /// The host alone stands for the receiver: what follows it may be a secret.
    fn log(&self, note: Note) {
        let StandsFor { app, place } = self.stands_for();
        let (app, webhook) = (&app.id, place);
        let host = self.webhook.url.host_str().unwrap_or_default();
        match note {
            Note::Failing { reason } => {
                warn!(app, webhook, host, %reason, "a webhook fails; its events are sent again until it works");
            }
            Note::GivenUp { events } => {
                warn!(
                    app,
                    webhook, host, events, "a webhook has failed for too long; events were dropped"
                );
            }
            Note::Recovered { given_up } => {
                info!(
                    app,
                    webhook,
                    host,
                    dropped = given_up,
                    "a webhook works again"
                );
            }
            Note::Full => {
                warn!(
                    app,
                    webhook,
                    host,
                    "a webhook is too slow and its queue is full; new events are dropped"
                );
            }
            Note::RoomAgain { lost } => {
                warn!(
                    app,
                    webhook,
                    host,
                    dropped = lost,
                    "a webhook's queue has room again"
                );
            }
        }
    }

    fn stands_for(&self) -> StandsFor {
        let stands_for = self.stands_for.read();
        stands_for.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        // A panic in there is a mistake of ours; the others' events are still to be delivered.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads what is left of an answer. Whether that works is no matter: the status has been said.
async fn finish(mut response: Response) {
    let mut read = 0;
    while let Ok(Some(chunk)) = response.chunk().await
        && read <= ANSWER_BYTES
    {
        read += chunk.len();
    }
}
