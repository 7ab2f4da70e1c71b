//! Writes one document piece by piece, as JSON or as MessagePack.
use bytes::Bytes;
use serde::Serialize;
use sockeye::ArgsBuf;
use sockeye_protocol::socketio::{self, append_elements, msgpack};

use super::EncodeError;

/// How a document is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// Text, without binary data.
    Json,
    /// As `notepack.io` 3 and `@msgpack/msgpack` write it.
    MessagePack,
}

/// A document that is being written. The caller opens, fills and ends maps and arrays in order.
#[derive(Debug)]
pub(super) struct Document {
    out: Vec<u8>,
    encoding: Encoding,
}

impl Document {
    /// An empty document for about `capacity` bytes.
    pub(super) fn new(encoding: Encoding, capacity: usize) -> Self {
        Self { out: Vec::with_capacity(capacity), encoding }
    }

    /// Opens an object of `length` members.
    pub(super) fn map(&mut self, length: usize) -> Result<(), EncodeError> {
        self.open(b'{', |writer| writer.map_head(length))
    }

    /// Ends the object that was opened last.
    pub(super) fn end_map(&mut self) {
        self.end(b'}');
    }

    /// Opens an array of `length` items.
    pub(super) fn array(&mut self, length: usize) -> Result<(), EncodeError> {
        self.open(b'[', |writer| writer.array_head(length))
    }

    /// Ends the array that was opened last.
    pub(super) fn end_array(&mut self) {
        self.end(b']');
    }

    /// Writes the name of a member; its value follows.
    pub(super) fn key(&mut self, name: &str) -> Result<(), EncodeError> {
        self.string(name)?;
        if self.encoding == Encoding::Json {
            self.out.push(b':');
        }
        Ok(())
    }

    /// Writes a string.
    pub(super) fn string(&mut self, text: &str) -> Result<(), EncodeError> {
        self.value(text)
    }

    /// Writes the strings as an array.
    pub(super) fn strings(&mut self, texts: &[impl AsRef<str>]) -> Result<(), EncodeError> {
        self.array(texts.len())?;
        texts.iter().try_for_each(|text| self.string(text.as_ref()))?;
        self.end_array();
        Ok(())
    }

    /// Writes any value. In JSON it must hold no binary data.
    pub(super) fn value(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), EncodeError> {
        match self.encoding {
            Encoding::Json => {
                self.separate();
                serde_json::to_writer(&mut self.out, value).map_err(arguments)
            }
            Encoding::MessagePack => msgpack::Writer::new(&mut self.out).value(value).map_err(arguments),
        }
    }

    /// Writes an event as an array: its name, then its arguments.
    pub(super) fn event(&mut self, name: &str, args: &ArgsBuf) -> Result<(), EncodeError> {
        self.array(1 + args.as_args().len())?;
        self.string(name)?;
        if !args.as_args().is_empty() {
            match self.encoding {
                Encoding::Json => {
                    self.separate();
                    append_elements(&mut self.out, args).map(drop)
                }
                Encoding::MessagePack => msgpack::Writer::new(&mut self.out).elements(args),
            }
            .map_err(arguments)?;
        }
        self.end_array();
        Ok(())
    }

    /// Writes the arguments as the next items of an array, or one as the value of a member; in JSON only. Returns the
    /// attachments for which placeholders stand.
    pub(super) fn json_elements(&mut self, args: &ArgsBuf) -> Result<Vec<Bytes>, EncodeError> {
        if args.as_args().is_empty() {
            return Ok(Vec::new());
        }
        self.separate();
        append_elements(&mut self.out, args).map_err(arguments)
    }

    /// The document.
    pub(super) fn into_bytes(self) -> Bytes {
        self.out.into()
    }

    fn open(
        &mut self,
        json: u8,
        message_pack: impl FnOnce(&mut msgpack::Writer<'_>) -> Result<(), socketio::EncodeError>,
    ) -> Result<(), EncodeError> {
        match self.encoding {
            Encoding::Json => {
                self.separate();
                self.out.push(json);
                Ok(())
            }
            Encoding::MessagePack => message_pack(&mut msgpack::Writer::new(&mut self.out)).map_err(arguments),
        }
    }

    fn end(&mut self, json: u8) {
        if self.encoding == Encoding::Json {
            self.out.push(json);
        }
    }

    /// Writes a comma, unless this is the first item, the first member or the value of a member. No value ends with one of
    /// the bytes that come before these.
    fn separate(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[' | b':')) {
            self.out.push(b',');
        }
    }
}

fn arguments(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> EncodeError {
    EncodeError::Arguments(error.into())
}
