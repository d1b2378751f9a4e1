//! One channel, many subscribers: what a delivery costs the server, how late it comes, and whether all of them do.
//! Paced (open loop, latency counted from when a publish was due) or saturated (closed loop: a publish is in flight
//! until every subscriber has it).

use std::{
    cell::RefCell,
    rc::Rc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{sleep, sleep_until, timeout_at},
};

use crate::{
    client::{self, Target},
    error::BenchError,
    ledger::{Ledger, Verdict},
    procfs::{self, Cpu},
    publisher::Publisher,
    report::{Figure, Unit, latency},
    stamp::Stamp,
};

const CHANNEL: &str = "bench-fanout";
/// Publishing before anything is measured, so that buffers, caches and just-in-time compilers are warm.
const WARM_UP: Duration = Duration::from_secs(1);
/// How long after the last publish its deliveries may still come; what is missing then is lost.
const GRACE: Duration = Duration::from_secs(5);

/// What drives the publishing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// So many publishes a second from one publisher, whatever the server does.
    PerSecond(u32),
    /// So many publishes that not all subscribers have yet, each from its own publisher.
    InFlight(u16),
}

/// A fan-out scenario.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) subscribers: usize,
    pub(crate) pace: Pace,
    /// Length of the measured part.
    pub(crate) seconds: u32,
    /// Bytes of the published data.
    pub(crate) payload: usize,
}

/// Runs the plan against a server of process `pid`. Needs to run on a `LocalSet`.
pub(crate) async fn run(target: &Target, plan: &Plan, pid: u32) -> Result<Vec<Figure>, BenchError> {
    let publishers = match plan.pace {
        Pace::PerSecond(_) => 1,
        Pace::InFlight(count) => count,
    };
    let sources = Publisher::open(target, publishers).await?;
    sources[0].announce(plan.subscribers).await?;
    let (subscribers, errors) =
        client::open_all(target, plan.subscribers, |_| CHANNEL.to_owned()).await;
    if let Some(first) = errors.first() {
        return Err(BenchError::Subscribers {
            failed: errors.len(),
            wanted: plan.subscribers,
            first: first.to_string(),
        });
    }
    sources[0].announced().await?;

    let board = Rc::new(Board::new(plan, publishers));
    let mut receivers = JoinSet::new();
    for subscriber in subscribers {
        let board = board.clone();
        receivers.spawn_local(async move {
            let (index, mut hint) = (subscriber.index, 0);
            let why = subscriber
                .receive(|message| board.received(index, message, &mut hint))
                .await;
            board.ended.borrow_mut().push(why);
        });
    }

    let (sources, _) = phase(&board, sources, plan, WARM_UP).await?;
    board.reset_times();
    let warm = board.ledger.borrow().totals();
    let own_pid = std::process::id();
    let (cpu, own_cpu) = (Cpu::of(pid)?, Cpu::of(own_pid)?);
    let started = Instant::now();
    let length = Duration::from_secs(u64::from(plan.seconds));
    let (_, skipped) = phase(&board, sources, plan, length).await?;
    let elapsed = started.elapsed();
    let cpu_ns = Cpu::of(pid)?.used_since(&cpu)?;
    let own_cpu_ns = Cpu::of(own_pid)?.since(&own_cpu);
    let rss_kib = procfs::rss_kib(pid)?;

    let totals = board.ledger.borrow().totals();
    let ended = board.ended.borrow();
    if let Some(why) = ended.first() {
        eprintln!("{} subscribers were cut off, the first: {why}", ended.len());
    }
    let deliveries = totals.delivered - warm.delivered;
    let each_us = cpu_ns as f64 / 1e3 / deliveries.max(1) as f64;
    let busy = |ns: u64| ns as f64 / elapsed.as_nanos() as f64 * 100.0;
    let mut figures = vec![
        Figure::new("CPU per delivery", Unit::Micros, each_us),
        Figure::new("server CPU", Unit::Percent, busy(cpu_ns)),
        // Near 100 % the latencies are the driver's own, not the server's.
        Figure::new("driver CPU", Unit::Percent, busy(own_cpu_ns)),
        Figure::new(
            "deliveries per second",
            Unit::Count,
            deliveries as f64 / elapsed.as_secs_f64(),
        ),
    ];
    figures.extend(latency("delivery", &board.delivery_us.borrow()));
    if matches!(target, Target::Pusher(_)) {
        figures.extend(latency("time to the 200", &board.publish_us.borrow()));
    }
    figures.extend([
        Figure::new("RSS", Unit::Kib, rss_kib as f64),
        Figure::count("publishes skipped", skipped),
        Figure::count("lost", totals.lost()),
        Figure::count("duplicated", totals.duplicated),
        Figure::count("inverted", totals.inverted),
        Figure::count("unknown", totals.unknown),
        Figure::count("cut off", ended.len() as u64),
    ]);
    Ok(figures)
}

