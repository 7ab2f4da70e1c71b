//! The test client: handlers are tested in the same process, without ports and without waiting.
use sockeye::{Data, Server, Socket, TestClientError};

fn shouting() -> Server {
    let server = Server::new();
    server.of("/").on("shout", async |socket: Socket, Data(text): Data<String>| {
        socket.broadcast().emit("shouted", text.to_uppercase())?;
        Ok(text.len())
    });
    server
}

/// In a project of yours this is a `#[tokio::test]`.
#[tokio::main]
pub(crate) async fn main() -> Result<(), TestClientError> {
    let server = shouting();
    let mut ada = server.test_client().connect().await?;
    let mut bob = server.test_client().auth(serde_json::json!({ "name": "bob" })).connect().await?;

    let length: usize = ada.emit_with_ack("shout", "hello").await?;
    assert_eq!(length, 5);

    let received = bob.received();
    assert_eq!(received[0].name, "shouted");
    assert_eq!(received[0].args.as_args().get::<String>(0)?, "HELLO");
    assert!(ada.received().is_empty(), "a broadcast leaves its sender out");

    bob.disconnect().await?;
    assert!(ada.is_connected());
    println!("all as expected");
    Ok(())
}
