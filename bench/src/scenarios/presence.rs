//! A presence storm: members join one channel as quickly as the server takes them, one more comes and goes, and half of
//! them leave. Everybody has to hear of everybody else exactly once.

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{
    sync::{Notify, Semaphore},
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};

use crate::{
    client::{Client, subscription},
    crowd::{AT_ONCE, SETUP},
    error::BenchError,
    report::{Figure, Unit, histogram, latency},
    roll::Roll,
    tally::GRACE,
    target::{App, Subject},
};

const CHANNEL: &str = "presence-bench";
/// User ids are this and a number of six digits.
const MARK: &[u8] = b"bench-member-";
const DIGITS: usize = 6;

/// How many members.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) members: usize,
    /// How often one more member joins and leaves while all the others listen.
    pub(crate) visits: u32,
}

/// What the members' tasks share.
struct Hall {
    roll: RefCell<Roll>,
    setup_us: RefCell<hdrhistogram::Histogram<u64>>,
    /// Rung by each member that is in, or has failed.
    arrived: Notify,
    settled: RefCell<(usize, Vec<String>)>,
}

/// Runs the plan. Needs a `LocalSet`.
pub(crate) async fn run(subject: &Subject, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    let (app, meter) = (subject.app()?, subject.meter);
    let hall = Rc::new(Hall {
        // The visitor has a number too.
        roll: RefCell::new(Roll::new(plan.members, plan.members + 1)),
        setup_us: RefCell::new(histogram()),
        arrived: Notify::new(),
        settled: RefCell::default(),
    });
    let mut tasks = JoinSet::new();
    let doors = Rc::new(Semaphore::new(AT_ONCE));
    let before = meter.read()?;
    let members: Vec<AbortHandle> = (0..plan.members)
        .map(|number| {
            let (app, hall, doors) = (app.clone(), hall.clone(), doors.clone());
            tasks.spawn_local(async move { member(&app, number, &hall, &doors).await })
        })
        .collect();
    while hall.settled.borrow().0 < plan.members {
        hall.arrived.notified().await;
    }
    let came = hall.settled.borrow().0 - hall.settled.borrow().1.len();
    let joined_s = before.elapsed_s();
    settle(|| hall.roll.borrow().added() >= hall.roll.borrow().expected_added()).await;
    let told = hall.roll.borrow().added();
    let mut figures = vec![Figure::new(
        "joins per second",
        Unit::Count,
        came as f64 / joined_s,
    )];
    figures.extend(meter.each("CPU per join", came as u64, &before)?);
    figures.extend(meter.each("CPU per member_added", told, &before)?);
    figures.extend(latency("connect to joined", &hall.setup_us.borrow()));
    figures.extend(meter.rss("RSS")?);

    let before = meter.read()?;
    visit(app, plan).await?;
    let visits = u64::from(plan.visits);
    for _ in 0..plan.visits {
        hall.roll.borrow_mut().visited(plan.members);
    }
    settle(|| hall.roll.borrow().removed() >= hall.roll.borrow().expected_removed()).await;
    if visits > 0 {
        figures.extend(meter.each("CPU per join and leave", visits, &before)?);
    }

    for (number, member) in members.iter().enumerate().step_by(2) {
        member.abort();
        hall.roll.borrow_mut().leave(number);
    }
    settle(|| hall.roll.borrow().removed() >= hall.roll.borrow().expected_removed()).await;
    figures.extend(hall.roll.borrow().figures());
    let failed = hall.settled.borrow();
    if let Some(why) = failed.1.first() {
        eprintln!("{} members failed, the first: {why}", failed.1.len());
    }
    figures.push(Figure::count("failed", failed.1.len() as u64));
    Ok(figures)
}

async fn settle(done: impl Fn() -> bool) {
    let deadline = Instant::now() + GRACE;
    while !done() && Instant::now() < deadline {
        sleep(Duration::from_millis(2)).await;
    }
    // What comes twice comes late.
    sleep(Duration::from_millis(50)).await;
}

