//! Reads messages.
use std::sync::Arc;

use sockeye::{
    ArgsBuf,
    adapter::{RoomNames, Target},
};
use sockeye_protocol::socketio::Encoded;

use super::write::VERSION;
use crate::{
    format::{DecodeError, Decoded},
    message::{AckRequest, Answer, Body, Broadcast, Heartbeat, Message, Question},
};

/// How deeply messages may be nested.
const MAX_DEPTH: usize = 100;

pub(super) fn message(bytes: &[u8]) -> Result<Decoded, DecodeError> {
    let message = Encoded::message_pack(bytes, MAX_DEPTH).map_err(|_| malformed("it is not one MessagePack value"))?;
    let mut fields = Fields::of(message)?;
    if fields.number()? != VERSION {
        return Ok(Decoded::Ignored("it has another version"));
    }
    let sender = fields.optional_text()?;
    let namespace = fields.text()?;
    let body = match fields.number()? {
        1 => {
            let target = fields.target()?;
            let (id, timeout_ms) = (fields.optional_text()?, fields.optional_number()?);
            let acks = id.map(|id| AckRequest { id, timeout_ms });
            let (event, args) = fields.event()?;
            Body::Broadcast(Broadcast { event, args, target, acks })
        }
        2 => Body::Join { target: fields.target()?, rooms: fields.names()? },
        3 => Body::Leave { target: fields.target()?, rooms: fields.names()? },
        4 => Body::Disconnect { target: fields.target()?, close: fields.flag()? },
        5 => {
            let id = fields.text()?;
            let question = match fields.number()? {
                0 => Question::Sockets { target: fields.target()? },
                1 => Question::SocketIds { rooms: fields.names()? },
                2 => Question::Rooms,
                3 => Question::Count { target: fields.target()? },
                4 => {
                    let (event, args) = fields.event()?;
                    Question::ServerEvent { event, args }
                }
                _ => return Ok(Decoded::Ignored("it asks an unknown question")),
            };
            Body::Request { id, question }
        }
        6 => {
            let (request, to) = (fields.text()?, fields.optional_text()?);
            let answer = match fields.number()? {
                0 => Answer::Sockets(fields.decoded()?),
                1 => Answer::SocketIds(fields.decoded()?),
                2 => Answer::Rooms(fields.decoded()?),
                3 => Answer::Count(fields.number()?),
                4 => Answer::ServerEvent(fields.arguments()?),
                5 => Answer::AckCount(fields.number()?),
                6 => Answer::Ack(fields.arguments()?),
                7 => Answer::Done,
                _ => return Ok(Decoded::Ignored("it is an unknown answer")),
            };
            Body::Answer { request, to, answer }
        }
        7 => {
            let (event, args) = fields.event()?;
            Body::ServerEvent { event, args }
        }
        8 => Body::Heartbeat(match fields.number()? {
            0 => Heartbeat::Started,
            1 => Heartbeat::Alive,
            2 => Heartbeat::Stopping,
            _ => return Ok(Decoded::Ignored("it is an unknown heartbeat")),
        }),
        _ => return Ok(Decoded::Ignored("it has an unknown type")),
    };
    Ok(Decoded::Message(Message { sender, namespace, body }))
}

/// The items of an array, in their order.
struct Fields<'a, I: Iterator<Item = Encoded<'a>>>(I);

impl<'a> Fields<'a, std::iter::Empty<Encoded<'a>>> {
    fn of(array: Encoded<'a>) -> Result<Fields<'a, impl Iterator<Item = Encoded<'a>>>, DecodeError> {
        Ok(Fields(array.items().ok_or(malformed("it is not an array"))?.iter()))
    }
}

impl<'a, I: Iterator<Item = Encoded<'a>>> Fields<'a, I> {
    fn next(&mut self) -> Result<Encoded<'a>, DecodeError> {
        self.0.next().ok_or(malformed("it has too few fields"))
    }

    fn optional<T>(
        &mut self,
        read: impl FnOnce(Encoded<'a>) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, DecodeError> {
        let field = self.next()?;
        if field.is_null() { Ok(None) } else { read(field).map(Some) }
    }

    fn number(&mut self) -> Result<u64, DecodeError> {
        number(self.next()?)
    }

    fn optional_number(&mut self) -> Result<Option<u64>, DecodeError> {
        self.optional(number)
    }

    fn text(&mut self) -> Result<Arc<str>, DecodeError> {
        text(self.next()?)
    }

    fn optional_text(&mut self) -> Result<Option<Arc<str>>, DecodeError> {
        self.optional(text)
    }

    fn flag(&mut self) -> Result<bool, DecodeError> {
        self.next()?.as_bool().ok_or(malformed("a field should be a boolean"))
    }

    fn names(&mut self) -> Result<RoomNames, DecodeError> {
        let items = self.next()?.items().ok_or(malformed("the rooms should be an array"))?;
        items.iter().map(text).collect()
    }

    fn target(&mut self) -> Result<Target, DecodeError> {
        let mut fields = Fields::of(self.next()?)?;
        Ok(Target { rooms: fields.names()?, except: fields.names()?, local: false, volatile: fields.flag()? })
    }

    fn event(&mut self) -> Result<(Arc<str>, ArgsBuf), DecodeError> {
        let items = self.next()?.items().ok_or(malformed("an event should be an array"))?;
        let (event, args) = items.split_first().ok_or(malformed("an event should have a name"))?;
        Ok((text(event)?, args.to_owned()))
    }

    fn arguments(&mut self) -> Result<ArgsBuf, DecodeError> {
        Ok(self.next()?.items().ok_or(malformed("the arguments should be an array"))?.to_owned())
    }

    fn decoded<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, DecodeError> {
        self.next()?.decode().map_err(|_| malformed("an answer has another form"))
    }
}

fn number(field: Encoded<'_>) -> Result<u64, DecodeError> {
    field.as_number().and_then(|number| number.as_u64()).ok_or(malformed("a field should be a number"))
}

fn text(field: Encoded<'_>) -> Result<Arc<str>, DecodeError> {
    field.as_str().map(Arc::from).ok_or(malformed("a field should be text"))
}

const fn malformed(why: &'static str) -> DecodeError {
    DecodeError::Malformed(why)
}
