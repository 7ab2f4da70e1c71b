//! Measures the client: `client_load idle 5000` opens connections and says what one costs in memory; `client_load
//! acks 100000 16` emits with acknowledgements, so many of them in flight, and `client_load acks 100000 1 100` does so on
//! as many connections; `client_load retries 100000 50` does so with retries through as many forced reconnects, and fails
//! unless each event was handled, in order. `URL` is the address of
//! a `bench_app`. `RUNTIME` says where the work is done: `main`, the default, is the main function of tokio's usual
//! runtime, `spawned` a task of it, and `single` a runtime of one thread.
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use sockeye::Server;
use sockeye_client::{Manager, ManagerBuilder, Reconnection, Retries, Socket, Transport};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
    task::{AbortHandle, JoinSet},
};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

fn main() -> Result<()> {
    match std::env::var("RUNTIME").as_deref() {
        Ok("single") => Builder::new_current_thread().enable_all().build()?.block_on(measure()),
        Ok("spawned") => Runtime::new()?.block_on(async { tokio::spawn(measure()).await? }),
        _ => Runtime::new()?.block_on(measure()),
    }
}

async fn measure() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |index: usize, default| arguments.get(index).and_then(|text| text.parse().ok()).unwrap_or(default);
    match arguments.first().map(String::as_str) {
        Some("idle") => idle(number(1, 5000)).await,
        Some("acks") => acks(number(1, 100_000), number(2, 16), number(3, 1)).await,
        Some("retries") => retries(number(1, 100_000), number(2, 50)).await,
        _ => Err("say what to measure: idle, acks or retries".into()),
    }
}

fn builder() -> ManagerBuilder {
    let url = std::env::var("URL").unwrap_or_else(|_| "http://127.0.0.1:3000".to_owned());
    Manager::builder(&url).transports(Transport::WebSocket)
}

async fn idle(count: u64) -> Result<()> {
    let first = builder().connect().await?;
    let before = resident()?;
    let mut sockets = Vec::new();
    for _ in 0..count {
        sockets.push(builder().connect().await?);
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let grown = resident()? - before;
    println!("{count} connections, {:.2} KiB each", grown as f64 / count as f64);
    drop((first, sockets));
    Ok(())
}

async fn acks(count: u64, in_flight: u64, connections: u64) -> Result<()> {
    let mut sockets = Vec::new();
    for _ in 0..connections {
        sockets.push(builder().connect().await?);
    }
    let (start, cpu) = (Instant::now(), cpu()?);
    let mut tasks = JoinSet::new();
    let (last, others) = sockets.split_last().ok_or("no connections")?;
    for socket in others {
        tasks.spawn(ask(socket.clone(), count / connections, in_flight));
    }
    ask(last.clone(), count / connections, in_flight).await?;
    while let Some(ended) = tasks.join_next().await {
        ended??;
    }
    let used = self::cpu()? - cpu;
    let each = used * 1e6 / count as f64;
    let took = start.elapsed();
    println!("{count} acks, {connections} × {in_flight} in flight, in {took:?}: {each:.2} µs CPU each");
    Ok(())
}

async fn ask(socket: Socket, count: u64, in_flight: u64) -> Result<()> {
    let mut waiting = std::collections::VecDeque::new();
    for number in 0..count {
        waiting.push_back(socket.emit_with_ack::<u64>("echo", &number));
        if waiting.len() as u64 == in_flight
            && let Some(ack) = waiting.pop_front()
        {
            ack.await?;
        }
    }
    for ack in waiting {
        ack.await?;
    }
    Ok(())
}

async fn retries(count: u64, cuts: u64) -> Result<()> {
    let handled = Arc::new(Mutex::new(Vec::new()));
    let log = handled.clone();
    let server = Server::new();
    server.of("/").on("task", move |sockeye::Args((number, id)): sockeye::Args<(u64, String)>| {
        log.lock().map(|mut log| log.push((number, id))).ok();
        async move { number }
    });
    let probe = std::net::TcpListener::bind("127.0.0.1:0")?;
    let target = probe.local_addr()?;
    drop(probe);
    tokio::spawn(async move { server.serve(target).await });
    let links: Arc<Mutex<Vec<AbortHandle>>> = Arc::default();
    let proxy = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}", proxy.local_addr()?);
    tokio::spawn(forward(proxy, target, links.clone()));
    let delay = Duration::from_millis(10);
    let socket = Manager::builder(&url)
        .transports(Transport::WebSocket)
        .reconnection(Reconnection { delay, delay_max: delay * 10, ..Reconnection::default() })
        .retry_first(true)
        .retries(Retries { ids: true, ..Retries::default() })
        .connect()
        .await?;
    let start = Instant::now();
    let every = (count / (cuts + 1)).max(1);
    let mut waiting = std::collections::VecDeque::new();
    for number in 0..count {
        waiting.push_back(socket.emit_with_ack::<u64>("task", &number));
        if number % every == every - 1
            && let Ok(mut links) = links.lock()
        {
            links.drain(..).for_each(|link| link.abort());
        }
        if waiting.len() == 100
            && let Some(ack) = waiting.pop_front()
        {
            ack.await?;
        }
    }
    for ack in waiting {
        ack.await?;
    }
    let mut handled = std::mem::take(&mut *handled.lock().map_err(|_| "the handler panicked")?);
    let times = handled.len();
    handled.dedup();
    if !handled.iter().map(|(number, _)| *number).eq(0..count) {
        return Err("not every event was handled, or not in order".into());
    }
    println!("{count} events through {cuts} cuts in {:?}, handled {times} times", start.elapsed());
    Ok(())
}

/// A proxy whose connections can be cut.
async fn forward(listener: TcpListener, target: SocketAddr, links: Arc<Mutex<Vec<AbortHandle>>>) {
    while let Ok((mut client, _)) = listener.accept().await {
        let link = tokio::spawn(async move {
            if let Ok(mut server) = TcpStream::connect(target).await {
                copy_bidirectional(&mut client, &mut server).await.ok();
            }
        });
        links.lock().map(|mut links| links.push(link.abort_handle())).ok();
    }
}

/// The memory of this process in KiB.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

/// The CPU time of this process in seconds, of which the system counts hundredths.
fn cpu() -> Result<f64> {
    let stat = std::fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<f64> = stat.split(' ').filter_map(|field| field.parse().ok()).collect();
    Ok((fields.get(11).ok_or("no utime")? + fields.get(12).ok_or("no stime")?) / 100.0)
}
