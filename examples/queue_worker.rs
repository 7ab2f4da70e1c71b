//! Takes tasks from a Redis list and emits them to a Socket.IO server, through reconnects, losing none.
//!
//! A task is `{"event":"message","data":…}`, its event one of `message`, `action` and `chat`. It lies in `tasks`, and
//! while it is at work in `tasks:processing`, from where it is removed after the server has acknowledged it. After five
//! tries in vain it goes to `tasks:poison`. A task may reach the server twice, so that it should carry an id.
use std::time::Duration;

use redis::{AsyncCommands, Direction, aio::MultiplexedConnection};
use serde_json::Value;
use sockeye_client::{Manager, Reconnection, Socket};

const TASKS: &str = "tasks";
const PROCESSING: &str = "tasks:processing";
const POISON: &str = "tasks:poison";
const TRIES: &str = "tasks:tries";
const MAX_TRIES: u32 = 5;

#[derive(serde::Deserialize)]
struct Task {
    event: String,
    data: Value,
}

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Result<()> {
    tracing_subscriber::fmt().init();
    let variable = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.to_owned());
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    let redis = redis::Client::open(variable("REDIS_URL", "redis://127.0.0.1"))?;
    let mut redis = redis.get_multiplexed_async_connection_with_config(&config).await?;
    let socket = Manager::builder(&variable("SERVER_URL", "http://127.0.0.1:8000/imchat"))
        .auth(serde_json::json!({ "token": variable("TOKEN", "queue-worker") }))
        .reconnection(Reconnection { delay: Duration::ZERO, ..Reconnection::default() })
        .retry_first(true)
        .ack_timeout(Duration::from_secs(10))
        .connect()
        .await?;
    // What a worker before this one left unfinished comes first, in its order.
    while redis.lmove::<_, _, Option<String>>(PROCESSING, TASKS, Direction::Right, Direction::Left).await?.is_some() {}
    // One for all: from its first poll on the signal does not end the program any more.
    let mut interrupted = std::pin::pin!(tokio::signal::ctrl_c());
    loop {
        let wait = redis.blmove::<_, _, Option<String>>(TASKS, PROCESSING, Direction::Left, Direction::Right, 0.0);
        tokio::select! {
            task = wait => if let Some(task) = task? {
                // A task that is cut short stays in `tasks:processing`, and comes first next time.
                tokio::select! {
                    worked = work(&mut redis, &socket, &task) => worked?,
                    _ = &mut interrupted => break,
                }
            },
            _ = &mut interrupted => break,
        }
    }
    socket.manager().disconnect().await;
    Ok(())
}

/// Emits one task until it is acknowledged, or has been tried too often.
async fn work(redis: &mut MultiplexedConnection, socket: &Socket, task: &str) -> Result<()> {
    loop {
        // Waiting for the server is no try, however long it takes.
        socket.ready().await?;
        let Err(problem) = emit(socket, task).await else { break };
        let tries: u32 = redis.hincr(TRIES, task, 1).await?;
        tracing::warn!(task, tries, problem);
        if tries >= MAX_TRIES {
            redis::pipe()
                .atomic()
                .rpush(POISON, task)
                .lrem(PROCESSING, 1, task)
                .hdel(TRIES, task)
                .exec_async(redis)
                .await?;
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100) * tries).await;
    }
    redis::pipe().atomic().lrem(PROCESSING, 1, task).hdel(TRIES, task).exec_async(redis).await?;
    Ok(())
}

async fn emit(socket: &Socket, task: &str) -> std::result::Result<(), String> {
    let task: Task = serde_json::from_str(task).map_err(|error| error.to_string())?;
    if !matches!(task.event.as_str(), "message" | "action" | "chat") {
        return Err(format!("`{}` is not an event of tasks", task.event));
    }
    let answer: Value = socket.emit_with_ack(&task.event, &task.data).await.map_err(|error| error.to_string())?;
    answer.get("error").map_or(Ok(()), |error| Err(format!("the server answers {error}")))
}