/// What publishers and receivers share. All of them run on one thread.
struct Board {
    epoch: Instant,
    ledger: RefCell<Ledger>,
    delivery_us: RefCell<Histogram<u64>>,
    publish_us: RefCell<Histogram<u64>>,
    /// Per publisher: its latest sequence number and how many subscribers still lack it.
    latest: RefCell<Vec<(u64, usize)>>,
    /// Per publisher: rung when all subscribers have its latest.
    everywhere: Vec<Notify>,
    /// Why connections ended that should not have.
    ended: RefCell<Vec<String>>,
    subscribers: usize,
    payload: usize,
}

impl Board {
    fn new(plan: &Plan, publishers: u16) -> Self {
        let count = usize::from(publishers);
        Self {
            epoch: Instant::now(),
            ledger: RefCell::new(Ledger::new(plan.subscribers, count)),
            delivery_us: RefCell::new(crate::report::histogram()),
            publish_us: RefCell::new(crate::report::histogram()),
            latest: RefCell::new(vec![(0, 0); count]),
            everywhere: (0..count).map(|_| Notify::new()).collect(),
            ended: RefCell::default(),
            subscribers: plan.subscribers,
            payload: plan.payload,
        }
    }

    fn reset_times(&self) {
        self.delivery_us.borrow_mut().reset();
        self.publish_us.borrow_mut().reset();
    }

    fn received(&self, subscriber: usize, message: &[u8], hint: &mut usize) {
        let Some(stamp) = Stamp::find(message, hint) else {
            return;
        };
        match self.ledger.borrow_mut().received(subscriber, &stamp) {
            Verdict::InOrder | Verdict::Inverted => {}
            Verdict::Duplicate | Verdict::Unknown => return,
        }
        let now_ns = self.epoch.elapsed().as_nanos() as u64;
        let late_us = now_ns.saturating_sub(stamp.due_ns) / 1_000;
        self.delivery_us.borrow_mut().saturating_record(late_us);
        let publisher = usize::from(stamp.publisher);
        let (sequence, missing) = &mut self.latest.borrow_mut()[publisher];
        if *sequence == stamp.sequence {
            *missing -= 1;
            if *missing == 0 {
                self.everywhere[publisher].notify_one();
            }
        }
    }

    /// Publishes the publisher's next message, stamped as due at `due`.
    async fn publish(
        &self,
        source: &mut Publisher,
        index: u16,
        due: Instant,
    ) -> Result<(), BenchError> {
        let sequence = self.ledger.borrow_mut().publish(index);
        self.latest.borrow_mut()[usize::from(index)] = (sequence, self.subscribers);
        let stamp = Stamp {
            publisher: index,
            sequence,
            due_ns: due.duration_since(self.epoch).as_nanos() as u64,
        };
        let took = source.publish(CHANNEL, stamp.payload(self.payload)).await?;
        let took_us = took.as_micros() as u64;
        self.publish_us.borrow_mut().saturating_record(took_us);
        Ok(())
    }
}

