//! The monitor: the namespace `/test` reports how busy the machine is. One sample is taken for all clients, and only while
//! there are any.
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use serde::Serialize;
use sockeye::{LogThrottle, Namespace, Server, Socket, log_throttled};
use tokio::{
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval_at},
};

use crate::log;

/// The namespace and the event that existing dashboards use.
const NAMESPACE: &str = "/test";
const EVENT: &str = "server_response";

/// Samples the machine for the monitor's clients of one server.
pub(crate) struct Monitor {
    namespace: Namespace,
    interval: Duration,
    connections: Box<dyn Fn() -> usize + Send + Sync>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    task: Option<JoinHandle<()>>,
    /// The counters as last read, and the loads computed from them.
    read: Option<(Instant, Vec<CoreTimes>)>,
    cores: Vec<f64>,
    count: u64,
}

/// The data of the event `server_response`.
#[derive(Debug, PartialEq, Serialize)]
struct Sample {
    /// The time as `MM:SS`, and the load of each core in percent.
    data: (String, Vec<f64>),
    /// The number of the sample.
    count: u64,
    memory: Memory,
    /// Open connections, plain WebSockets included.
    connections: usize,
    log: LogCounts,
}

/// What the log has not said since the program started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
struct LogCounts {
    /// Messages that clients caused and that were left out because they repeat.
    left_out: u64,
    /// Lines that were dropped because the log's reader is too slow.
    dropped: u64,
}

/// The machine's memory in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
struct Memory {
    used: u64,
    total: u64,
}

/// How long a core was busy and how long it was counted, in ticks since the machine's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CoreTimes {
    busy: u64,
    total: u64,
}

impl Monitor {
    /// Registers the monitor on a server. `connections` returns how many connections are open.
    pub(crate) fn attach(server: &Server, interval: Duration, connections: impl Fn() -> usize + Send + Sync + 'static) {
        let namespace = server.of(NAMESPACE);
        let state = State { read: Some((Instant::now(), read_cores())), ..State::default() };
        let monitor =
            Arc::new(Self { namespace, interval, connections: Box::new(connections), state: Mutex::new(state) });
        let (joins, leaves) = (monitor.clone(), monitor.clone());
        monitor
            .namespace
            .on_connect(move |socket: Socket| {
                joins.join(&socket);
                std::future::ready(())
            })
            .on_disconnect(move || {
                leaves.leave();
                std::future::ready(())
            });
    }

    /// Sends a new client a sample at once, and starts the task that samples if this is the first client.
    fn join(self: &Arc<Self>, client: &Socket) {
        let mut state = self.state.lock();
        let sample = self.sample(&mut state);
        if let Err(error) = client.emit(EVENT, &sample) {
            tracing::debug!(%error, "a client of the monitor left at once");
        }
        if state.task.is_none() {
            state.task = Some(tokio::spawn(self.clone().run()));
        }
    }

    /// Stops the task that samples if the last client has left.
    fn leave(&self) {
        let mut state = self.state.lock();
        if self.namespace.local().is_empty()
            && let Some(task) = state.task.take()
        {
            task.abort();
        }
    }

    async fn run(self: Arc<Self>) {
        let mut ticks = interval_at(Instant::now() + self.interval, self.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let sample = self.sample(&mut self.state.lock());
            if let Err(error) = self.namespace.emit(EVENT, &sample) {
                log_throttled!(error, &error.to_string(), %error, "cannot send a sample of the monitor");
            }
        }
    }

    fn sample(&self, state: &mut State) -> Sample {
        /// The kernel counts in hundredths of a second, so that a load over a shorter time is noise.
        const SHORTEST: Duration = Duration::from_millis(250);
        let now = Instant::now();
        match &mut state.read {
            Some((at, _)) if now.duration_since(*at) < SHORTEST && !state.cores.is_empty() => {}
            read => {
                let cores = read_cores();
                let before = read.as_ref().map(|(_, cores)| cores.as_slice()).unwrap_or_default();
                state.cores = loads(before, &cores);
                *read = Some((now, cores));
            }
        }
        state.count += 1;
        Sample {
            data: (minutes_and_seconds(SystemTime::now()), state.cores.clone()),
            count: state.count,
            memory: read_proc("/proc/meminfo").map(|text| parse_memory(&text)).unwrap_or_default(),
            connections: (self.connections)(),
            log: LogCounts { left_out: LogThrottle::left_out(), dropped: log::dropped() },
        }
    }
}

fn read_cores() -> Vec<CoreTimes> {
    read_proc("/proc/stat").map(|text| parse_cores(&text)).unwrap_or_default()
}

/// Reads a file of the proc file system, which only Linux has; elsewhere the monitor shows nothing.
fn read_proc(path: &str) -> Option<String> {
    match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) => {
            tracing::debug!(path, %error, "cannot read the load of the machine");
            None
        }
    }
}

