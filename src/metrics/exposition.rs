//! All figures as Prometheus text, format 0.0.4: <https://prometheus.io/docs/instrumenting/exposition_formats/>.
//!
//! Not OpenMetrics, which the library writes by itself: there a counter's family is named without `_total`, so the gauge
//! `gema_connections` and the counter `gema_connections_total` would be one family twice. In the older text they are
//! two. So a counter is described with its whole name here and its values are written as they stand, like a gauge's.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, text::encode_registry};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::process::Process;
use super::{BusReading, Metrics, Reading, Refused, Source};

/// What every name begins with.
const PREFIX: &str = "gema";

/// One name, with a value for each set of labels.
#[derive(Debug)]
struct Family {
    name: &'static str,
    help: &'static str,
    kind: MetricType,
    samples: Vec<(Labels, u64)>,
}

type Labels = Vec<(&'static str, String)>;

/// Handed to the library for one scrape.
#[derive(Debug)]
struct Families(Vec<Family>);

impl Collector for Families {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        for family in &self.0 {
            let mut samples =
                encoder.encode_descriptor(family.name, family.help, None, family.kind)?;
            for (labels, value) in &family.samples {
                match labels.is_empty() {
                    true => samples.encode_gauge(value)?,
                    false => samples.encode_family(labels)?.encode_gauge(value)?,
                }
            }
        }
        Ok(())
    }
}

pub(super) fn text(metrics: &Metrics, reading: &Reading) -> String {
    let mut families = now(reading);
    families.extend(since_the_start(metrics, reading));
    if let Some(bus) = &reading.bus {
        families.extend(between_nodes(bus));
    }
    let mut registry = Registry::with_prefix(PREFIX);
    registry.register_collector(Box::new(Families(families)));
    registry.register(
        "publish_seconds",
        "From the acceptance of an API call that publishes to when the shards have its events, in seconds",
        metrics.publish_seconds.clone(),
    );
    if let Some(ms) = reading.outbox_lag_ms {
        let lag = Gauge::<f64, AtomicU64>::default();
        lag.set(ms as f64 / 1000.0);
        registry.register(
            "outbox_lag_seconds",
            "For how long the oldest row of the table broadcasts has been waiting to be published",
            lag,
        );
    }
    // Names of its own, which begin otherwise.
    let mut process = Registry::default();
    process.register_collector(Box::new(Process {
        started: metrics.started,
    }));
    let mut text = String::new();
    // Writing into a string does not fail.
    encode_registry(&mut text, &registry).ok();
    encode_registry(&mut text, &process).ok();
    text
}

fn now(reading: &Reading) -> Vec<Family> {
    let connections = reading.connections.iter().map(|(app, gateway, count)| {
        let labels = vec![("app", app.clone()), ("gateway", (*gateway).to_owned())];
        (labels, *count)
    });
    let version = vec![("version", env!("CARGO_PKG_VERSION").to_owned())];
    vec![
        gauge(
            "build_info",
            "Always 1; says which version runs",
            [(version, 1)],
        ),
        gauge("connections", "Open connections", connections),
        gauge("channels", "Occupied channels", one(reading.channels)),
        gauge(
            "ready",
            "Whether it is fit for traffic, as GET /ready says",
            one(reading.ready.into()),
        ),
        gauge(
            "subscriptions",
            "Subscriptions by the kind of their channel",
            labelled("kind", reading.subscriptions.iter().copied()),
        ),
        gauge(
            "outbox_bytes",
            "Bytes that wait for clients to read",
            one(reading.outbox_bytes),
        ),
    ]
}

fn since_the_start(metrics: &Metrics, reading: &Reading) -> Vec<Family> {
    let disconnected = reading.disconnected.iter().map(|(code, count)| {
        let code = match code {
            0 => "other".to_owned(),
            code => code.to_string(),
        };
        (vec![("code", code)], *count)
    });
    let publishes = Source::ALL
        .into_iter()
        .map(|source| (source.label(), load(&metrics.publishes[source as usize])));
    let rejected = Refused::ALL
        .into_iter()
        .map(|why| (why.label(), load(&metrics.rejected[why as usize])));
    let requests = metrics.requests.counted().map(|(route, status, count)| {
        (vec![("route", route.to_owned()), ("status", status)], count)
    });
    vec![
        counter(
            "connections_total",
            "Connections that were accepted",
            one(reading.connected),
        ),
        counter(
            "disconnections_total",
            "Connections that have ended, by close code; 1006 is one that ended without a close frame",
            disconnected,
        ),
        counter(
            "rejected_total",
            "Handshakes and API calls that were kept out, by what they failed",
            labelled("why", rejected),
        ),
        counter(
            "messages_received_total",
            "Messages of clients",
            one(load(&metrics.received)),
        ),
        counter(
            "messages_sent_total",
            "Frames written to clients",
            one(reading.sent),
        ),
        counter(
            "bytes_sent_total",
            "Bytes of the frames written to clients, before TLS",
            one(reading.sent_bytes),
        ),
        counter(
            "slow_consumers_total",
            "Connections closed because more than limits.outbox_bytes waited for them",
            one(reading.slow_consumers),
        ),
        counter(
            "publishes_total",
            "Events published, one for each of their channels, by who published",
            labelled("source", publishes),
        ),
        counter(
            "webhooks_total",
            "Webhook events delivered, given up after five minutes, and dropped by a full queue; requests that failed",
            labelled("result", reading.webhooks.iter().copied()),
        ),
        counter(
            "http_requests_total",
            "Requests answered by the main listener",
            requests,
        ),
    ]
}

