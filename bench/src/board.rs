//! One channel and its subscribers, on one server or several: who publishes when, and what has arrived of it.
//! Paced is an open loop, with latency counted from when a publish was due; saturated is a closed one, where a publish
//! is in flight until every subscriber has it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use tokio::{sync::Notify, task::JoinSet, time::timeout_at};

use crate::{
    client::Client,
    ended::Ended,
    error::BenchError,
    ledger::Ledger,
    pace::Schedule,
    publisher::Publisher,
    report::{Figure, histogram},
    tally::{GRACE, Tally},
};

/// Publishing before anything is measured, so that buffers, caches and just-in-time compilers are warm.
pub(crate) const WARM_UP: Duration = Duration::from_secs(1);

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

/// All of those who use it run on one thread.
pub(crate) struct Board {
    channel: Arc<str>,
    /// Bytes of data in a publish.
    payload: usize,
    subscribers: usize,
    /// The subscribers of each server.
    pub(crate) groups: Vec<Tally>,
    pub(crate) publish_us: RefCell<Histogram<u64>>,
    /// Per publisher: its latest sequence number and how many subscribers still lack it.
    latest: RefCell<Vec<(u64, usize)>>,
    /// Per publisher: rung when all subscribers have its latest.
    everywhere: Vec<Notify>,
    /// Publishes that the server answered with something other than 200.
    refused: Cell<u64>,
    /// Why connections ended that should not have.
    ended: RefCell<Vec<Ended>>,
}

impl Board {
    /// A board for one channel, with so many groups of so many subscribers each.
    pub(crate) fn new(
        channel: &str,
        groups: usize,
        subscribers: usize,
        publishers: u16,
        payload: usize,
    ) -> Rc<Self> {
        let epoch = Instant::now();
        let group = || Tally::new(Ledger::new(subscribers, publishers.into()), epoch);
        let publishers = usize::from(publishers);
        Rc::new(Self {
            channel: channel.into(),
            payload,
            subscribers: groups * subscribers,
            groups: (0..groups).map(|_| group()).collect(),
            publish_us: RefCell::new(histogram()),
            latest: RefCell::new(vec![(0, 0); publishers]),
            everywhere: (0..publishers).map(|_| Notify::new()).collect(),
            refused: Cell::new(0),
            ended: RefCell::default(),
        })
    }

    /// Lets a group's subscribers receive in tasks of the set.
    pub(crate) fn receive(
        self: &Rc<Self>,
        group: usize,
        subscribers: Vec<Client>,
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
        self.groups[group].faults()
    }

    /// How many subscribers were cut off, which is told with the reason on stderr, and how many publishes refused.
    pub(crate) fn failures(&self) -> [Figure; 2] {
        let ended = self.ended.borrow();
        if let Some(why) = ended.first() {
            eprintln!("{} subscribers were cut off, the first: {why}", ended.len());
        }
        [
            Figure::count("cut off", ended.len() as u64),
            Figure::count("publishes refused", self.refused.get()),
        ]
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
        let lost = |group: &Tally| group.totals().lost();
        let lost_before: Vec<_> = self.groups.iter().map(lost).collect();
        match pace {
            Pace::PerSecond(rate) => {
                for source in &mut sources {
                    let mut schedule = Schedule::new(rate.into(), length);
                    while let Some(due) = schedule.next().await {
                        self.publish(source, 0, due).await?;
                    }
                    skipped += schedule.skipped();
                }
            }
            Pace::InFlight(_) => sources = self.saturated(sources, length).await?,
        }
        for (group, lost_before) in self.groups.iter().zip(lost_before) {
            group.settle(lost_before).await;
        }
        Ok((sources, skipped))
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
                    if !board.publish(&mut source, index, Instant::now()).await? {
                        continue;
                    }
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

    /// Publishes the publisher's next message, which was due at `due`. False when the server refused it.
    async fn publish(
        &self,
        source: &mut Publisher,
        index: u16,
        due: Instant,
    ) -> Result<bool, BenchError> {
        let publisher = usize::from(index);
        let mut stamp = None;
        for group in &self.groups {
            // The same number in all of them: each has had all publishes.
            stamp = Some(group.publish(index.into(), due));
        }
        let Some(stamp) = stamp else {
            return Ok(false);
        };
        self.latest.borrow_mut()[publisher] = (stamp.sequence, self.subscribers);
        let data = stamp.payload(self.payload);
        match source.publish(&self.channel, data, due).await {
            Ok(took) => {
                let took_us = took.as_micros() as u64;
                self.publish_us.borrow_mut().saturating_record(took_us);
                Ok(true)
            }
            Err(BenchError::Refused { .. }) => {
                for group in &self.groups {
                    group.refused(index.into());
                }
                self.refused.set(self.refused.get() + 1);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    fn received(&self, group: usize, subscriber: usize, message: &[u8], hint: &mut usize) {
        let Some(stamp) = self.groups[group].received(subscriber, message, hint) else {
            return;
        };
        let publisher = stamp.source as usize;
        let (sequence, missing) = &mut self.latest.borrow_mut()[publisher];
        if *sequence == stamp.sequence {
            *missing -= 1;
            if *missing == 0 {
                self.everywhere[publisher].notify_one();
            }
        }
    }
}
