//! Middleware: only who has a token is let in, and only moderators may delete.
use sockeye::{Auth, ConnectRefusal, Data, EventName, ServeError, Server, Socket};

#[derive(serde::Deserialize)]
struct Credentials {
    token: String,
}

/// Who a socket belongs to, kept with it.
struct User {
    name: String,
    is_moderator: bool,
}

#[tokio::main]
async fn main() -> Result<(), ServeError> {
    middleware_auth().serve("localhost:3000").await
}

pub(crate) fn middleware_auth() -> Server {
    let server = Server::new();
    let root = server.of("/");
    root.middleware(async |socket: Socket, Auth(auth): Auth<Option<Credentials>>| {
        let user = auth
            .and_then(|auth| user_of(&auth.token))
            .ok_or_else(|| ConnectRefusal::new("unknown token").with_data(&serde_json::json!({ "login": "/login" })))?;
        socket.insert(user);
        Ok(())
    });
    root.event_middleware(async |socket: Socket, EventName(event): EventName| {
        let is_moderator = socket.extension::<User>().is_some_and(|user| user.is_moderator);
        if event.starts_with("delete") && !is_moderator { Err("only moderators may delete".into()) } else { Ok(()) }
    });
    root.on("who am i", async |socket: Socket| socket.extension::<User>().map(|user| user.name.clone()));
    root.on("delete message", async |Data(id): Data<u64>| format!("message {id} is gone"));
    server
}

/// Stands for a database or an identity service.
fn user_of(token: &str) -> Option<User> {
    let name = token.strip_prefix("token-of-")?;
    Some(User { name: name.into(), is_moderator: name == "ada" })
}
