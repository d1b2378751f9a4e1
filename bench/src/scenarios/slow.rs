//! One reader stops reading while the others go on: it alone has to be closed, with 4100, and what waits for it must not
//! grow without bound.

use std::{cell::Cell, rc::Rc, time::Duration};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    board::{Board, Pace},
    client::Client,
    crowd,
    ended::Ended,
    error::BenchError,
    publisher::Publisher,
    report::{Figure, Unit, latency},
    stamp::Stamp,
    target::Subject,
};

const CHANNEL: &str = "bench-slow";
/// The slow reader's kernel takes about this much for it.
const RECEIVE_BUFFER: u32 = 4 * 1024;
/// How often memory is looked at.
const LOOK: Duration = Duration::from_millis(20);
/// How long the slow reader may take to read what there still is for it.
const READ_ON: Duration = Duration::from_secs(10);

/// How much is published while one does not read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    /// Readers that do read.
    pub(crate) readers: usize,
    pub(crate) rate: u32,
    pub(crate) length: Duration,
    /// Large, since kernels hold several megabytes before a server notices.
    pub(crate) payload: usize,
}

/// Runs the plan. Needs a `LocalSet`.
pub(crate) async fn run(subject: &Subject, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    let Subject { target, meter } = subject;
    let app = subject.app()?;
    let sources = Publisher::open(target, 1).await?;
    let readers = crowd::of_channel(target, plan.readers, CHANNEL).await?;
    let (mut slow, socket) = Client::connect(app, plan.readers, Some(RECEIVE_BUFFER)).await?;
    slow.subscribe(app, &socket, &[CHANNEL.to_owned()]).await?;
    let board = Board::new(CHANNEL, 1, plan.readers, 1, plan.payload);
    let mut receivers = JoinSet::new();
    board.receive(0, readers, &mut receivers);

    let start_kib = meter.rss_kib()?;
    let peak_kib = Rc::new(Cell::new(start_kib));
    let (peak, meter_then) = (peak_kib.clone(), *meter);
    let watch = tokio::task::spawn_local(async move {
        while let Ok(Some(kib)) = meter_then.rss_kib() {
            peak.set(peak.get().map(|peak| peak.max(kib)));
            sleep(LOOK).await;
        }
    });
    let pace = Pace::PerSecond(plan.rate);
    let (_, skipped) = board.phase(sources, pace, plan.length).await?;
    watch.abort();

    let published = board.groups[0].totals().expected / plan.readers.max(1) as u64;
    let heard = read_on(slow, published).await;
    let mut figures = vec![
        Figure::count("slow reader: closed", u64::from(heard.ended.is_some())),
        // 0: reset without a close frame, or not closed.
        Figure::count(
            "slow reader: close code",
            heard.ended.and_then(|ended| ended.code).unwrap_or(0).into(),
        ),
        Figure::count("slow reader: heard before", heard.count),
        Figure::count("slow reader: skipped or out of order", heard.gaps),
        Figure::count("published", published),
    ];
    let grown = peak_kib
        .get()
        .zip(start_kib)
        .map(|(peak, start)| peak - start);
    figures.extend(grown.map(|kib| Figure::new("RSS peak over the start", Unit::Kib, kib)));
    figures.extend(meter.growth("RSS after over the start", start_kib, 1)?);
    figures.extend(latency("delivery", &board.groups[0].delivery_us.borrow()));
    figures.push(Figure::count("publishes skipped", skipped));
    figures.extend(board.faults(0));
    figures.extend(board.failures());
    Ok(figures)
}

/// What the slow reader got.
struct Heard {
    count: u64,
    /// Messages that were not the next one.
    gaps: u64,
    /// `None`: it is still open, with all that was published or with nothing more to come.
    ended: Option<Ended>,
}

async fn read_on(slow: Client, published: u64) -> Heard {
    let heard = Rc::new(Cell::new((0, 0)));
    let counted = heard.clone();
    let (mut next, mut hint) = (0, 0);
    let reading = slow.receive(move |message| {
        if let Some(stamp) = Stamp::find(message, &mut hint) {
            let (count, gaps) = counted.get();
            counted.set((count + 1, gaps + u64::from(stamp.sequence != next)));
            next = stamp.sequence + 1;
        }
    });
    let all = async {
        while heard.get().0 < published {
            sleep(LOOK).await;
        }
    };
    let ended = tokio::select! {
        ended = timeout(READ_ON, reading) => ended.ok(),
        () = all => None,
    };
    let (count, gaps) = heard.get();
    Heard { count, gaps, ended }
}
