#[path = "support.rs"]
mod support;
use support::on;

fn main() {
    on("parse", async || "1".parse::<u8>());
}
