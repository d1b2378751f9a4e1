//! The back end that webhooks go to, and the balance of what it is told: who came has gone, once each.
//!
//! Visits are made in eras. An era without a fault that may cost a webhook must balance to the last event; one with such a
//! fault (a killed node takes its queue with it, an empty Redis knows nobody who left) is only counted.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;

use bytes::Bytes;
use gema_protocol::auth::sign_webhook;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::spawn_local;

use crate::error::SoakError;
use crate::findings::Findings;
use crate::ledger::count;
use crate::node::SECRET;

/// What stands before the era's number in the name of a channel that is visited.
pub(crate) const VISITED: &str = "visit-";

/// A channel, or one user in it.
type Place = (String, Option<String>);

/// What was told of a place.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    came: u64,
    gone: u64,
}

/// What was told, and what was visited.
#[derive(Debug, Default)]
pub(crate) struct Webhooks {
    eras: RefCell<BTreeMap<u32, Era>>,
    pub(crate) events: Cell<u64>,
    /// Events about eras that are closed.
    late: Cell<u64>,
}

#[derive(Debug, Default)]
struct Era {
    visited: BTreeSet<Place>,
    told: BTreeMap<Place, Told>,
}

impl Webhooks {
    /// Somebody's subscription in this era was acknowledged.
    pub(crate) fn visited(&self, era: u32, channel: &str, user: &str) {
        let mut eras = self.eras.borrow_mut();
        let visited = &mut eras.entry(era).or_default().visited;
        visited.insert((channel.to_owned(), None));
        if channel.starts_with("presence-") {
            visited.insert((channel.to_owned(), Some(user.to_owned())));
        }
    }

    /// Places of the era about which more, or less, was told than happened: each in words. Empty when all is told.
    pub(crate) fn unbalanced(&self, era: u32) -> Vec<String> {
        let eras = self.eras.borrow();
        let Some(era) = eras.get(&era) else {
            return Vec::new();
        };
        let known = era.visited.iter().chain(era.told.keys());
        let places: BTreeSet<&Place> = known.collect();
        let told = |place: &Place| era.told.get(place).copied().unwrap_or_default();
        places
            .into_iter()
            .map(|place| (place, told(place)))
            .filter(|(_, told)| told.came == 0 || told.came != told.gone)
            .map(|((channel, user), Told { came, gone })| {
                let user = user.as_deref().unwrap_or("the channel");
                format!("{channel}, {user}: came {came} times, went {gone} times")
            })
            .collect()
    }

    /// Forgets an era: what is told of it from now on is late.
    pub(crate) fn forget(&self, era: u32) {
        let mut eras = self.eras.borrow_mut();
        eras.retain(|number, _| *number > era);
    }

    /// Events about eras that were closed.
    pub(crate) fn late(&self) -> u64 {
        self.late.get()
    }

    fn told(&self, event: &Value, current: u32) {
        count(&self.events, 1);
        let channel = event["channel"].as_str().unwrap_or_default();
        let Some(number) = era_of(channel) else {
            return;
        };
        let mut eras = self.eras.borrow_mut();
        let oldest = eras.keys().next().copied().unwrap_or(current);
        if number < oldest {
            count(&self.late, 1);
            return;
        }
        let user = event["user_id"].as_str().map(str::to_owned);
        let told = &mut eras.entry(number).or_default().told;
        let told = told.entry((channel.to_owned(), user)).or_default();
        match event["name"].as_str() {
            Some("channel_occupied" | "member_added") => told.came += 1,
            Some("channel_vacated" | "member_removed") => told.gone += 1,
            _ => {}
        }
    }
}

/// The number behind [`VISITED`] in a channel's name.
fn era_of(channel: &str) -> Option<u32> {
    let (_, rest) = channel.split_once(VISITED)?;
    rest.split('-').next()?.parse().ok()
}

/// Starts to listen; gives the URL. `era` is the one that is being visited.
pub(crate) async fn receive(
    webhooks: Rc<Webhooks>,
    era: Rc<Cell<u32>>,
    findings: Rc<Findings>,
) -> Result<String, SoakError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
    let io = || SoakError::io("listening for webhooks");
    let listener = listener.map_err(io())?;
    let address: SocketAddr = listener.local_addr().map_err(io())?;
    spawn_local(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let (webhooks, era, findings) = (webhooks.clone(), era.clone(), findings.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (webhooks, era, findings) = (webhooks.clone(), era.clone(), findings.clone());
                async move {
                    take(request, &webhooks, era.get(), &findings).await;
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::new())))
                }
            });
            // It ends with an error when a node is killed.
            spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    Ok(format!("http://{address}/"))
}

async fn take(request: Request<Incoming>, webhooks: &Webhooks, era: u32, findings: &Findings) {
    let signature = request.headers().get("x-pusher-signature").cloned();
    let Ok(body) = request.into_body().collect().await else {
        return;
    };
    let body = body.to_bytes();
    let expected = sign_webhook(SECRET, &body);
    if signature.is_none_or(|given| given.as_bytes() != expected.as_bytes()) {
        findings.add("webhook", "one that is not signed");
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    for event in body["events"].as_array().into_iter().flatten() {
        webhooks.told(event, era);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const CHANNEL: &str = "presence-visit-3-1";

    fn told(webhooks: &Webhooks, name: &str, user: Option<&str>) {
        webhooks.told(
            &json!({ "name": name, "channel": CHANNEL, "user_id": user }),
            3,
        );
    }

    #[test]
    fn an_era_balances_when_all_who_came_were_told_to_come_and_to_go() {
        let webhooks = Webhooks::default();
        webhooks.visited(3, CHANNEL, "7");
        assert_eq!(webhooks.unbalanced(3).len(), 2);
        told(&webhooks, "channel_occupied", None);
        told(&webhooks, "member_added", Some("7"));
        assert_eq!(webhooks.unbalanced(3).len(), 2);
        told(&webhooks, "member_removed", Some("7"));
        told(&webhooks, "channel_vacated", None);
        assert_eq!(webhooks.unbalanced(3), [""; 0]);
        told(&webhooks, "member_removed", Some("7"));
        assert_eq!(
            webhooks.unbalanced(3),
            [format!("{CHANNEL}, 7: came 1 times, went 2 times")]
        );
    }

    #[test]
    fn what_is_told_of_a_closed_era_is_late() {
        let webhooks = Webhooks::default();
        webhooks.visited(3, CHANNEL, "7");
        webhooks.forget(3);
        webhooks.visited(4, "visit-4-0", "7");
        told(&webhooks, "channel_vacated", None);
        assert_eq!(webhooks.late(), 1);
        assert_eq!(webhooks.unbalanced(3), [""; 0]);
    }
}
