//! The tool itself, as its users call it: every scenario at a tiny size against the gema of this build, with the floor and
//! a peer beside it, and what is made of the results. The figures mean nothing here; the counts do.

#![expect(
    clippy::unwrap_used,
    reason = "a test fails by panicking, in its helpers too"
)]

use std::{
    fs,
    io::{BufRead, BufReader},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

/// The binary stands beside the bench's: a run of the whole workspace builds both.
fn gema() -> PathBuf {
    let path = Path::new(env!("CARGO_BIN_EXE_gema-bench")).with_file_name("gema");
    assert!(
        path.exists(),
        "there is no {}: cargo build --bin gema, with the same profile",
        path.display()
    );
    path
}

/// A command that ends with this test, even when that is killed.
fn guarded(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

fn bench(args: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = guarded(Path::new(env!("CARGO_BIN_EXE_gema-bench")));
    command.args(args).envs(variables.iter().copied());
    command.output().unwrap()
}

fn succeeds(args: &[&str], variables: &[(&str, &str)]) -> String {
    let output = bench(args, variables);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// A gema with the default limits; dropping it ends it.
struct Server {
    child: Child,
    port: String,
    _directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut child = guarded(&gema())
            .args(["serve", "--port", "0"])
            .env("GEMA_ADMIN__PORT", "0")
            .current_dir(directory.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let (_, address) = line.split_once(" listening on 127.0.0.1:").unwrap();
        let port = address.split_ascii_whitespace().next().unwrap().to_owned();
        // Read on, so that it never blocks on its banner.
        std::thread::spawn(move || stdout.lines().for_each(drop));
        Self {
            child,
            port,
            _directory: directory,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

fn median(result: &Value, server: &str, figure: &str) -> Option<f64> {
    let rows = result["figures"].as_array().unwrap();
    let row = rows.iter().find(|row| row["figure"] == figure)?;
    row[server]["median"].as_f64()
}

/// What no server may do, in no scenario.
const FAULTS: [&str; 6] = [
    "lost",
    "duplicated",
    "inverted",
    "unknown",
    "cut off",
    "failed",
];

#[test]
fn every_scenario_runs_and_finds_no_fault_and_the_documents_are_written() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        free.local_addr().unwrap().port().to_string()
    };
    let gema = gema().display().to_string();
    // The peer is another gema: the bench knows nothing of it but how it is started and where it listens.
    let database = path("peer.db");
    let peer = format!(
        "env GEMA_ADMIN__PORT=0 GEMA_LIMITS__PRESENCE_MEMBERS=1000 GEMA_DATABASE__URL=sqlite://{database} \
         {gema} serve --port {port}"
    );
    let results = path("results.json");
    let compare = [
        "compare", "--quick", "--rounds", "1", "--gema", &gema, "--json", &results,
    ];
    let variables = [
        ("GEMA_BENCH_PEER", &*peer),
        ("GEMA_BENCH_PEER_PORT", &*port),
    ];
    let printed = succeeds(&compare, &variables);
    assert!(printed.contains("| CPU per delivery "), "{printed}");

    let all: Value = serde_json::from_str(&fs::read_to_string(&results).unwrap()).unwrap();
    let all = all["results"].as_array().unwrap();
    let ids: Vec<&str> = all
        .iter()
        .map(|result| result["id"].as_str().unwrap())
        .collect();
    for kind in [
        "fanout-1000",
        "fanout-saturated",
        "channels",
        "idle-10000",
        "idle-own",
        "storm",
        "presence-1000",
        "client-events",
        "trigger",
        "trigger-16",
        "publish-latency",
        "slow",
        "restart",
        "echo",
        "subscribe-100000",
        "cluster-1",
        "cluster-saturated",
        "tls-fanout",
        "tls-saturated",
        "tls-connect",
        "tls-idle",
        "idle-ws",
        "idle-socketio",
        "shards-fanout",
        "shards-channels",
    ] {
        assert!(ids.contains(&kind), "{kind} is missing: {ids:?}");
    }
    for result in all {
        let id = result["id"].as_str().unwrap();
        for server in result["servers"].as_array().unwrap() {
            let server = server.as_str().unwrap();
            let rows = result["figures"].as_array().unwrap();
            assert!(
                rows.iter().any(|row| row[server]["median"].is_number()),
                "{id}: {server} has no figures"
            );
            for fault in FAULTS {
                let found = median(result, server, fault).unwrap_or(0.0);
                assert_eq!(found, 0.0, "{id}, {server}: {fault}");
            }
        }
    }
    // What is held against what, and that each of both is what it is called.
    let of = |id: &str, server: &str, figure: &str| {
        let result = all.iter().find(|result| result["id"] == id).unwrap();
        median(result, server, figure)
    };
    assert!(of("trigger", "floor", "CPU per request") < of("trigger", "gema", "CPU per request"));
    assert!(
        of("tls-connect", "plain", "CPU per connect")
            < of("tls-connect", "gema", "CPU per connect")
    );
    assert!(of("shards-fanout", "1 shard", "deliveries per second") > Some(0.0));

    let slow = all.iter().find(|result| result["id"] == "slow").unwrap();
    assert_eq!(
        median(slow, "gema", "slow reader: close code"),
        Some(4100.0)
    );
    assert_eq!(
        median(slow, "peer", "slow reader: close code"),
        Some(4100.0)
    );

    let page = "before\n<!-- generated by gema-bench: begin -->\n<!-- generated by gema-bench: end -->\nafter\n";
    for (command, name, heading) in [
        ("report", "benchmarks.md", "## What things cost"),
        ("capacity", "capacity.md", "## A cluster of 20 such nodes"),
    ] {
        fs::write(path(name), page).unwrap();
        succeeds(&[command, &results, "--into", &path(name)], &[]);
        let text = fs::read_to_string(path(name)).unwrap();
        assert!(text.starts_with("before\n") && text.ends_with("\nafter\n"));
        assert!(text.contains(heading), "{text}");
        assert!(
            text.contains("--quick"),
            "tiny figures are told to be such: {text}"
        );
    }
    for plot in ["delivery", "subscribe", "presence", "memory"] {
        let svg = fs::read_to_string(path(&format!("benchmarks/{plot}.svg"))).unwrap();
        assert!(svg.contains("<polyline class=\"gema\""), "{plot}");
    }
}

#[test]
fn a_server_that_is_there_is_measured_without_its_process() {
    let server = Server::start();
    let fanout = [
        "fanout",
        "--host",
        "localhost",
        "--port",
        &server.port,
        "--subscribers",
        "5",
        "--rate",
        "20",
        "--seconds",
        "1",
    ];
    let printed = succeeds(&fanout, &[]);
    assert!(printed.contains("delivery p50"), "{printed}");
    assert!(!printed.contains("CPU per delivery"), "{printed}");
    let pid = server.child.id().to_string();
    let with_pid: Vec<&str> = fanout.into_iter().chain(["--pid", &pid]).collect();
    let printed = succeeds(&with_pid, &[]);
    assert!(printed.contains("CPU per delivery"), "{printed}");
}

#[test]
fn a_server_at_fault_fails_the_run() {
    let server = Server::start();
    // Five more than it lets into a presence channel.
    let output = bench(
        &[
            "presence",
            "--port",
            &server.port,
            "--members",
            "105",
            "--visits",
            "0",
        ],
        &[],
    );
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("at fault: 5 failed"), "{errors}");
}
