//! What publishers and receivers of a scenario share: who publishes when, what has arrived where, and how late.
//! Paced is an open loop, with latency counted from when a publish was due; saturated is a closed one, where a publish
//! is in flight until every subscriber has it.

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
    client::Subscriber,
    error::BenchError,
    ledger::{Ledger, Totals, Verdict},
    publisher::Publisher,
    report::{Figure, histogram},
    stamp::Stamp,
};

/// Publishing before anything is measured, so that buffers, caches and just-in-time compilers are warm.
pub(crate) const WARM_UP: Duration = Duration::from_secs(1);
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

impl Pace {
    /// How many publishers it takes.
    pub(crate) fn publishers(self) -> u16 {
        match self {
            Self::PerSecond(_) => 1,
            Self::InFlight(count) => count,
        }
    }
}

/// The subscribers of one server.
pub(crate) struct Group {
    ledger: RefCell<Ledger>,
    pub(crate) delivery_us: RefCell<Histogram<u64>>,
}

impl Group {
    /// The sums over its subscribers as of now.
    pub(crate) fn totals(&self) -> Totals {
        self.ledger.borrow().totals()
    }
}

/// All of those who use it run on one thread.
pub(crate) struct Board {
    epoch: Instant,
    channel: &'static str,
    /// Bytes of data in a publish.
    payload: usize,
    subscribers: usize,
    pub(crate) groups: Vec<Group>,
    pub(crate) publish_us: RefCell<Histogram<u64>>,
    /// Per publisher: its latest sequence number and how many subscribers still lack it.
    latest: RefCell<Vec<(u64, usize)>>,
    /// Per publisher: rung when all subscribers have its latest.
    everywhere: Vec<Notify>,
    /// Why connections ended that should not have.
    ended: RefCell<Vec<String>>,
}

impl Board {
    /// A board for one channel, with so many groups of so many subscribers each.
    pub(crate) fn new(
        channel: &'static str,
        groups: usize,
        subscribers: usize,
        publishers: u16,
        payload: usize,
    ) -> Rc<Self> {
        let publishers = usize::from(publishers);
        let group = || Group {
            ledger: RefCell::new(Ledger::new(subscribers, publishers)),
            delivery_us: RefCell::new(histogram()),
        };
        Rc::new(Self {
            epoch: Instant::now(),
            channel,
            payload,
            subscribers: groups * subscribers,
            groups: (0..groups).map(|_| group()).collect(),
            publish_us: RefCell::new(histogram()),
            latest: RefCell::new(vec![(0, 0); publishers]),
            everywhere: (0..publishers).map(|_| Notify::new()).collect(),
            ended: RefCell::default(),
        })
    }

    /// Lets a group's subscribers receive in tasks of the set.
    pub(crate) fn receive(
        self: &Rc<Self>,
        group: usize,
        subscribers: Vec<Subscriber>,
        receivers: &mut JoinSet<()>,
    ) {
        for subscriber in subscribers {
            let board = self.clone();
            receivers.spawn_local(async move {
                let (index, mut hint) = (subscriber.index, 0);
                let why = subscriber
                    .receive(|message| board.received(group, index, message, &mut hint))
                    .await;
                board.ended.borrow_mut().push(why);
            });
        }
    }

    /// Forgets the times of the warm-up.
    pub(crate) fn reset_times(&self) {
        for group in &self.groups {
            group.delivery_us.borrow_mut().reset();
        }
        self.publish_us.borrow_mut().reset();
    }

    /// What must not be, of one group.
    pub(crate) fn faults(&self, group: usize) -> [Figure; 4] {
        let totals = self.groups[group].totals();
        [
            Figure::count("lost", totals.lost()),
            Figure::count("duplicated", totals.duplicated),
            Figure::count("inverted", totals.inverted),
            Figure::count("unknown", totals.unknown),
        ]
    }

    /// How many subscribers were cut off; says why on stderr.
    pub(crate) fn cut_off(&self) -> Figure {
        let ended = self.ended.borrow();
        if let Some(why) = ended.first() {
            eprintln!("{} subscribers were cut off, the first: {why}", ended.len());
        }
        Figure::count("cut off", ended.len() as u64)
    }

    /// Publishes for `length` and waits for the deliveries. Gives the publishers back, and how many paced publishes
    /// were skipped because the server took longer over the others than twice the time there was.
    pub(crate) async fn phase(
        self: &Rc<Self>,
        mut sources: Vec<Publisher>,
        pace: Pace,
        length: Duration,
    ) -> Result<(Vec<Publisher>, u64), BenchError> {
        let mut skipped = 0;
        let lost_before = self.lost();
        match pace {
            Pace::PerSecond(rate) => {
                for source in &mut sources {
                    skipped += self.paced(source, rate, length).await?;
                }
            }
            Pace::InFlight(_) => sources = self.saturated(sources, length).await?,
        }
        let deadline = Instant::now() + GRACE;
        while self.lost() > lost_before && Instant::now() < deadline {
            sleep(Duration::from_millis(2)).await;
        }
        Ok((sources, skipped))
    }

    async fn paced(
        &self,
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
            self.publish(source, 0, due).await?;
        }
        Ok(0)
    }

    async fn saturated(
        self: &Rc<Self>,
        sources: Vec<Publisher>,
        length: Duration,
    ) -> Result<Vec<Publisher>, BenchError> {
        let end = Instant::now() + length;
        let mut loops = JoinSet::new();
        for (index, mut source) in (0_u16..).zip(sources) {
            let board = self.clone();
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

    /// Publishes the publisher's next message, stamped as due at `due`.
    async fn publish(
        &self,
        source: &mut Publisher,
        index: u16,
        due: Instant,
    ) -> Result<(), BenchError> {
        let publisher = usize::from(index);
        let mut sequence = 0;
        for group in &self.groups {
            // The same number in all of them: each has had all publishes.
            sequence = group.ledger.borrow_mut().publish(index);
        }
        self.latest.borrow_mut()[publisher] = (sequence, self.subscribers);
        let stamp = Stamp {
            publisher: index,
            sequence,
            due_ns: due.duration_since(self.epoch).as_nanos() as u64,
        };
        let data = stamp.payload(self.payload);
        let took = source.publish(self.channel, data).await?;
        let took_us = took.as_micros() as u64;
        self.publish_us.borrow_mut().saturating_record(took_us);
        Ok(())
    }

    fn received(&self, group: usize, subscriber: usize, message: &[u8], hint: &mut usize) {
        let Some(stamp) = Stamp::find(message, hint) else {
            return;
        };
        let group = &self.groups[group];
        match group.ledger.borrow_mut().received(subscriber, &stamp) {
            Verdict::InOrder | Verdict::Inverted => {}
            Verdict::Duplicate | Verdict::Unknown => return,
        }
        let now_ns = self.epoch.elapsed().as_nanos() as u64;
        let late_us = now_ns.saturating_sub(stamp.due_ns) / 1_000;
        group.delivery_us.borrow_mut().saturating_record(late_us);
        let publisher = usize::from(stamp.publisher);
        let (sequence, missing) = &mut self.latest.borrow_mut()[publisher];
        if *sequence == stamp.sequence {
            *missing -= 1;
            if *missing == 0 {
                self.everywhere[publisher].notify_one();
            }
        }
    }

    fn lost(&self) -> u64 {
        self.groups.iter().map(|group| group.totals().lost()).sum()
    }
}
