//! A reconnect storm: the server is killed and started again, and everybody comes back at once, as after a deploy that
//! went wrong. How long until all are subscribed again, and whether each then gets everything once.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    time::{Duration, Instant},
};

use tokio::{
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    child::Launch,
    client::Client,
    crowd::SETUP,
    error::BenchError,
    ledger::Ledger,
    publisher::HttpPublisher,
    report::{Figure, Unit, histogram, latency},
    tally::Tally,
    target::App,
};

const CHANNEL: &str = "bench-restart";
/// A client whose connect was refused tries again this much later.
const AGAIN: Duration = Duration::from_millis(50);
/// How long it may take until everybody is back.
const BACK: Duration = Duration::from_secs(60);

/// How many come back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    /// Published once everybody is back.
    pub(crate) publishes: u32,
    pub(crate) payload: usize,
}

/// What the clients share.
struct Shared {
    tally: Tally,
    /// Subscribed at the moment.
    subscribed: Cell<usize>,
    /// When the server was up again.
    up: Cell<Option<Instant>>,
    back_us: RefCell<hdrhistogram::Histogram<u64>>,
    /// Attempts that failed while the server was up.
    failed: Cell<u64>,
    first_failure: RefCell<Option<String>>,
}

/// Starts a server, fills it, kills it, starts it again. Needs a `LocalSet`.
pub(crate) async fn run(
    launch: &Launch,
    settings: &[(&str, &str)],
    plan: &Plan,
) -> Result<Vec<Figure>, BenchError> {
    let server = launch.start(settings).await?;
    let app = server.app()?;
    let shared = Rc::new(Shared {
        tally: Tally::new(Ledger::new(plan.connections, 1), Instant::now()),
        subscribed: Cell::new(0),
        up: Cell::new(None),
        back_us: RefCell::new(histogram()),
        failed: Cell::new(0),
        first_failure: RefCell::default(),
    });
    let mut clients = JoinSet::new();
    for index in 0..plan.connections {
        let (app, shared) = (app.clone(), shared.clone());
        clients.spawn_local(async move { stay(&app, index, &shared).await });
    }
    everybody(&shared, plan).await?;
    // What went wrong in filling it is not counted.
    shared.failed.set(0);

    server.kill();
    while shared.subscribed.get() > 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let starting = Instant::now();
    let server = launch.start_at(app.address, settings).await?;
    let start_s = starting.elapsed().as_secs_f64();
    let up = Instant::now();
    shared.up.set(Some(up));
    let meter = server.meter();
    everybody(&shared, plan).await?;
    let back_s = up.elapsed().as_secs_f64();

    let mut publisher = HttpPublisher::open(app.clone()).await?;
    let mut refused = 0;
    for _ in 0..plan.publishes {
        let data = shared
            .tally
            .publish(0, Instant::now())
            .payload(plan.payload);
        if publisher.publish(CHANNEL, &data).await.is_err() {
            shared.tally.refused(0);
            refused += 1;
        }
    }
    shared.tally.settle(0).await;
    let mut figures = vec![
        Figure::new("server up again after", Unit::Micros, start_s * 1e6),
        Figure::new("everybody back after", Unit::Micros, back_s * 1e6),
        Figure::new(
            "reconnects per second",
            Unit::Count,
            plan.connections as f64 / back_s,
        ),
    ];
    figures.extend(latency("server up to subscribed", &shared.back_us.borrow()));
    figures.extend(meter.rss("RSS with everybody back")?);
    if let Some(why) = &*shared.first_failure.borrow() {
        eprintln!("a client failed while the server was up: {why}");
    }
    figures.push(Figure::count("failed", shared.failed.get()));
    figures.push(Figure::count("publishes refused", refused));
    figures.extend(shared.tally.faults());
    Ok(figures)
}

async fn everybody(shared: &Shared, plan: &Plan) -> Result<(), BenchError> {
    let all = async {
        while shared.subscribed.get() < plan.connections {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(BACK, all).await.map_err(|_| BenchError::Deadline {
        what: "everybody being subscribed",
        seconds: BACK.as_secs(),
    })
}

/// A client that comes back at once, and keeps trying.
async fn stay(app: &App, index: usize, shared: &Shared) {
    let channels = [CHANNEL.to_owned()];
    let opening = async || {
        let (mut client, socket) = Client::connect(app, index, None).await?;
        client.subscribe(app, &socket, &channels).await?;
        Ok::<_, BenchError>(client)
    };
    loop {
        let up = shared.up.get();
        match timeout(SETUP, opening()).await {
            Ok(Ok(client)) => {
                shared.subscribed.set(shared.subscribed.get() + 1);
                if let Some(up) = shared.up.get() {
                    let us = up.elapsed().as_micros() as u64;
                    shared.back_us.borrow_mut().saturating_record(us);
                }
                let mut hint = 0;
                client
                    .receive(|message| {
                        shared.tally.received(index, message, &mut hint);
                    })
                    .await;
                shared.subscribed.set(shared.subscribed.get() - 1);
            }
            result => {
                // Only attempts begun after the server was up are its fault.
                if up.is_some() {
                    shared.failed.set(shared.failed.get() + 1);
                    let why = match result {
                        Ok(Err(error)) => error.to_string(),
                        _ => "took too long".to_owned(),
                    };
                    shared.first_failure.borrow_mut().get_or_insert(why);
                }
                sleep(AGAIN).await;
            }
        }
    }
}
