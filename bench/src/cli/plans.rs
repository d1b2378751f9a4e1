//! From what was asked for on the command line to the plan of a scenario.

use std::time::Duration;

use super::{Command, ServerArgs};
use crate::scenarios::{
    Scenario, channels, client_events, connect, echo, idle, presence, publish_latency, restart,
    slow, storm, subscribe, throughput, trigger,
};

impl Command {
    /// The scenario that is asked for, with where its server is; `None` for the other commands.
    pub(crate) fn scenario(&self) -> Option<(&'static str, Scenario, &ServerArgs)> {
        let seconds = |seconds: u32| Duration::from_secs(seconds.into());
        Some(match self {
            Self::Fanout { load, server } => ("fanout", Scenario::Fanout(load.plan()), server),
            &Self::Channels {
                connections,
                each,
                rate,
                publishes,
                ref server,
            } => {
                let plan = channels::Plan {
                    connections,
                    each,
                    rate,
                    length: publishes.length(),
                    payload: publishes.payload,
                };
                ("channels", Scenario::Channels(plan), server)
            }
            &Self::Idle {
                connections,
                channels,
                door,
                ref server,
            } => {
                let plan = idle::Plan {
                    connections,
                    channels,
                    door,
                    hold: seconds(3),
                };
                ("idle", Scenario::Idle(plan), server)
            }
            &Self::Connect {
                connections,
                ref server,
            } => {
                let plan = connect::Plan { connections };
                ("connect", Scenario::Connect(plan), server)
            }
            &Self::Throughput {
                connections,
                channels,
                each,
                at_once,
                publishes,
                ref server,
            } => {
                let plan = throughput::Plan {
                    connections,
                    channels,
                    each,
                    at_once,
                    length: publishes.length(),
                    payload: publishes.payload,
                };
                ("throughput", Scenario::Throughput(plan), server)
            }
            &Self::Storm {
                connections,
                at_once,
                storms,
                ref server,
            } => {
                let plan = storm::Plan {
                    connections,
                    at_once,
                    storms,
                    rest: seconds(15),
                };
                ("storm", Scenario::Storm(plan), server)
            }
            &Self::Presence {
                members,
                visits,
                ref server,
            } => {
                let plan = presence::Plan { members, visits };
                ("presence", Scenario::Presence(plan), server)
            }
            &Self::ClientEvents {
                channels,
                members,
                rate,
                publishes,
                ref server,
            } => {
                let plan = client_events::Plan {
                    channels,
                    members,
                    rate: rate.into(),
                    length: publishes.length(),
                    payload: publishes.payload,
                };
                ("client-events", Scenario::ClientEvents(plan), server)
            }
            &Self::Trigger {
                requests,
                connections,
                payload,
                ref server,
            } => {
                let plan = trigger::Plan {
                    requests,
                    connections,
                    payload,
                };
                ("trigger", Scenario::Trigger(plan), server)
            }
            &Self::PublishLatency {
                subscribers,
                rate,
                publishes,
                ref server,
            } => {
                let plan = publish_latency::Plan {
                    subscribers,
                    rate,
                    length: publishes.length(),
                    payload: publishes.payload,
                };
                ("publish-latency", Scenario::PublishLatency(plan), server)
            }
            &Self::Slow {
                readers,
                rate,
                seconds: length,
                payload,
                ref server,
            } => {
                let plan = slow::Plan {
                    readers,
                    rate,
                    length: seconds(length),
                    payload,
                };
                ("slow", Scenario::Slow(plan), server)
            }
            &Self::Restart {
                connections,
                publishes,
                ref server,
            } => {
                let plan = restart::Plan {
                    connections,
                    publishes,
                    payload: 200,
                };
                ("restart", Scenario::Restart(plan), server)
            }
            &Self::Echo {
                subscribers,
                in_flight,
                connections,
                publishes,
                ref server,
            } => {
                let plan = echo::Plan {
                    subscribers,
                    in_flight,
                    connections,
                    rate: 20.0,
                    length: publishes.length(),
                    payload: publishes.payload,
                };
                ("echo", Scenario::Echo(plan), server)
            }
            &Self::Subscribe {
                channels,
                each,
                pairs,
                ref server,
            } => {
                let plan = subscribe::Plan {
                    channels,
                    each,
                    pairs,
                };
                ("subscribe", Scenario::Subscribe(plan), server)
            }
            Self::Cluster { .. }
            | Self::Micro
            | Self::Compare { .. }
            | Self::Report { .. }
            | Self::Plot { .. }
            | Self::Capacity { .. }
            | Self::Floor { .. } => return None,
        })
    }
}
