//! Nodes with a Redis between them: how much later the second node delivers than the one that was published to, what
//! that costs each process, and whether an event goes to nodes that have nobody to tell. And one gema alone, which is
//! the same without a bus.

use std::{path::Path, rc::Rc, time::Instant};

use tokio::task::{JoinSet, LocalSet};

use super::fanout::Plan;
use crate::{
    board::Board,
    child::Server,
    crowd,
    error::BenchError,
    procfs::Cpu,
    publisher::Publisher,
    redis_server::RedisServer,
    report::{Figure, Unit, latency},
    target::Target,
};

const CHANNEL: &str = "bench-cluster";
/// What nodes call the channel at Redis ends like this.
const AT_REDIS: &str = "*:c:bench-cluster}";
const SERVE: [&str; 3] = ["serve", "--port", "0"];

/// Measures two nodes with `plan.subscribers` each and a third without, all publishes going to the first.
pub(crate) async fn run(gema: &Path, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    let redis = RedisServer::start()?;
    let settings = [("GEMA_REDIS__URL", redis.url())];
    let start = async || {
        let node = Server::start(gema.as_os_str(), &SERVE, &settings).await?;
        node.ready().await?;
        Ok::<_, BenchError>(node)
    };
    // The first to come is the one without subscribers: then all of Redis' clients are its connections.
    let idle = start().await?;
    let idle_clients = redis.clients()?;
    let nodes = [start().await?, start().await?];
    let processes = [nodes[0].pid(), nodes[1].pid(), idle.pid(), redis.pid()];
    let after = || redis.subscribers(AT_REDIS);
    // The set owns the receiving tasks: they end with it, before the servers do.
    let measured = LocalSet::new()
        .run_until(measure(&nodes, &processes, plan, after))
        .await?;
    let idle_subscriptions: u64 = redis
        .clients()?
        .iter()
        .filter(|client| idle_clients.iter().any(|known| known.id == client.id))
        .map(|client| client.subscriptions)
        .sum();

    let p50 = |group: usize| {
        let times_us = measured.board.groups[group].delivery_us.borrow();
        times_us.value_at_quantile(0.5) as f64
    };
    let mut figures = measured.node(0);
    figures.extend(measured.node(1));
    figures.push(Figure::new(
        "node 2 later, p50",
        Unit::Micros,
        p50(1) - p50(0),
    ));
    let others = [
        "CPU per publish, idle node",
        "CPU per publish, redis-server",
    ];
    for (name, cpu_us) in others.into_iter().zip(&measured.cpu_us[2..]) {
        figures.push(Figure::new(name, Unit::Micros, *cpu_us));
    }
    figures.extend(measured.whole());
    figures.extend([
        Figure::count("nodes Redis sends an event to", measured.after),
        Figure::count("subscriptions of the idle node", idle_subscriptions),
    ]);
    Ok(figures)
}

/// Measures one gema without a bus, with `plan.subscribers`.
pub(crate) async fn alone(gema: &Path, plan: &Plan) -> Result<Vec<Figure>, BenchError> {
    let node = [Server::start(gema.as_os_str(), &SERVE, &[]).await?];
    let processes = [node[0].pid()];
    let measured = LocalSet::new()
        .run_until(measure(&node, &processes, plan, || Ok(())))
        .await?;
    let mut figures = measured.node(0);
    figures.extend(measured.whole());
    Ok(figures)
}

/// What one run has given.
struct Measured<A> {
    board: Rc<Board>,
    /// Per publish, of each process.
    cpu_us: Vec<f64>,
    /// Deliveries to a node's subscribers, in the measured part.
    deliveries: Vec<u64>,
    publishes_per_s: f64,
    driver_percent: f64,
    skipped: u64,
    after: A,
}

/// Publishes to the first node; `after` is asked once that is done, while all are still subscribed.
async fn measure<A>(
    nodes: &[Server],
    processes: &[u32],
    plan: &Plan,
    after: impl FnOnce() -> Result<A, BenchError>,
) -> Result<Measured<A>, BenchError> {
    let targets: Vec<Target> = nodes.iter().map(|node| node.subject().target).collect();
    let publishers = plan.pace.publishers();
    let sources = Publisher::open(&targets[0], publishers).await?;
    let board = Board::new(
        CHANNEL,
        nodes.len(),
        plan.subscribers,
        publishers,
        plan.payload,
    );
    let mut receivers = JoinSet::new();
    for (group, target) in targets.iter().enumerate() {
        let subscribers = crowd::of_channel(target, plan.subscribers, CHANNEL).await?;
        board.receive(group, subscribers, &mut receivers);
    }

    let (sources, _) = board.phase(sources, plan.pace, plan.warm_up()).await?;
    board.reset_times();
    let delivered = || board.groups.iter().map(|group| group.totals().delivered);
    let warm: Vec<_> = delivered().collect();
    let published = || board.groups[0].totals().expected / plan.subscribers.max(1) as u64;
    let published_warm = published();
    let own_pid = std::process::id();
    let cpu_of = |pid: &u32| Cpu::of(*pid);
    let own_cpu = Cpu::of(own_pid)?;
    let cpu: Vec<Cpu> = processes.iter().map(cpu_of).collect::<Result<_, _>>()?;
    let started = Instant::now();
    let (_, skipped) = board.phase(sources, plan.pace, plan.length).await?;
    let elapsed = started.elapsed();
    let cpu_then: Vec<Cpu> = processes.iter().map(cpu_of).collect::<Result<_, _>>()?;
    let own_ns = Cpu::of(own_pid)?.since(&own_cpu);

    let publishes = (published() - published_warm).max(1) as f64;
    let used_us = cpu_then
        .iter()
        .zip(&cpu)
        .map(|(then, before)| then.since(before) as f64 / 1e3 / publishes);
    let deliveries = delivered().zip(warm).map(|(then, before)| then - before);
    Ok(Measured {
        cpu_us: used_us.collect(),
        deliveries: deliveries.collect(),
        publishes_per_s: publishes / elapsed.as_secs_f64(),
        driver_percent: own_ns as f64 / elapsed.as_nanos() as f64 * 100.0,
        skipped,
        after: after()?,
        board: board.clone(),
    })
}

impl<A> Measured<A> {
    /// The figures of one of the nodes that have subscribers.
    fn node(&self, index: usize) -> Vec<Figure> {
        let named = |name: &str| format!("{name}, node {}", index + 1);
        let cpu = named("CPU per publish");
        let mut figures = vec![Figure::new(&cpu, Unit::Micros, self.cpu_us[index])];
        let times_us = self.board.groups[index].delivery_us.borrow();
        // The tail is told by the 99th percentile; with so many processes on few cores the maximum is the scheduler's.
        figures.extend(latency("delivery", &times_us).into_iter().take(2));
        figures.push(Figure::count("deliveries", self.deliveries[index]));
        figures.extend(self.board.faults(index));
        for figure in &mut figures[1..] {
            figure.name = named(&figure.name);
        }
        figures
    }

    fn whole(&self) -> Vec<Figure> {
        let mut figures = latency("time to the 200", &self.board.publish_us.borrow());
        figures.truncate(2);
        figures.extend([
            Figure::new("publishes per second", Unit::Count, self.publishes_per_s),
            // Near 100 % the latencies are the driver's own, not the nodes'.
            Figure::new("driver CPU", Unit::Percent, self.driver_percent),
            Figure::count("publishes skipped", self.skipped),
        ]);
        figures.extend(self.board.failures());
        figures
    }
}
