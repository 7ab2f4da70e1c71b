#[path = "support.rs"]
mod support;
use sockeye_handler::Data;
use support::on_disconnect;

fn main() {
    on_disconnect(async |Data(_reason): Data<String>| {});
}
