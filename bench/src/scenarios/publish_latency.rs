//! How long a back end waits for its 200, with nobody and with many subscribed: a server that delivers before it answers
//! makes the back end wait for its readers.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::{
    board::{Board, Pace},
    crowd,
    error::BenchError,
    publisher::Publisher,
    report::{Figure, Unit, latency},
    target::Subject,
};

const CHANNEL: &str = "bench-publish";

/// How many subscribers the second half has, and how often is published.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Plan {
    pub(crate) subscribers: usize,
    pub(crate) rate: u32,
    /// Of each half.
    pub(crate) length: Duration,
    pub(crate) payload: usize,
}

/// Runs the plan. Needs a `LocalSet`.
pub(crate) async fn run(subject: &Subject, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    let target = &subject.target;
    subject.app()?;
    let mut figures = Vec::new();
    let mut p50 = Vec::new();
    for (name, count) in [("nobody", 0), ("everybody", plan.subscribers)] {
        let sources = Publisher::open(target, 1).await?;
        let subscribers = crowd::of_channel(target, count, CHANNEL).await?;
        let board = Board::new(CHANNEL, 1, count, 1, plan.payload);
        let mut receivers = JoinSet::new();
        board.receive(0, subscribers, &mut receivers);
        let pace = Pace::PerSecond(plan.rate);
        let warm_up = plan.length.min(Duration::from_secs(1));
        let (sources, _) = board.phase(sources, pace, warm_up).await?;
        board.reset_times();
        let (_, skipped) = board.phase(sources, pace, plan.length).await?;
        let times_us = board.publish_us.borrow();
        p50.push(times_us.value_at_quantile(0.5) as f64);
        figures.extend(latency(
            &format!("time to the 200, {name} subscribed,"),
            &times_us,
        ));
        if count > 0 {
            figures.push(Figure::new(
                "everybody over nobody, p50",
                Unit::Ratio,
                p50[1] / p50[0].max(1.0),
            ));
            figures.push(Figure::count("publishes skipped", skipped));
            figures.extend(board.faults(0));
            figures.extend(board.failures());
        }
    }
    Ok(figures)
}
