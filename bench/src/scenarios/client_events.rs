//! Client events: members of many private channels talk to each other, as whispers and typing do. Each channel's other
//! members have to hear every member in its order.

use std::{
    rc::Rc,
    time::{Duration, Instant},
};

use serde_json::json;
use tokio::task::JoinSet;

use crate::{
    crowd::{self, AT_ONCE},
    error::BenchError,
    ledger::Ledger,
    pace::Schedule,
    report::{Figure, Unit, latency},
    tally::Tally,
    target::Subject,
};

/// How many, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) channels: usize,
    /// Members of each channel.
    pub(crate) members: usize,
    /// Events a second of each member. Servers allow about ten.
    pub(crate) rate: f64,
    pub(crate) length: Duration,
    pub(crate) payload: usize,
}

/// Runs the plan. Needs a `LocalSet`.
pub(crate) async fn run(subject: &Subject, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    let Subject { target, meter } = subject;
    subject.app()?;
    let (count, members) = (plan.channels * plan.members, plan.members);
    let crowd = crowd::open(target, count, AT_ONCE, move |index| {
        vec![name(index / members)]
    });
    let clients = crowd.await.complete()?;
    let sources = u32::try_from(count).unwrap_or(u32::MAX);
    let others = |own: u32| {
        let first = own - own % members as u32;
        let all = first..first + members as u32;
        all.filter(move |&other| other != own).collect()
    };
    let ledger = Ledger::of((0..sources).map(others), sources);
    let tally = Rc::new(Tally::new(ledger, Instant::now()));
    let mut receivers = JoinSet::new();
    let mut senders = Vec::new();
    for client in clients {
        senders.push(client.sender());
        let tally = tally.clone();
        receivers.spawn_local(async move {
            let (index, mut hint) = (client.index, 0);
            let ended = client.receive(|message| {
                tally.received(index, message, &mut hint);
            });
            ended.await
        });
    }

    let before = meter.read()?;
    let mut schedule = Schedule::new(plan.rate * count as f64, plan.length);
    let (mut sent, mut failed) = (0_u64, 0);
    while let Some(due) = schedule.next().await {
        let member = (sent % count as u64) as usize;
        sent += 1;
        let source = member as u32;
        let data = tally.publish(source, due).payload(plan.payload);
        let event =
            json!({"event": "client-bench", "channel": name(member / members), "data": data});
        if senders[member].send(&event.to_string()).is_err() {
            tally.refused(source);
            failed += 1;
        }
    }
    tally.settle(0).await;
    let deliveries = tally.totals().delivered;
    let mut figures = Vec::new();
    figures.extend(meter.each("CPU per client event", sent, &before)?);
    figures.extend(meter.each("CPU per delivery", deliveries, &before)?);
    figures.extend(meter.busy(&before)?);
    let per_second = |count: u64| count as f64 / before.elapsed_s();
    figures.extend([
        Figure::new("client events per second", Unit::Count, per_second(sent)),
        Figure::new("deliveries per second", Unit::Count, per_second(deliveries)),
    ]);
    figures.extend(latency("delivery", &tally.delivery_us.borrow()));
    figures.push(Figure::count("events skipped", schedule.skipped()));
    figures.push(Figure::count("failed", failed));
    figures.extend(tally.faults());
    let mut cut_off = 0;
    while let Some(Ok(why)) = receivers.try_join_next() {
        eprintln!("cut off: {why}");
        cut_off += 1;
    }
    figures.push(Figure::count("cut off", cut_off));
    Ok(figures)
}

fn name(channel: usize) -> String {
    format!("private-bench-{channel}")
}
