//! Rooms: who is in one hears what is said in it.
use sockeye::{Args, Data, ServeError, Server, Socket};

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    rooms().serve("localhost:3000").await
}

pub(crate) fn rooms() -> Server {
    let server = Server::new();
    let root = server.of("/");
    // The limit of rooms for one socket is the only way to fail; the client is told as `{"error": …}`.
    root.on("join", async |socket: Socket, Data(room): Data<String>| Ok(socket.join(room)?));
    root.on("leave", async |socket: Socket, Data(room): Data<String>| socket.leave(room));
    root.on("say", async |socket: Socket, Args((room, text)): Args<(String, String)>| {
        if socket.is_in(&room) {
            socket.to(&room).emit("said", (&room, &text))?;
            Ok(())
        } else {
            Err(format!("join {room} first").into())
        }
    });
    server
}
