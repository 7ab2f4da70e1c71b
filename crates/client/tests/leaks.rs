//! Nothing is left behind: neither tasks nor sockets. It counts those of the whole process, so that it is alone.
#[path = "support/process.rs"]
mod process;
mod support;

use std::time::Duration;

use process::SERVERS;
use serde_json::json;
use sockeye::{Reply, Server};
use sockeye_client::{Manager, Reconnection};
use support::{Local, TRANSPORTS, eventually};

fn open_files() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

fn tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test]
async fn a_dropped_client_leaves_no_task_and_no_socket() {
    let server = Server::new();
    server.of("/").on("echo", async |sockeye::RawArgs(args): sockeye::RawArgs| Reply::of(args));
    let local = Local::serve(server).await;
    leaves_nothing("sockeye", &local.url(), 5).await;
    assert_eq!(local.server.connection_count(), 0);
    for (name, start) in SERVERS {
        let server = start(json!({}));
        leaves_nothing(name, &server.url(), 2).await;
    }
}

async fn leaves_nothing(name: &str, url: &str, rounds: usize) {
    let files_before = open_files();
    let mut tasks_before = usize::MAX;
    let nobody = {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    for round in 0..rounds {
        for transports in TRANSPORTS {
            let builder = || Manager::builder(url).transports(transports);
            // Disconnected.
            let socket = builder().connect().await.unwrap();
            assert_eq!(socket.emit_with_ack::<u8>("echo", &1).await.unwrap(), 1);
            socket.manager().disconnect().await;
            // The handle is dropped instead.
            let dropped = builder().connect().await.unwrap();
            assert_eq!(dropped.emit_with_ack::<u8>("echo", &1).await.unwrap(), 1);
            drop(dropped);
            // Failed: by the path, the namespace, the address, and because nobody waits any more.
            builder().path("/wrong").connect().await.unwrap_err();
            builder().build().unwrap().socket("/nowhere").connect().await.unwrap_err();
            Manager::builder(&nobody).transports(transports).connect().await.unwrap_err();
            let unending = Manager::builder(&nobody).retry_first(true).reconnection(Reconnection::default()).connect();
            tokio::time::timeout(Duration::from_millis(20), unending).await.unwrap_err();
        }
        eventually(&format!("{name}: all sockets are closed in round {round}"), || open_files() <= files_before).await;
        eventually(&format!("{name}: all tasks have ended in round {round}"), || tasks() <= tasks_before).await;
        if round == 0 {
            // The tasks of a server in this process begin with its first connection, and stay.
            tasks_before = tasks();
        }
    }
}
