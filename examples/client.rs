//! The smallest client: it says hello, and prints what others say.
use sockeye_client::Data;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let socket = sockeye_client::connect("http://localhost:3000").await?;
    socket.on("chat", async |Data(text): Data<String>| println!("{text}"));
    socket.emit("chat", "hello")?;
    tokio::signal::ctrl_c().await?;
    socket.manager().disconnect().await;
    Ok(())
}
