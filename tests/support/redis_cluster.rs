//! A real Redis Cluster: three masters, and a replica for each if the test wants them.

use std::process::Command;

use super::port::Port;
use super::redis::Redis;
use super::until;

pub struct RedisCluster {
    pub servers: Vec<Redis>,
    /// Where the servers meet.
    _ports: Vec<Port>,
}

impl RedisCluster {
    /// Starts one and waits until it serves; `args` are for each server.
    pub async fn start(replicas: bool, args: &[&str]) -> RedisCluster {
        let (mut servers, mut ports, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..if replicas { 6 } else { 3 } {
            let meeting = Port::free();
            let port = meeting.address().port().to_string();
            let mut all = vec!["--cluster-enabled", "yes", "--cluster-port", &port];
            all.extend(["--cluster-node-timeout", "1000"]);
            all.extend(["--cluster-replica-validity-factor", "0"]);
            all.extend(["--repl-diskless-sync-delay", "0"]);
            all.extend(args);
            let server = Redis::with(&all).await;
            addresses.push(format!("{}@{port}", server.address()));
            servers.push(server);
            ports.push(meeting);
        }
        let output = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(addresses)
            .args(["--cluster-replicas", if replicas { "1" } else { "0" }])
            .arg("--cluster-yes")
            .output()
            .expect("redis-cli");
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{text}");
        let cluster = RedisCluster {
            servers,
            _ports: ports,
        };
        for server in &cluster.servers {
            until("the cluster is well", async || {
                let info: String = server.command(&["CLUSTER", "INFO"]).await;
                info.contains("cluster_state:ok")
            })
            .await;
            until("a replica is in step", async || {
                let info: String = server.command(&["INFO", "replication"]).await;
                info.contains("role:master") || info.contains("master_link_status:up")
            })
            .await;
        }
        cluster
    }

    /// Kills a master, whose replica has all that it had.
    pub async fn kill(&mut self, master: usize) {
        for server in &self.servers {
            if server.is_replica_of(&self.servers[master]).await {
                server.catches_up_with(&self.servers[master]).await;
            }
        }
        self.servers[master].kill();
    }

    /// The server that has the key's slot, as an index.
    pub async fn master_of(&self, key: &str) -> usize {
        for (index, server) in self.servers.iter().enumerate() {
            let role: Vec<redis::Value> = server.command(&["ROLE"]).await;
            let is_master = role[0] == redis::Value::BulkString(b"master".to_vec());
            if is_master && server.try_command::<i64>(&["EXISTS", key]).await.is_ok() {
                return index;
            }
        }
        panic!("nobody has {key}");
    }
}
