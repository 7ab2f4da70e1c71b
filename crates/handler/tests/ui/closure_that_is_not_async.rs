#[path = "support.rs"]
mod support;
use support::{Socket, on};

fn main() {
    on("say", |_socket: Socket| {});
}
