use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};
use sockeye_protocol::socketio::{Map, Value};

use crate::Socket;

/// A description of a socket, as servers send it to each other. It has the form of the JavaScript reference.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoteSocketData {
    /// The socket's id.
    pub id: String,
    /// The request that opened the connection.
    pub handshake: RemoteHandshake,
    /// The rooms the socket is in, its own first.
    pub rooms: Vec<String>,
    /// The data set by [`Socket::set_data`].
    pub data: Value,
}

/// A description of the request that opened a connection, as servers send it to each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RemoteHandshake {
    /// The headers as an object with names in lower case. If a name occurs several times, the last value counts.
    pub headers: Value,
    /// The time when the connection was opened, in the format of JavaScript's `Date.toString()` in UTC.
    pub time: String,
    /// The client's address.
    pub address: String,
    /// Whether a web page of another origin opened it.
    pub xdomain: bool,
    /// Whether the connection is encrypted.
    pub secure: bool,
    /// The time when the connection was opened, in milliseconds since the Unix epoch.
    pub issued: u64,
    /// The request target.
    pub url: String,
    /// The query's parameters as an object.
    pub query: Value,
    /// The payload of the client's CONNECT packet (`auth` in the JavaScript client); an empty object unless
    /// [`keep_auth`](crate::Config::keep_auth) is set.
    pub auth: Value,
}

impl RemoteSocketData {
    /// Describes a socket of this server.
    pub fn of(socket: &Socket) -> Self {
        Self {
            id: socket.id().to_string(),
            handshake: RemoteHandshake::of(socket),
            rooms: socket.rooms().iter().map(|room| room.to_string()).collect(),
            data: socket.data(),
        }
    }
}

impl RemoteHandshake {
    /// Describes the handshake of a socket of this server.
    pub fn of(socket: &Socket) -> Self {
        let handshake = socket.handshake();
        let auth = socket.auth().and_then(|auth| serde_json::from_str(auth.get()).ok());
        let issued = handshake.issued().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self {
            headers: Value::Object(handshake.headers().map(|(name, value)| (name.to_owned(), value.into())).collect()),
            time: date_text(issued.as_secs()),
            address: handshake.remote_addr().map(|address| address.ip().to_string()).unwrap_or_default(),
            xdomain: handshake.is_cross_domain(),
            secure: handshake.is_secure(),
            issued: issued.as_millis().try_into().unwrap_or(u64::MAX),
            url: handshake.url().to_owned(),
            query: Value::Object(
                handshake.query().map(|(name, value)| (name.into_owned(), value.into_owned().into())).collect(),
            ),
            auth: auth.unwrap_or_else(|| Value::Object(Map::new())),
        }
    }
}

/// Formats a time, in seconds since the Unix epoch, like JavaScript's `Date.toString()` in the time zone UTC.
fn date_text(seconds: u64) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] = ["Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec", "Jan", "Feb"];
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March end with the leap day. An era is 400 of them, and the first one began 719,468 days before 1970.
    let era = (days + 719_468) / 146_097;
    let of_era = (days + 719_468) % 146_097;
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year_of_era + u64::from(month >= 10);
    let name = |names: &[&'static str], index: u64| {
        usize::try_from(index).ok().and_then(|index| names.get(index).copied()).unwrap_or_default()
    };
    format!(
        "{} {} {day:02} {year} {:02}:{:02}:{:02} GMT+0000 (Coordinated Universal Time)",
        name(&DAYS, days % 7),
        name(&MONTHS, month),
        rest / 3_600,
        rest / 60 % 60,
        rest % 60
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_javascript_does() {
        for (seconds, expected) in [
            (0, "Thu Jan 01 1970 00:00:00"),
            (951_782_400, "Tue Feb 29 2000 00:00:00"),
            (951_868_799, "Tue Feb 29 2000 23:59:59"),
            (951_868_800, "Wed Mar 01 2000 00:00:00"),
            (1_795_842_031, "Sat Nov 28 2026 05:00:31"),
            (4_107_542_400, "Mon Mar 01 2100 00:00:00"),
        ] {
            assert_eq!(date_text(seconds), format!("{expected} GMT+0000 (Coordinated Universal Time)"));
        }
    }
}