/// Joins, and enters all that is told until the connection ends.
async fn member(app: &App, number: usize, hall: &Rc<Hall>, doors: &Semaphore) {
    // Never closed.
    let door = doors.acquire().await.ok();
    let begun = Instant::now();
    let user = user(number);
    let mut door = Some(door);
    let joining = async {
        let (client, socket) = Client::connect(app, number, None).await?;
        let data = json!({"user_id": user, "user_info": {"name": "somebody"}}).to_string();
        client
            .send(&subscription(app, &socket, CHANNEL, Some(&data)))
            .await?;
        Ok::<_, BenchError>(client)
    };
    let client = match timeout(SETUP, joining).await {
        Ok(Ok(client)) => client,
        Ok(Err(error)) => return hall.settle(Some(error.to_string())),
        Err(_) => return hall.settle(Some("took too long".to_owned())),
    };
    let mut is_in = false;
    let ended = client.receive(|message| {
        if contains(message, b"pusher_internal:member_added") {
            numbers(message, |other| {
                hall.roll.borrow_mut().hear_added(number, other)
            });
        } else if contains(message, b"pusher_internal:member_removed") {
            numbers(message, |other| {
                hall.roll.borrow_mut().hear_removed(number, other)
            });
        } else if !is_in && contains(message, b"pusher_internal:subscription_succeeded") {
            is_in = true;
            hall.roll.borrow_mut().join(number, &ids(message));
            let took_us = begun.elapsed().as_micros() as u64;
            hall.setup_us.borrow_mut().saturating_record(took_us);
            door.take();
            hall.settle(None);
        } else if !is_in && contains(message, b"error") {
            is_in = true;
            door.take();
            hall.settle(Some(String::from_utf8_lossy(message).into_owned()));
        }
    });
    let why = ended.await.to_string();
    if is_in {
        hall.roll.borrow_mut().cut_off += 1;
        eprintln!("member {number} was cut off: {why}");
    } else {
        hall.settle(Some(why));
    }
}

impl Hall {
    fn settle(&self, failed: Option<String>) {
        let mut settled = self.settled.borrow_mut();
        settled.0 += 1;
        settled.1.extend(failed);
        self.arrived.notify_one();
    }
}

/// One connection that joins and leaves.
async fn visit(app: &App, plan: &Plan) -> Result<(), BenchError> {
    let (mut client, socket) = Client::connect(app, plan.members, None).await?;
    let data = json!({"user_id": user(plan.members)}).to_string();
    let join = subscription(app, &socket, CHANNEL, Some(&data));
    let leave = json!({"event": "pusher:unsubscribe", "data": {"channel": CHANNEL}}).to_string();
    for _ in 0..plan.visits {
        client.send(&join).await?;
        client
            .wait_for("pusher_internal:subscription_succeeded", 1)
            .await?;
        client.send(&leave).await?;
    }
    // Answered after the last leave, for messages are taken in order.
    client.send(r#"{"event":"pusher:ping","data":{}}"#).await?;
    client.wait_for("pusher:pong", 1).await?;
    Ok(())
}

fn user(number: usize) -> String {
    format!("bench-member-{number:06}")
}

fn contains(message: &[u8], name: &[u8]) -> bool {
    // The event's name stands near the start or the end, by the server's taste.
    message.windows(name.len()).any(|window| window == name)
}

/// The member that a short message names; the first time only, for `user_info` may name it again.
fn numbers(message: &[u8], mut found: impl FnMut(usize)) {
    if let Some(at) = message.windows(MARK.len()).position(|w| w == MARK) {
        let digits = message.get(at + MARK.len()..at + MARK.len() + DIGITS);
        let number = digits.and_then(|digits| std::str::from_utf8(digits).ok()?.parse().ok());
        number.into_iter().for_each(&mut found);
    }
}

/// The members in the answer to a subscription.
fn ids(message: &[u8]) -> Vec<usize> {
    let message: Value = serde_json::from_slice(message).unwrap_or_default();
    // A string that holds JSON, or, from some servers, the object itself.
    let inner = message["data"]
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or_else(|| message["data"].clone());
    let hash = inner["presence"]["hash"].as_object();
    hash.into_iter()
        .flat_map(|hash| hash.keys())
        .filter_map(|id| id.strip_prefix("bench-member-")?.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_are_read_from_what_servers_say() {
        let added = br#"{"event":"pusher_internal:member_added","channel":"presence-bench","data":"{\"user_id\":\"bench-member-000042\"}"}"#;
        let mut seen = Vec::new();
        numbers(added, |number| seen.push(number));
        assert_eq!(seen, [42]);
        let data = json!({"presence": {"count": 2, "ids": ["x"], "hash": {"bench-member-000001": {}, "bench-member-000017": null}}});
        let message =
            json!({"event": "pusher_internal:subscription_succeeded", "data": data.to_string()});
        assert_eq!(ids(message.to_string().as_bytes()), [1, 17]);
        let message = json!({"data": data});
        assert_eq!(ids(message.to_string().as_bytes()), [1, 17]);
        assert!(ids(b"{}").is_empty());
    }
}
