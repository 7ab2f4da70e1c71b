#[path = "support.rs"]
mod support;
use support::{Socket, on};

type S = Socket;

fn main() {
    on("say", async |_: S, _: S, _: S, _: S, _: S, _: S, _: S, _: S, _: S| {});
}