/// Publishes for `length` and waits for the deliveries. Gives the publishers back, and how many paced publishes
/// were skipped because the server took longer over the others than twice the time there was.
async fn phase(
    board: &Rc<Board>,
    mut sources: Vec<Publisher>,
    plan: &Plan,
    length: Duration,
) -> Result<(Vec<Publisher>, u64), BenchError> {
    let mut skipped = 0;
    let lost_before = board.ledger.borrow().totals().lost();
    match plan.pace {
        Pace::PerSecond(rate) => {
            for source in &mut sources {
                skipped += paced(board, source, rate, length).await?;
            }
        }
        Pace::InFlight(_) => sources = saturated(board, sources, length).await?,
    }
    let deadline = Instant::now() + GRACE;
    while board.ledger.borrow().totals().lost() > lost_before && Instant::now() < deadline {
        sleep(Duration::from_millis(2)).await;
    }
    Ok((sources, skipped))
}

async fn paced(
    board: &Board,
    source: &mut Publisher,
    rate: u32,
    length: Duration,
) -> Result<u64, BenchError> {
    let planned = u64::from(rate) * length.as_secs();
    let start = Instant::now();
    for number in 0..planned {
        let mut due = start + Duration::from_nanos(number * 1_000_000_000 / u64::from(rate));
        if Instant::now() < due {
            sleep_until(due.into()).await;
            // Nobody was waiting, so that the timer rang late (up to 1 ms) is not the server's doing.
            due = Instant::now();
        } else if start.elapsed() > length * 2 {
            return Ok(planned - number);
        }
        board.publish(source, 0, due).await?;
    }
    Ok(0)
}

async fn saturated(
    board: &Rc<Board>,
    sources: Vec<Publisher>,
    length: Duration,
) -> Result<Vec<Publisher>, BenchError> {
    let end = Instant::now() + length;
    let mut loops = JoinSet::new();
    for (index, mut source) in (0_u16..).zip(sources) {
        let board = board.clone();
        loops.spawn_local(async move {
            while Instant::now() < end {
                board.publish(&mut source, index, Instant::now()).await?;
                let everywhere = board.everywhere[usize::from(index)].notified();
                if timeout_at((end + GRACE).into(), everywhere).await.is_err() {
                    break;
                }
            }
            Ok((index, source))
        });
    }
    let mut back = loops
        .join_all()
        .await
        .into_iter()
        .collect::<Result<Vec<_>, BenchError>>()?;
    back.sort_unstable_by_key(|(index, _)| *index);
    Ok(back.into_iter().map(|(_, source)| source).collect())
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr, TcpListener};

    use tokio::task::LocalSet;

    use super::*;
    use crate::floor;

    #[tokio::test]
    async fn all_that_the_floor_sends_arrives_once_and_in_order() {
        for pace in [Pace::PerSecond(100), Pace::InFlight(4)] {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
            let SocketAddr::V4(address) = listener.local_addr().unwrap() else {
                panic!("bound to IPv4");
            };
            let floor = std::thread::spawn(move || floor::serve(&listener));
            let plan = Plan {
                subscribers: 20,
                pace,
                seconds: 1,
                payload: 200,
            };
            let target = Target::Floor(address);
            let figures = LocalSet::new()
                .run_until(run(&target, &plan, std::process::id()))
                .await
                .unwrap();
            let value = |name: &str| figures.iter().find(|f| f.name == name).unwrap().value;
            assert!(value("deliveries per second") > 0.0);
            assert!(value("CPU per delivery") > 0.0);
            for fault in ["lost", "duplicated", "inverted", "unknown", "cut off"] {
                assert_eq!(value(fault), 0.0, "{fault}");
            }
            floor.join().unwrap().unwrap();
        }
    }
}
