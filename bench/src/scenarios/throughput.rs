//! As many deliveries as the server makes, with a driver that leaves it the machine: subscribers do not wake for what
//! arrives, all of them are read every few milliseconds, and bytes are counted instead of messages. This is what one shard
//! can be held against two with on a machine of two cores; the other scenarios' driver takes a core for itself.
//!
//! Every frame has the same length, which the first one tells, so bytes are deliveries. What is lost or duplicated is seen
//! so, each subscriber for itself; order is for the other scenarios to see.

use std::{
    cell::{Cell, RefCell},
    net::TcpStream,
    rc::Rc,
    time::{Duration, Instant},
};

use rustix::{
    io::Errno,
    net::{RecvFlags, recv},
};
use tokio::{
    sync::Notify,
    task::{JoinSet, yield_now},
    time::sleep,
};

use crate::{
    board::WARM_UP,
    client::Client,
    crowd::{self, AT_ONCE},
    error::BenchError,
    publisher::HttpPublisher,
    random::Random,
    report::{Figure, Unit},
    scenarios::channels::channels_of,
    stamp::Stamp,
    tally::GRACE,
    target::Subject,
};

/// Keep-alive connections that publish, one request at a time on each.
const PUBLISHERS: u16 = 16;
/// Deliveries that are published and not read: several rounds of reading, and less for each subscriber than its socket takes.
const UNREAD: u64 = 150_000;
/// Sockets read a second: a few percent of a core.
const READS_PER_S: usize = 100_000;
/// Sockets read before publishers have a turn.
const READS_AT_ONCE: usize = 64;
/// One read; more waits in the socket.
const READ_BYTES: usize = 256 * 1024;

/// How many of what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    pub(crate) channels: usize,
    /// Channels of a connection, at random.
    pub(crate) each: usize,
    /// Channels of a publish, at random.
    pub(crate) at_once: usize,
    pub(crate) length: Duration,
    pub(crate) payload: usize,
}

/// Runs the plan. Needs a `LocalSet`.
pub(crate) async fn run(subject: &Subject, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    let Subject { target, meter } = subject;
    let app = subject.app()?;
    let plan = *plan;
    let lists = move |index| channels_of(index, plan.each, plan.channels);
    let crowd = crowd::open(target, plan.connections, AT_ONCE, move |index| {
        lists(index).into_iter().map(name).collect()
    });
    let clients = crowd.await.complete()?;
    let sockets = clients.into_iter().map(Client::into_socket);
    let mut readers = Readers::of(sockets.collect::<Result<_, _>>()?);

    let mut subscribers = vec![0; plan.channels];
    for channel in (0..plan.connections).flat_map(lists) {
        subscribers[channel as usize] += 1;
    }
    let Some(first) = subscribers.iter().position(|&count| count > 0) else {
        return Err(BenchError::Protocol("nobody is subscribed".to_owned()));
    };
    let flow = Rc::new(Flow {
        subscribers,
        published: RefCell::new(vec![0; plan.channels]),
        sent: Cell::new(0),
        read: Cell::new(0),
        room: Notify::new(),
        refused: Cell::new(0),
        end: Cell::new(None),
    });
    let mut publisher = HttpPublisher::open(app.clone()).await?;
    let data = stamp(0, 0).payload(plan.payload);
    publisher.publish(&name(first as u32), &data).await?;
    flow.enter(&[first as u32]);
    let hear = (0..plan.connections).filter(|&index| lists(index).contains(&(first as u32)));
    readers.learn(&hear.collect::<Vec<_>>()).await?;

    let mut publishing = JoinSet::new();
    for source in 0..PUBLISHERS {
        let publisher = HttpPublisher::open(app.clone()).await?;
        publishing.spawn_local(publish(publisher, source, plan, flow.clone()));
    }
    readers.read_for(&flow, WARM_UP.min(plan.length)).await?;
    let (before, warm) = (meter.read()?, flow.read.get());
    readers.read_for(&flow, plan.length).await?;
    let deliveries = flow.read.get() - warm;
    let per_second = deliveries as f64 / before.elapsed_s();
    let mut figures = vec![Figure::new(
        "deliveries per second",
        Unit::Count,
        per_second,
    )];
    figures.extend(meter.each("CPU per delivery", deliveries, &before)?);
    figures.extend(meter.busy(&before)?);

    flow.end.set(Some(Instant::now()));
    let grace = Instant::now() + GRACE;
    while flow.read.get() < flow.sent.get() && Instant::now() < grace || !publishing.is_empty() {
        readers.read_for(&flow, Duration::ZERO).await?;
        sleep(Duration::from_millis(1)).await;
        while let Some(done) = publishing.try_join_next() {
            done.map_err(|e| BenchError::Protocol(e.to_string()))??;
        }
    }
    let (mut lost, mut more) = (0, 0);
    for (index, bytes) in readers.bytes.iter().enumerate() {
        let published = flow.published.borrow();
        let expected: u64 = lists(index).iter().map(|&c| published[c as usize]).sum();
        lost += expected.saturating_sub(bytes / readers.frame);
        more += (bytes / readers.frame).saturating_sub(expected);
    }
    let cut_off = readers.ended.iter().filter(|&&ended| ended);
    figures.extend([
        Figure::count("lost", lost),
        Figure::count("duplicated", more),
        Figure::count("cut off", cut_off.count() as u64),
        Figure::count("publishes refused", flow.refused.get()),
    ]);
    Ok(figures)
}

