//! The scenarios, one file each, and how each is run: against a server that is there, or against one that the bench
//! starts. None but `cluster` uses anything that is gema's own.

pub(crate) mod channels;
pub(crate) mod client_events;
pub(crate) mod cluster;
pub(crate) mod connect;
pub(crate) mod echo;
pub(crate) mod fanout;
pub(crate) mod idle;
pub(crate) mod presence;
pub(crate) mod publish_latency;
pub(crate) mod restart;
pub(crate) mod slow;
pub(crate) mod storm;
pub(crate) mod subscribe;
pub(crate) mod throughput;
pub(crate) mod trigger;

use tokio::task::LocalSet;

use crate::{
    child::Launch,
    doors::Door,
    error::BenchError,
    report::Figure,
    target::{JWT_SECRET, Subject},
};

/// What to measure.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Scenario {
    Fanout(fanout::Plan),
    Channels(channels::Plan),
    Idle(idle::Plan),
    Connect(connect::Plan),
    Throughput(throughput::Plan),
    Storm(storm::Plan),
    Presence(presence::Plan),
    ClientEvents(client_events::Plan),
    Trigger(trigger::Plan),
    PublishLatency(publish_latency::Plan),
    Slow(slow::Plan),
    Restart(restart::Plan),
    Echo(echo::Plan),
    Subscribe(subscribe::Plan),
    /// Subscribers are those of each node.
    Cluster(fanout::Plan),
}

impl Scenario {
    /// Runs it against a server that is there.
    pub(crate) async fn run(&self, subject: &Subject) -> Result<Vec<Figure>, BenchError> {
        // The set owns the receiving tasks: they end with it.
        let tasks = LocalSet::new();
        let run = async {
            match self {
                Self::Fanout(plan) => fanout::run(subject, plan).await,
                Self::Channels(plan) => channels::run(subject, plan).await,
                Self::Idle(plan) => idle::run(subject, plan).await,
                Self::Connect(plan) => connect::run(subject, plan).await,
                Self::Throughput(plan) => throughput::run(subject, plan).await,
                Self::Storm(plan) => storm::run(subject, plan).await,
                Self::Presence(plan) => presence::run(subject, plan).await,
                Self::ClientEvents(plan) => client_events::run(subject, plan).await,
                Self::Trigger(plan) => trigger::run(subject, plan).await,
                Self::PublishLatency(plan) => publish_latency::run(subject, plan).await,
                Self::Slow(plan) => slow::run(subject, plan).await,
                Self::Echo(plan) => echo::run(subject, plan).await,
                Self::Subscribe(plan) => subscribe::run(subject, plan).await,
                Self::Restart(_) | Self::Cluster(_) => Err(BenchError::NeedsStart),
            }
        };
        tasks.run_until(run).await
    }

    /// Starts a server for it and runs it. A fresh process every time, so that no scenario inherits the memory or the
    /// warmth of another.
    pub(crate) async fn run_with(&self, launch: &Launch) -> Result<Vec<Figure>, BenchError> {
        match (self, launch) {
            (Self::Restart(plan), _) => {
                let tasks = LocalSet::new();
                let run = restart::run(launch, self.settings(), plan);
                tasks.run_until(run).await
            }
            (Self::Cluster(plan), Launch::Gema { program, .. }) => {
                cluster::run(program, plan).await
            }
            (Self::Cluster(_), _) => Err(BenchError::OnlyGema),
            _ => {
                let server = launch.start(self.settings()).await?;
                self.run(&server.subject()).await
            }
        }
    }

    /// What a gema that is started for it has to be told: its limits are Pusher's by default.
    fn settings(&self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Presence(_) => &[("GEMA_LIMITS__PRESENCE_MEMBERS", "100000")],
            Self::Idle(plan) if plan.door != Door::Pusher => &[
                ("GEMA_AUTH__JWT_SECRET", JWT_SECRET),
                // So that a connection is in one channel, by whichever door: its user's own.
                ("GEMA_GATEWAYS__ANONYMOUS_CHANNELS", ""),
            ],
            _ => &[],
        }
    }
}
