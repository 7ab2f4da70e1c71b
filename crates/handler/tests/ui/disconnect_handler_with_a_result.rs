#[path = "support.rs"]
mod support;
use support::on_disconnect;

fn main() {
    on_disconnect(async || "bye");
}
