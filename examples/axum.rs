//! Beside the routes of an axum application: the server's service answers its own path, axum the others.
use axum::{Router, extract::State, routing::get};
use sockeye::{Data, Server, Socket};

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::var("PORT").unwrap_or_else(|_| "3000".into());
    let listener = tokio::net::TcpListener::bind(format!("127.0.0.1:{port}")).await?;
    axum::serve(listener, app()).await
}

pub(crate) fn app() -> Router {
    let server = Server::new();
    server.of("/").on("chat", async |socket: Socket, Data(text): Data<String>| {
        socket.broadcast().emit("chat", text)?;
        Ok(())
    });
    Router::new()
        .route("/", get(async || "hello from axum"))
        // The handle works in axum's handlers too.
        .route("/announce/{text}", get(announce))
        .route_service("/socket.io/", server.service())
        .with_state(server)
}

async fn announce(State(server): State<Server>, axum::extract::Path(text): axum::extract::Path<String>) -> String {
    match server.emit("chat", &text) {
        Ok(()) => format!("told {} connections\n", server.connection_count()),
        Err(error) => error.to_string(),
    }
}
