use bytes::Bytes;
use serde_json::{
    Map, Value,
    value::{RawValue, to_raw_value},
};
use sockeye_protocol::socketio::{self, Arguments, EncodeError, membership::Recovery, msgpack};

use super::packet::{Kind, Outgoing};
use crate::{EngineVersion, Parser};

/// The room in bytes that every message begins with.
const ROOM: usize = 64;

impl Parser {
    pub(crate) fn event(
        self,
        namespace: &str,
        ack: Option<u64>,
        name: &str,
        args: &impl Arguments,
    ) -> Result<Outgoing, EncodeError> {
        let packet = self.encode(
            |out| socketio::encode_event(out, namespace, ack, name, args),
            |out| msgpack::encode_event(out, namespace, ack, name, args),
        );
        packet.map(|packet| Outgoing { ack, ..packet })
    }

    pub(crate) fn ack(self, namespace: &str, id: u64, args: &impl Arguments) -> Result<Outgoing, EncodeError> {
        self.encode(
            |out| socketio::encode_ack(out, namespace, id, args),
            |out| msgpack::encode_ack(out, namespace, id, args),
        )
    }

    /// CONNECT with this authentication data and, in revision 5 of the protocol, an offer of the session to recover.
    /// Servers of revision 4 read authentication data from the query of the namespace.
    pub(crate) fn connect(
        self,
        version: EngineVersion,
        namespace: &str,
        auth: Option<&RawValue>,
        offer: Option<&Recovery>,
    ) -> Result<Outgoing, EncodeError> {
        let mut members: Map<String, Value> =
            auth.map(|auth| serde_json::from_str(auth.get())).transpose()?.unwrap_or_default();
        match (version, offer) {
            (EngineVersion::V3, _) => return self.connect_to(&with_query(namespace, &members), None),
            (EngineVersion::V4, None) => return self.connect_to(namespace, auth),
            (EngineVersion::V4, Some(Recovery { pid, offset })) => {
                members.insert("pid".to_owned(), pid.as_str().into());
                members.extend(offset.as_deref().map(|offset| ("offset".to_owned(), offset.into())));
            }
        }
        self.connect_to(namespace, Some(&to_raw_value(&members)?))
    }

    fn connect_to(self, namespace: &str, payload: Option<&RawValue>) -> Result<Outgoing, EncodeError> {
        self.encode(
            |out| socketio::encode_connect(out, namespace, payload).map(|()| Vec::new()),
            |out| {
                // A raw value is text to any serialiser but JSON's.
                let payload: Option<Value> = payload.map(|payload| serde_json::from_str(payload.get())).transpose()?;
                msgpack::encode_connect(out, namespace, payload.as_ref())
            },
        )
    }

    pub(crate) fn disconnect(self, namespace: &str) -> Result<Outgoing, EncodeError> {
        self.encode(
            |out| {
                socketio::encode_disconnect(out, namespace);
                Ok(Vec::new())
            },
            |out| msgpack::encode_disconnect(out, namespace),
        )
    }

    /// Encodes a packet in its format: as JSON with attachments, or as one binary message.
    fn encode(
        self,
        json: impl FnOnce(&mut Vec<u8>) -> Result<Vec<Bytes>, EncodeError>,
        message_pack: impl FnOnce(&mut Vec<u8>) -> Result<(), EncodeError>,
    ) -> Result<Outgoing, EncodeError> {
        let mut head = Vec::with_capacity(ROOM);
        let (kind, attachments) = match self {
            Self::Json => {
                head.push(b'4');
                (Kind::Text, json(&mut head)?)
            }
            Self::MessagePack => {
                message_pack(&mut head)?;
                (Kind::Binary, Vec::new())
            }
        };
        // A buffer that grew may have room for twice its bytes, which a queue does not count.
        if head.capacity() - head.len() > ROOM + head.len() / 8 {
            head.shrink_to_fit();
        }
        Ok(Outgoing { head, kind, attachments, ..Outgoing::default() })
    }
}

fn with_query(namespace: &str, members: &Map<String, Value>) -> String {
    if members.is_empty() {
        return namespace.to_owned();
    }
    let pairs = members.iter().map(|(name, value)| {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        (name.clone(), text)
    });
    let query = reqwest::Url::parse_with_params("http://localhost", pairs).ok();
    format!("{namespace}?{}", query.as_ref().and_then(|url| url.query()).unwrap_or_default())
}