fn between_nodes(bus: &BusReading) -> Vec<Family> {
    let messages = [
        ("out", bus.sent),
        ("in", bus.received),
        ("dropped", bus.dropped),
    ];
    vec![
        gauge(
            "bus_up",
            "Whether this node is connected to the others",
            one(bus.up.into()),
        ),
        counter(
            "bus_messages_total",
            "Messages to and from other nodes, and those that never left",
            labelled("dir", messages),
        ),
        counter(
            "bus_gaps_total",
            "Messages of other nodes that are known to be missing",
            one(bus.gaps),
        ),
        counter(
            "presence_sweeps_total",
            "Dead nodes whose members this node has removed",
            one(bus.sweeps),
        ),
    ]
}

fn gauge(
    name: &'static str,
    help: &'static str,
    samples: impl IntoIterator<Item = (Labels, u64)>,
) -> Family {
    Family {
        name,
        help,
        kind: MetricType::Gauge,
        samples: samples.into_iter().collect(),
    }
}

fn counter(
    name: &'static str,
    help: &'static str,
    samples: impl IntoIterator<Item = (Labels, u64)>,
) -> Family {
    Family {
        kind: MetricType::Counter,
        ..gauge(name, help, samples)
    }
}

fn one(value: u64) -> [(Labels, u64); 1] {
    [(Vec::new(), value)]
}

fn labelled(
    key: &'static str,
    samples: impl IntoIterator<Item = (&'static str, u64)>,
) -> impl Iterator<Item = (Labels, u64)> {
    let samples = samples.into_iter();
    samples.map(move |(value, count)| (vec![(key, value.to_owned())], count))
}

fn load(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_counter_is_described_by_its_whole_name_and_a_gauge_beside_it_stays_another() {
        let metrics = Metrics::new(&[]);
        let reading = Reading {
            connections: vec![("a\"b".to_owned(), "pusher", 3)],
            connected: 5,
            disconnected: vec![(4200, 1), (0, 1)],
            ..Reading::default()
        };
        let text = metrics.expose(&reading);
        for line in [
            "# TYPE gema_connections gauge",
            "gema_connections{app=\"a\\\"b\",gateway=\"pusher\"} 3",
            "# TYPE gema_connections_total counter",
            concat!(
                "gema_build_info{version=\"",
                env!("CARGO_PKG_VERSION"),
                "\"} 1"
            ),
            "gema_connections_total 5",
            "gema_disconnections_total{code=\"4200\"} 1",
            "gema_disconnections_total{code=\"other\"} 1",
            "# TYPE gema_publish_seconds histogram",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
        assert!(
            !text.contains("EOF") && !text.contains("gema_bus"),
            "{text}"
        );
    }

    #[test]
    fn a_publication_falls_into_the_buckets_that_are_long_enough() {
        let metrics = Metrics::new(&[]);
        metrics.handed_over(Duration::from_micros(300));
        let text = metrics.expose(&Reading::default());
        assert!(
            text.contains("gema_publish_seconds_bucket{le=\"0.00025\"} 0\n"),
            "{text}"
        );
        assert!(
            text.contains("gema_publish_seconds_bucket{le=\"0.0005\"} 1\n"),
            "{text}"
        );
        assert!(
            text.contains("gema_publish_seconds_bucket{le=\"+Inf\"} 1\n"),
            "{text}"
        );
    }

    #[test]
    fn the_bus_shows_where_there_is_one() {
        let bus = BusReading {
            up: true,
            dropped: 7,
            ..BusReading::default()
        };
        let reading = Reading {
            bus: Some(bus),
            ..Reading::default()
        };
        let text = Metrics::new(&[]).expose(&reading);
        for line in [
            "gema_bus_up 1",
            "gema_bus_messages_total{dir=\"dropped\"} 7",
            "gema_bus_gaps_total 0",
            "gema_presence_sweeps_total 0",
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }
}