/// What is published and what of it has been read.
struct Flow {
    /// Of each channel.
    subscribers: Vec<u64>,
    /// How often to each channel.
    published: RefCell<Vec<u64>>,
    /// Deliveries that have been published.
    sent: Cell<u64>,
    /// Deliveries that have been read.
    read: Cell<u64>,
    /// Rung when more has been read.
    room: Notify,
    refused: Cell<u64>,
    /// Since when there is nothing more to publish.
    end: Cell<Option<Instant>>,
}

impl Flow {
    /// Enters a publish to these channels.
    fn enter(&self, channels: &[u32]) {
        let mut published = self.published.borrow_mut();
        for &channel in channels {
            published[channel as usize] += 1;
            let more = self.subscribers[channel as usize];
            self.sent.set(self.sent.get() + more);
        }
    }
}

/// One publisher: the next request when the one before is answered and not too much is unread.
async fn publish(
    mut publisher: HttpPublisher,
    source: u16,
    plan: Plan,
    flow: Rc<Flow>,
) -> Result<(), BenchError> {
    let mut random = Random::new(u64::from(source) + 1);
    let mut sequence = 0;
    while flow.end.get().is_none() {
        if flow.sent.get() - flow.read.get() >= UNREAD {
            flow.room.notified().await;
            continue;
        }
        let mut channels = Vec::with_capacity(plan.at_once);
        for _ in 0..plan.at_once {
            let channel = random.below(plan.channels as u64) as u32;
            // A channel is named once in a request; one fewer now and then does not matter.
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        }
        let names: Vec<String> = channels.iter().copied().map(name).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        let data = stamp(source, sequence).payload(plan.payload);
        sequence += 1;
        flow.enter(&channels);
        match publisher.publish_to(&names, &data).await {
            Ok(()) => {}
            // What was refused is told so, and then lacks too.
            Err(BenchError::Refused { .. }) => flow.refused.set(flow.refused.get() + 1),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// The subscribers.
struct Readers {
    sockets: Vec<TcpStream>,
    /// Read from each.
    bytes: Vec<u64>,
    /// Bytes of a delivery, once that is known.
    frame: u64,
    /// Which ones the server has ended.
    ended: Vec<bool>,
    scratch: Vec<u8>,
}

impl Readers {
    fn of(sockets: Vec<TcpStream>) -> Self {
        Self {
            bytes: vec![0; sockets.len()],
            ended: vec![false; sockets.len()],
            sockets,
            frame: 1,
            scratch: vec![0; READ_BYTES],
        }
    }

    /// Waits until these have something, which is one frame, and takes its length.
    async fn learn(&mut self, hear: &[usize]) -> Result<(), BenchError> {
        let deadline = Instant::now() + GRACE;
        while hear.iter().any(|&index| self.bytes[index] == 0) {
            if Instant::now() > deadline {
                return Err(BenchError::Deadline {
                    what: "the first delivery",
                    seconds: GRACE.as_secs(),
                });
            }
            self.round().await?;
            sleep(Duration::from_millis(1)).await;
        }
        self.frame = self.bytes[hear[0]];
        match hear.iter().all(|&index| self.bytes[index] == self.frame) {
            true => Ok(()),
            false => Err(BenchError::Protocol(
                "the same event was of different length to different subscribers".to_owned(),
            )),
        }
    }

    /// Reads round after round, at the pace that is for so many; at least one.
    async fn read_for(&mut self, flow: &Flow, length: Duration) -> Result<(), BenchError> {
        let pace = Duration::from_secs(1) * self.sockets.len() as u32 / READS_PER_S as u32;
        let end = Instant::now() + length;
        loop {
            let begun = Instant::now();
            self.round().await?;
            let bytes: u64 = self.bytes.iter().sum();
            flow.read.set(bytes / self.frame);
            flow.room.notify_waiters();
            if Instant::now() >= end {
                return Ok(());
            }
            sleep(
                pace.saturating_sub(begun.elapsed())
                    .max(Duration::from_millis(1)),
            )
            .await;
        }
    }

    /// Reads all that has arrived.
    async fn round(&mut self) -> Result<(), BenchError> {
        for index in 0..self.sockets.len() {
            loop {
                // The kernel drops the bytes and says how many they were (tcp(7)): a copy would be the driver's largest cost.
                let dropped = recv(&self.sockets[index], &mut *self.scratch, RecvFlags::TRUNC);
                match dropped.map(|(_, count)| count) {
                    Ok(0) => {
                        self.ended[index] = true;
                        break;
                    }
                    Ok(count) => {
                        self.bytes[index] += count as u64;
                        if count < READ_BYTES {
                            break;
                        }
                    }
                    Err(Errno::AGAIN) => break,
                    Err(error) => {
                        return Err(BenchError::io("reading from the server")(error.into()));
                    }
                }
            }
            if index % READS_AT_ONCE == READS_AT_ONCE - 1 {
                yield_now().await;
            }
        }
        Ok(())
    }
}

fn name(channel: u32) -> String {
    format!("bench-throughput-{channel:06}")
}

fn stamp(source: u16, sequence: u64) -> Stamp {
    Stamp {
        source: source.into(),
        sequence,
        due_ns: 0,
    }
}