/// Reads the lines `cpu0 user nice system idle iowait irq softirq steal …`, without the line of their sum.
fn parse_cores(stat: &str) -> Vec<CoreTimes> {
    stat.lines()
        .filter_map(|line| {
            let mut fields = line.strip_prefix("cpu")?.split_ascii_whitespace();
            let _number: u32 =
                line.strip_prefix("cpu")?.starts_with(char::is_numeric).then(|| fields.next())??.parse().ok()?;
            // The time of guests is part of the user time, so that only the first eight fields are added up.
            let ticks: Vec<u64> = fields.take(8).map_while(|field| field.parse().ok()).collect();
            let idle = ticks.get(3)? + ticks.get(4).copied().unwrap_or(0);
            let total: u64 = ticks.iter().sum();
            Some(CoreTimes { busy: total.saturating_sub(idle), total })
        })
        .collect()
}

/// The load of each core between two readings, in percent with one decimal. For a core that was not there before, the time
/// from the machine's start counts.
fn loads(before: &[CoreTimes], after: &[CoreTimes]) -> Vec<f64> {
    let before = before.iter().copied().chain(std::iter::repeat(CoreTimes { busy: 0, total: 0 }));
    after
        .iter()
        .zip(before)
        .map(|(after, before)| {
            // The kernel sometimes corrects its counters downwards.
            let busy = after.busy.saturating_sub(before.busy);
            let total = after.total.saturating_sub(before.total);
            let permille = busy.saturating_mul(1000).checked_div(total).unwrap_or(0).min(1000);
            u32::try_from(permille).map_or(100.0, |permille| f64::from(permille) / 10.0)
        })
        .collect()
}

fn parse_memory(meminfo: &str) -> Memory {
    let kibibytes = |name: &str| {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    let total = kibibytes("MemTotal").unwrap_or(0);
    let available = kibibytes("MemAvailable").or_else(|| kibibytes("MemFree")).unwrap_or(total);
    Memory { used: total.saturating_sub(available).saturating_mul(1024), total: total.saturating_mul(1024) }
}

fn minutes_and_seconds(time: SystemTime) -> String {
    let seconds = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    format!("{:02}:{:02}", seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  300 0 100 600 0 0 0 0 0 0\ncpu0 100 0 50 350 0 0 0 0 0 0\n\
                        cpu1 200 10 50 240 10 5 5 0 99 0\ncpu12 1 2 3 4\nintr 12 0 0\nctxt 99\ncpufreq 1\n";

    #[test]
    fn cores_are_read_without_their_sum() {
        let cores = parse_cores(STAT);
        assert_eq!(
            cores,
            [
                CoreTimes { busy: 150, total: 500 },
                CoreTimes { busy: 270, total: 520 },
                CoreTimes { busy: 6, total: 10 }
            ]
        );
        assert_eq!(parse_cores(""), []);
        assert_eq!(parse_cores("cpu0\ncpux 1 2 3 4\ncpu1 1 2"), []);
    }

    #[test]
    fn loads_are_the_difference_of_two_readings() {
        let times = |busy, total| CoreTimes { busy, total };
        assert_eq!(loads(&[times(100, 200), times(0, 0)], &[times(150, 300), times(0, 0)]), [50.0, 0.0]);
        assert_eq!(loads(&[], &[times(1, 8)]), [12.5]);
        assert_eq!(loads(&[times(100, 200)], &[times(90, 210)]), [0.0]);
        assert_eq!(loads(&[times(0, 0), times(0, 0)], &[times(3, 3)]), [100.0]);
    }

    #[test]
    fn memory_is_in_bytes() {
        let text = "MemTotal:        8000 kB\nMemFree:         1000 kB\nMemAvailable:    6000 kB\n";
        assert_eq!(parse_memory(text), Memory { used: 2000 * 1024, total: 8000 * 1024 });
        assert_eq!(
            parse_memory("MemTotal: 8000 kB\nMemFree: 1000 kB"),
            Memory { used: 7000 * 1024, total: 8000 * 1024 }
        );
        assert_eq!(parse_memory("nonsense"), Memory::default());
    }

    #[test]
    fn a_sample_has_the_form_that_dashboards_expect() {
        let sample = Sample {
            data: (minutes_and_seconds(UNIX_EPOCH + Duration::from_secs(7325)), vec![1.5]),
            count: 3,
            memory: Memory { used: 1, total: 2 },
            connections: 4,
            log: LogCounts { left_out: 5, dropped: 6 },
        };
        let expected = r#"{"data":["02:05",[1.5]],"count":3,"memory":{"used":1,"total":2},"connections":4,"log":{"left_out":5,"dropped":6}}"#;
        assert_eq!(serde_json::to_string(&sample).unwrap(), expected);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_cores_and_memory() {
        assert!(!read_cores().is_empty());
        let memory = parse_memory(&read_proc("/proc/meminfo").unwrap());
        assert!(0 < memory.used && memory.used < memory.total);
    }
}
