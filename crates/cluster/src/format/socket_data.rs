//! Descriptions of sockets, as Node servers write them.
use sockeye::adapter::{RemoteHandshake, RemoteSocketData};
use sockeye_protocol::socketio::{Encoded, Map, Value};

/// Reads a description. Programs change and remove members of the handshake, so that only the id must be there.
pub(super) fn read(socket: Encoded<'_>) -> Option<RemoteSocketData> {
    let id = socket.get("id")?.as_str()?.into_owned();
    let rooms = socket.get("rooms").and_then(|rooms| rooms.items());
    let rooms = rooms.map(|rooms| rooms.iter().filter_map(|room| Some(room.as_name()?.into_owned())).collect());
    Some(RemoteSocketData {
        id,
        handshake: handshake(socket.get("handshake")),
        rooms: rooms.unwrap_or_default(),
        data: value(socket.get("data")),
    })
}

/// Whether JSON cannot hold it.
pub(super) fn has_binary(socket: &RemoteSocketData) -> bool {
    let RemoteHandshake { headers, query, auth, .. } = &socket.handshake;
    [headers, query, auth, &socket.data].into_iter().any(is_or_holds_binary)
}

fn handshake(handshake: Option<Encoded<'_>>) -> RemoteHandshake {
    let member = |name| handshake.and_then(|handshake| handshake.get(name));
    let text = |name| member(name).and_then(|text| text.as_str()).unwrap_or_default().into_owned();
    let flag = |name| member(name).and_then(|flag| flag.as_bool()).unwrap_or_default();
    RemoteHandshake {
        headers: value(member("headers")),
        time: text("time"),
        address: text("address"),
        xdomain: flag("xdomain"),
        secure: flag("secure"),
        issued: member("issued").and_then(|issued| issued.as_number()?.as_u64()).unwrap_or_default(),
        url: text("url"),
        query: value(member("query")),
        auth: value(member("auth")),
    }
}

/// The value; an empty object if there is none or if a key of it is no text.
fn value(encoded: Option<Encoded<'_>>) -> Value {
    encoded.and_then(|value| value.decode().ok()).unwrap_or_else(|| Value::Object(Map::new()))
}

fn is_or_holds_binary(value: &Value) -> bool {
    match value {
        Value::Binary(_) => true,
        Value::Array(items) => items.iter().any(is_or_holds_binary),
        Value::Object(members) => members.values().any(is_or_holds_binary),
        _ => false,
    }
}
