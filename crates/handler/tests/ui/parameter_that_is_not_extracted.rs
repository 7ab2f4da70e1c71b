#[path = "support.rs"]
mod support;
use support::on;

fn main() {
    on("say", async |_text: String| {});
}
