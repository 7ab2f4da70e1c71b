#[path = "support.rs"]
mod support;
use support::on;

#[derive(serde::Serialize)]
struct Sum {
    total: i64,
}

fn main() {
    on("sum", async || Sum { total: 3 });
}
