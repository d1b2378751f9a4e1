//! What others feel while one large channel is saturated: the time from `pusher:ping` to `pusher:pong` on connections
//! that have nothing to do with it, first in quiet and then under load.

use std::{thread, time::Duration};

use hdrhistogram::Histogram;
use tokio::{
    runtime::Builder,
    sync::oneshot,
    task::{JoinSet, LocalSet},
    time::{sleep, timeout},
};

use crate::{
    board::{Board, Pace},
    client::Client,
    crowd,
    error::BenchError,
    pace::Schedule,
    publisher::Publisher,
    report::{Figure, Unit, histogram, latency},
    target::{App, Subject},
};

const CHANNEL: &str = "bench-busy";
const PING: &str = r#"{"event":"pusher:ping","data":{}}"#;
/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(10);
/// The load begins this long before the echo is measured, and ends as long after.
const LEAD: Duration = Duration::from_millis(300);

/// What loads the server, and who pings it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) subscribers: usize,
    pub(crate) in_flight: u16,
    /// Connections that ping.
    pub(crate) connections: usize,
    /// Pings a second of each.
    pub(crate) rate: f64,
    /// Of each half.
    pub(crate) length: Duration,
    pub(crate) payload: usize,
}

/// Runs the plan. Needs a `LocalSet`.
pub(crate) async fn run(subject: &Subject, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    let Subject { target, meter } = subject;
    let app = subject.app()?;
    let subscribers = crowd::of_channel(target, plan.subscribers, CHANNEL).await?;
    let sources = Publisher::open(target, plan.in_flight).await?;
    let board = Board::new(CHANNEL, 1, plan.subscribers, plan.in_flight, plan.payload);
    let mut receivers = JoinSet::new();
    board.receive(0, subscribers, &mut receivers);

    let quiet_us = pings(app, *plan).await?;
    let before = meter.read()?;
    let loaded = async {
        sleep(LEAD).await;
        pings(app, *plan).await
    };
    let load = board.phase(
        sources,
        Pace::InFlight(plan.in_flight),
        plan.length + LEAD * 2,
    );
    let (loaded_us, load) = tokio::join!(loaded, load);
    let loaded_us = loaded_us?;
    load?;
    let mut figures = latency("echo in quiet", &quiet_us);
    figures.extend(latency("echo under load", &loaded_us));
    figures.push(Figure::new(
        "deliveries per second",
        Unit::Count,
        board.groups[0].totals().delivered as f64 / before.elapsed_s(),
    ));
    figures.extend(meter.busy(&before)?);
    figures.extend(board.faults(0));
    figures.extend(board.failures());
    Ok(figures)
}

/// Pings for the length of the plan, on a thread of its own: the driver is busy reading just then.
async fn pings(app: &App, plan: Plan) -> Result<Histogram<u64>, BenchError> {
    let (done, result) = oneshot::channel();
    let app = app.clone();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_all().build();
        let result = runtime
            .map_err(BenchError::io("starting the pinging thread"))
            .and_then(|runtime| LocalSet::new().block_on(&runtime, ping_all(&app, plan)));
        // Nobody waits for it any more when the bench was stopped.
        let _ = done.send(result);
    });
    result
        .await
        .map_err(|_| BenchError::Protocol("the pinging thread ended".to_owned()))?
}

async fn ping_all(app: &App, plan: Plan) -> Result<Histogram<u64>, BenchError> {
    let mut loops = JoinSet::new();
    for index in 0..plan.connections {
        let (mut client, _) = Client::connect(app, index, None).await?;
        loops.spawn_local(async move {
            let mut times_us = histogram();
            // Not all at the same moment.
            let phase = index as f64 / plan.connections as f64 / plan.rate;
            sleep(Duration::from_secs_f64(phase)).await;
            let mut schedule = Schedule::new(plan.rate, plan.length);
            while let Some(due) = schedule.next().await {
                client.send(PING).await?;
                timeout(ANSWER, client.wait_for("pusher:pong", 1))
                    .await
                    .map_err(|_| BenchError::Deadline {
                        what: "the answer to a ping",
                        seconds: ANSWER.as_secs(),
                    })??;
                times_us.saturating_record(due.elapsed().as_micros() as u64);
            }
            Ok::<_, BenchError>(times_us)
        });
    }
    let mut all = histogram();
    for times in loops.join_all().await {
        all += times?;
    }
    Ok(all)
}
