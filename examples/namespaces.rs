//! Namespaces: one for all, and one for each shop that is made when a client asks for it and goes with the last.
use sockeye::{Config, Data, ServeError, Server, Socket, matching};

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    namespaces().serve("localhost:3000").await
}

pub(crate) fn namespaces() -> Server {
    let server = Server::builder().config(Config { cleanup_empty_child_namespaces: true, ..Config::default() }).build();
    server.of("/news").on_connect(async |socket: Socket| {
        socket.emit("headline", "a shop has opened")?;
        Ok(())
    });
    let shops = server.of_matching(matching("/shops/*"));
    shops.on("order", async |socket: Socket, Data(what): Data<String>| {
        socket.namespace().emit("ordered", what)?;
        Ok(())
    });
    server
}
