//! The receivers of one app: those that its list names now, and those it names no more, which still get what waits for them.
//! A list that changes leaves the receivers alone whose settings it leaves alone.

use std::collections::VecDeque;
use std::sync::Arc;

use tracing::warn;

use super::Totals;
use super::sender::Sender;
use crate::apps::{App, Webhook, WebhookEvent, WebhookEvents};

/// Receivers of an app that end at a time, besides those of the list that was the last, however long that was. Each has what
/// waits for it for five minutes at most; a list that changes every few seconds, of receivers that do not answer, comes to this.
const MOST_LEAVING: usize = 16;

/// See the module.
#[derive(Default)]
pub(super) struct Receivers {
    named: Vec<Arc<Sender>>,
    /// The oldest first.
    leaving: VecDeque<Arc<Sender>>,
    /// Those whose task has not begun.
    new: Vec<Arc<Sender>>,
    /// Events that have to be looked at, which are more than those somebody wants: a return ends an absence.
    relevant: WebhookEvents,
    /// How many there have been.
    count: u32,
    /// Of those that have left.
    past: Totals,
    /// Nobody is added any more.
    ended: bool,
}

impl Receivers {
    /// Puts this app's list in force. `make` makes a sender for one of its webhooks, with its number among all there have been
    /// and its place in the list.
    pub(super) fn renew(&mut self, app: &Arc<App>, make: impl Fn(&Webhook, u32, usize) -> Sender) {
        if self.ended {
            return;
        }
        let mut before = std::mem::take(&mut self.named);
        for (place, webhook) in app.webhooks.iter().enumerate() {
            let same = before.iter().position(|sender| sender.tells(webhook));
            let sender = match same.map(|same| before.remove(same)) {
                Some(sender) => {
                    sender.stand_for(app.clone(), place);
                    sender
                }
                None => {
                    self.count += 1;
                    let sender = Arc::new(make(webhook, self.count, place));
                    self.new.push(sender.clone());
                    sender
                }
            };
            self.named.push(sender);
        }
        for sender in &before {
            sender.end();
        }
        // Those that leave now have their time, so that one change of a long list gives up nothing.
        let most = MOST_LEAVING + before.len();
        self.leaving.extend(before);
        self.settle();
        while self.leaving.len() > most
            && let Some(oldest) = self.leaving.pop_front()
        {
            let dropped = oldest.give_up();
            self.past = self.past.and(oldest.totals());
            let app = &app.id;
            warn!(
                app,
                dropped,
                "too many receivers that are named no more have not taken what waits for them; the oldest are given up"
            );
        }
        let wanted = app.webhooks.iter().map(|webhook| webhook.events);
        self.relevant = with_opposites(wanted.fold(WebhookEvents::default(), WebhookEvents::union));
    }

    /// Whether such an event has to be looked at.
    pub(super) fn concerns(&self, event: WebhookEvent) -> bool {
        self.relevant.contains(event)
    }

    /// Those that are told what happens.
    pub(super) fn named(&self) -> &[Arc<Sender>] {
        &self.named
    }

    /// The one with this number, if it is named still.
    pub(super) fn numbered(&self, number: u32) -> Option<&Arc<Sender>> {
        self.named.iter().find(|sender| sender.number() == number)
    }

    /// Those whose task is to begin.
    pub(super) fn take_new(&mut self) -> Vec<Arc<Sender>> {
        std::mem::take(&mut self.new)
    }

    /// All get what waits for them, and their tasks return.
    pub(super) fn end(&mut self) {
        self.ended = true;
        for sender in &self.named {
            sender.end();
        }
    }

    /// Keeps of those that have got all only what became of it.
    pub(super) fn settle(&mut self) {
        let past = &mut self.past;
        self.leaving.retain(|sender| {
            let waits = sender.waiting() > 0;
            if !waits {
                *past = past.and(sender.totals());
            }
            waits
        });
    }

    /// Events that are neither delivered nor given up.
    pub(super) fn waiting(&self) -> usize {
        let all = self.named.iter().chain(&self.leaving);
        all.map(|sender| sender.waiting()).sum()
    }

    pub(super) fn totals(&self) -> Totals {
        let all = self.named.iter().chain(&self.leaving);
        all.map(|sender| sender.totals())
            .fold(self.past, Totals::and)
    }
}

/// With whichever of occupied and vacated, of added and removed, is missing from the pair.
fn with_opposites(events: WebhookEvents) -> WebhookEvents {
    use WebhookEvent::{ChannelOccupied, ChannelVacated, MemberAdded, MemberRemoved};
    let pairs = [
        [ChannelOccupied, ChannelVacated],
        [MemberAdded, MemberRemoved],
    ];
    let touched = pairs
        .into_iter()
        .filter(|pair| pair.iter().any(|event| events.contains(*event)));
    events.union(touched.flatten().collect())
}
