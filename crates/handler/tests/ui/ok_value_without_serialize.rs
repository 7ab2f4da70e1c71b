#[path = "support.rs"]
mod support;
use support::on;

struct Sum;

fn main() {
    on("sum", async || Ok(Sum));
}
