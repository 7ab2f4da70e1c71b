//! A Redis Cluster that a test starts on free ports in folders of its own, and that ends with the test.
use std::{
    net::TcpListener,
    time::{Duration, Instant},
};

use crate::redis_server::RedisServer;

/// How many slots a cluster has.
const SLOTS: u16 = 16_384;

/// Masters, then the replica of each, if they have any.
pub(crate) struct RedisCluster {
    pub(crate) nodes: Vec<RedisServer>,
    /// Those that answer no more.
    gone: Vec<usize>,
}

impl RedisCluster {
    /// Three masters, with a replica each or without.
    pub(crate) fn start(with_replicas: bool) -> Self {
        let masters = 3;
        let count = if with_replicas { 2 * masters } else { masters };
        let start = |_| {
            let bus_port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port().to_string();
            let mut arguments = vec!["--cluster-enabled", "yes", "--cluster-node-timeout", "1000"];
            arguments.extend(["--repl-diskless-sync-delay", "0", "--cluster-port", &bus_port]);
            (RedisServer::start(&arguments), bus_port)
        };
        let (nodes, bus_ports): (Vec<_>, Vec<_>) = (0..count).map(start).unzip();
        let cluster = Self { nodes, gone: Vec::new() };
        let share = SLOTS / 3 + 1;
        for number in 0..masters {
            let first = u16::try_from(number).unwrap() * share;
            let last = (first + share - 1).min(SLOTS - 1);
            cluster.ask(number, &["cluster", "addslotsrange", &first.to_string(), &last.to_string()]);
        }
        for number in 0..count {
            cluster.ask(number, &["cluster", "set-config-epoch", &(number + 1).to_string()]);
            for (other, bus_port) in cluster.nodes.iter().zip(&bus_ports) {
                cluster.ask(number, &["cluster", "meet", "127.0.0.1", &other.port.to_string(), bus_port]);
            }
        }
        for number in 0..count {
            cluster.until(number, &["cluster", "info"], &format!("cluster_known_nodes:{count}"));
        }
        for number in masters..count {
            let id = cluster.id(number - masters);
            cluster.until(number, &["cluster", "nodes"], &id);
            cluster.until(number, &["cluster", "replicate", &id], "OK");
        }
        for number in masters..count {
            cluster.until(number, &["role"], "connected");
        }
        for number in 0..count {
            cluster.until(number, &["cluster", "info"], "cluster_state:ok");
            for node in &cluster.nodes {
                cluster.until(number, &["cluster", "slots"], &node.port.to_string());
            }
        }
        cluster
    }

    /// The address of all nodes.
    pub(crate) fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// The number of the master that serves a slot.
    pub(crate) fn master_of(&self, slot: u16) -> usize {
        let asked = (0..self.nodes.len()).find(|number| !self.gone.contains(number)).unwrap();
        let nodes = self.ask(asked, &["cluster", "slots"]);
        // Each range is its first slot, its last one, and then the address of its master.
        let lines: Vec<_> = nodes.lines().map(str::trim).collect();
        for window in lines.windows(4) {
            if let [first, last, "127.0.0.1", port] = window
                && let (Ok(first), Ok(last), Ok(port)) = (first.parse(), last.parse(), port.parse::<u16>())
                && (first..=last).contains(&slot)
            {
                return self.nodes.iter().position(|node| node.port == port).unwrap();
            }
        }
        panic!("no master serves {slot}: {nodes}");
    }

    /// Moves a slot without keys to another master.
    pub(crate) fn move_slot(&self, slot: u16, to: usize) {
        let from = self.master_of(slot);
        let (old, new, slot) = (self.id(from), self.id(to), slot.to_string());
        self.ask(to, &["cluster", "setslot", &slot, "importing", &old]);
        self.ask(from, &["cluster", "setslot", &slot, "migrating", &new]);
        for number in [to, from] {
            assert_eq!(self.ask(number, &["cluster", "setslot", &slot, "node", &new]).trim(), "OK");
        }
    }

    /// Kills the master of a slot, or stops it so that it only answers no more, and waits until its replica has taken its
    /// place.
    pub(crate) fn fail_over(&mut self, slot: u16, kill: bool) {
        let master = self.master_of(slot);
        self.gone.push(master);
        match kill {
            true => self.nodes[master].kill(),
            false => self.nodes[master].pause(true),
        }
        let start = Instant::now();
        while self.master_of(slot) == master {
            assert!(start.elapsed() < Duration::from_secs(30), "no replica takes the master's place");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// What a node answers to a command.
    pub(crate) fn ask(&self, number: usize, command: &[&str]) -> String {
        self.nodes[number].ask(command)
    }

    fn id(&self, number: usize) -> String {
        self.ask(number, &["cluster", "myid"]).trim().to_owned()
    }

    fn until(&self, number: usize, command: &[&str], expected: &str) {
        self.nodes[number].until(command, expected);
    }
}
