#[path = "support.rs"]
mod support;
use std::sync::Mutex;

use support::on;

struct Database(Mutex<u64>);

fn main() {
    let database = Database(Mutex::new(0));
    on("count", async move || *database.0.lock().unwrap() += 1);
}
