#[path = "support.rs"]
mod support;
use sockeye_handler::Data;
use support::{Socket, on};

struct Order;

fn main() {
    on("order", async |_socket: Socket, Data(_order): Data<Order>| {});
}
