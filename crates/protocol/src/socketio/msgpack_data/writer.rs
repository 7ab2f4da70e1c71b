use serde::Serialize;
use serde::ser::{
    Error as _, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use super::timestamp;
use crate::socketio::error::ValueError;
use crate::socketio::extension::{DATE, UNDEFINED};
use crate::socketio::value::Value;

/// Writes MessagePack. Every Rust type gets the same shape as in `serde_json`.
pub(in crate::socketio) struct Writer<'a> {
    out: &'a mut Vec<u8>,
    dialect: Dialect,
    /// Whether the content of a [`Date`](crate::socketio::Date) comes next.
    in_date: bool,
}

/// How `undefined` and dates are written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::socketio) enum Dialect {
    /// As `notepack.io` 2 does, which `socket.io-msgpack-parser` uses: as extensions of its own.
    Parser,
    /// As the specification says, and `notepack.io` 3 and `@msgpack/msgpack` do: nil, and a timestamp.
    Standard,
}

impl<'a> Writer<'a> {
    pub(in crate::socketio) const fn new(out: &'a mut Vec<u8>, dialect: Dialect) -> Self {
        Self { out, dialect, in_date: false }
    }

    pub(in crate::socketio) fn value(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), ValueError> {
        value.serialize(self)
    }

    pub(in crate::socketio) fn string(&mut self, text: &str) -> Result<(), ValueError> {
        match u8::try_from(text.len()) {
            Ok(length @ ..0x20) => self.out.push(0xa0 | length),
            Ok(length) => self.out.extend_from_slice(&[0xd9, length]),
            Err(_) => self.long_head(0xda, text.len())?,
        }
        self.out.extend_from_slice(text.as_bytes());
        Ok(())
    }

    pub(in crate::socketio) fn map_head(&mut self, length: usize) -> Result<(), ValueError> {
        match u8::try_from(length) {
            Ok(length @ ..0x10) => self.out.push(0x80 | length),
            _ => self.long_head(0xde, length)?,
        }
        Ok(())
    }

    pub(in crate::socketio) fn array_head(&mut self, length: usize) -> Result<(), ValueError> {
        match u8::try_from(length) {
            Ok(length @ ..0x10) => self.out.push(0x90 | length),
            _ => self.long_head(0xdc, length)?,
        }
        Ok(())
    }

    pub(in crate::socketio) fn raw(&mut self, encoded: &[u8]) {
        self.out.extend_from_slice(encoded);
    }

    /// Starts the elements of an array whose head the caller has written.
    pub(in crate::socketio) const fn elements(&mut self) -> Open<'a, '_> {
        Open { writer: self, patch: None, count: 0, is_raw_json: false }
    }

    /// Writes a length of 16 bits after `marker`, or one of 32 bits after the marker that follows it.
    fn long_head(&mut self, marker: u8, length: usize) -> Result<(), ValueError> {
        if let Ok(length) = u16::try_from(length) {
            self.marked(marker, &length.to_be_bytes());
        } else {
            let length = u32::try_from(length).map_err(|_| too_long())?;
            self.marked(marker + 1, &length.to_be_bytes());
        }
        Ok(())
    }

    fn marked(&mut self, marker: u8, data: &[u8]) {
        self.out.push(marker);
        self.out.extend_from_slice(data);
    }

    fn unsigned(&mut self, number: u64) {
        if let Ok(number) = u8::try_from(number) {
            match number {
                0..0x80 => self.out.push(number),
                _ => self.marked(0xcc, &[number]),
            }
        } else if let Ok(number) = u16::try_from(number) {
            self.marked(0xcd, &number.to_be_bytes());
        } else if let Ok(number) = u32::try_from(number) {
            self.marked(0xce, &number.to_be_bytes());
        } else {
            self.marked(0xcf, &number.to_be_bytes());
        }
    }

    fn signed(&mut self, number: i64) {
        if let Ok(number) = u64::try_from(number) {
            self.unsigned(number);
        } else if let Ok(number) = i8::try_from(number) {
            match number {
                -0x20.. => self.out.extend_from_slice(&number.to_be_bytes()),
                _ => self.marked(0xd0, &number.to_be_bytes()),
            }
        } else if let Ok(number) = i16::try_from(number) {
            self.marked(0xd1, &number.to_be_bytes());
        } else if let Ok(number) = i32::try_from(number) {
            self.marked(0xd2, &number.to_be_bytes());
        } else {
            self.marked(0xd3, &number.to_be_bytes());
        }
    }

    /// Starts an array or a map. Its length may become known only at its end.
    fn open<'b>(&'b mut self, length: Option<usize>, kind: Kind) -> Result<Open<'a, 'b>, ValueError> {
        let patch = match (length, kind) {
            (Some(length), Kind::Array) => {
                self.array_head(length)?;
                None
            }
            (Some(length), Kind::Map) => {
                self.map_head(length)?;
                None
            }
            (None, kind) => {
                let start = self.out.len();
                self.out.push(0);
                Some((start, kind))
            }
        };
        Ok(Open { writer: self, patch, count: 0, is_raw_json: false })
    }

    /// Starts the map of one member that represents an enum variant with data.
    fn variant(&mut self, variant: &str) -> Result<(), ValueError> {
        self.map_head(1)?;
        self.string(variant)
    }
}

fn too_long() -> ValueError {
    ValueError::custom("MessagePack can't hold more than 2^32 - 1 bytes or items in one value")
}

fn too_large() -> ValueError {
    ValueError::custom("MessagePack can't hold an integer of more than 64 bits")
}

/// The name that `RawValue` has for a serialiser.
const RAW_JSON: &str = "$serde_json::private::RawValue";

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Array,
    Map,
}

/// An array or a map that is being written.
pub(in crate::socketio) struct Open<'a, 'b> {
    writer: &'b mut Writer<'a>,
    /// Where to insert the head at the end, if the length is not yet known. One byte is there for it.
    patch: Option<(usize, Kind)>,
    count: usize,
    /// Whether this is a [`RawValue`](serde_json::value::RawValue): a struct of one field, JSON text.
    is_raw_json: bool,
}

impl Open<'_, '_> {
    fn item(&mut self, value: &(impl Serialize + ?Sized)) -> Result<(), ValueError> {
        self.count += 1;
        value.serialize(&mut *self.writer)
    }

    fn member(&mut self, key: &str, value: &(impl Serialize + ?Sized)) -> Result<(), ValueError> {
        if self.is_raw_json {
            let json = serde_json::to_value(value).map_err(ValueError::custom)?;
            let text = json.as_str().unwrap_or_default();
            return Value::parse(text).map_err(ValueError::custom)?.serialize(&mut *self.writer);
        }
        self.writer.string(key)?;
        self.item(value)
    }

    fn finish(self) -> Result<(), ValueError> {
        let Some((start, kind)) = self.patch else { return Ok(()) };
        let mut head = Vec::new();
        let mut writer = Writer::new(&mut head, self.writer.dialect);
        match kind {
            Kind::Array => writer.array_head(self.count)?,
            Kind::Map => writer.map_head(self.count)?,
        }
        self.writer.out.splice(start..=start, head);
        Ok(())
    }
}

impl<'a, 'b> Serializer for &'b mut Writer<'a> {
    type Ok = ();
    type Error = ValueError;
    type SerializeSeq = Open<'a, 'b>;
    type SerializeTuple = Open<'a, 'b>;
    type SerializeTupleStruct = Open<'a, 'b>;
    type SerializeTupleVariant = Open<'a, 'b>;
    type SerializeMap = Open<'a, 'b>;
    type SerializeStruct = Open<'a, 'b>;
    type SerializeStructVariant = Open<'a, 'b>;

    /// False only for a date, which is then serialised as its milliseconds.
    fn is_human_readable(&self) -> bool {
        !self.in_date
    }

    fn serialize_bool(self, value: bool) -> Result<(), ValueError> {
        self.out.push(if value { 0xc3 } else { 0xc2 });
        Ok(())
    }

    fn serialize_i8(self, number: i8) -> Result<(), ValueError> {
        self.serialize_i64(number.into())
    }

    fn serialize_i16(self, number: i16) -> Result<(), ValueError> {
        self.serialize_i64(number.into())
    }

    fn serialize_i32(self, number: i32) -> Result<(), ValueError> {
        self.serialize_i64(number.into())
    }

    fn serialize_i64(self, number: i64) -> Result<(), ValueError> {
        if self.in_date {
            match self.dialect {
                Dialect::Parser => {
                    self.marked(0xd7, &[0]);
                    self.raw(&number.to_be_bytes());
                }
                Dialect::Standard => timestamp::append(self.out, number),
            }
        } else {
            self.signed(number);
        }
        Ok(())
    }

    fn serialize_u8(self, number: u8) -> Result<(), ValueError> {
        self.serialize_u64(number.into())
    }

    fn serialize_u16(self, number: u16) -> Result<(), ValueError> {
        self.serialize_u64(number.into())
    }

    fn serialize_u32(self, number: u32) -> Result<(), ValueError> {
        self.serialize_u64(number.into())
    }

    fn serialize_u64(self, number: u64) -> Result<(), ValueError> {
        self.unsigned(number);
        Ok(())
    }

    fn serialize_i128(self, number: i128) -> Result<(), ValueError> {
        self.serialize_i64(number.try_into().map_err(|_| too_large())?)
    }

    fn serialize_u128(self, number: u128) -> Result<(), ValueError> {
        self.serialize_u64(number.try_into().map_err(|_| too_large())?)
    }

    fn serialize_f32(self, number: f32) -> Result<(), ValueError> {
        self.serialize_f64(number.into())
    }

    fn serialize_f64(self, number: f64) -> Result<(), ValueError> {
        self.marked(0xcb, &number.to_be_bytes());
        Ok(())
    }

    fn serialize_char(self, character: char) -> Result<(), ValueError> {
        self.string(character.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<(), ValueError> {
        self.string(text)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), ValueError> {
        match u8::try_from(bytes.len()) {
            Ok(length) => self.marked(0xc4, &[length]),
            Err(_) => self.long_head(0xc5, bytes.len())?,
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), ValueError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), ValueError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), ValueError> {
        self.out.push(0xc0);
        Ok(())
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), ValueError> {
        if name == UNDEFINED && self.dialect == Dialect::Parser {
            self.marked(0xd4, &[0, 0]);
            return Ok(());
        }
        self.serialize_unit()
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, variant: &'static str) -> Result<(), ValueError> {
        self.string(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), ValueError> {
        self.in_date = name == DATE;
        let result = value.serialize(&mut *self);
        self.in_date = false;
        result
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), ValueError> {
        self.variant(variant)?;
        value.serialize(self)
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Open<'a, 'b>, ValueError> {
        self.open(length, Kind::Array)
    }

    fn serialize_tuple(self, length: usize) -> Result<Open<'a, 'b>, ValueError> {
        self.open(Some(length), Kind::Array)
    }

    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<Open<'a, 'b>, ValueError> {
        self.open(Some(length), Kind::Array)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Open<'a, 'b>, ValueError> {
        self.variant(variant)?;
        self.open(Some(length), Kind::Array)
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Open<'a, 'b>, ValueError> {
        self.open(length, Kind::Map)
    }

    fn serialize_struct(self, name: &'static str, length: usize) -> Result<Open<'a, 'b>, ValueError> {
        if name == RAW_JSON {
            return Ok(Open { writer: self, patch: None, count: 0, is_raw_json: true });
        }
        self.open(Some(length), Kind::Map)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Open<'a, 'b>, ValueError> {
        self.variant(variant)?;
        self.open(Some(length), Kind::Map)
    }
}

macro_rules! impl_items {
    ($($name:ident $method:ident)*) => {$(
        impl $name for Open<'_, '_> {
            type Ok = ();
            type Error = ValueError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
                self.item(value)
            }

            fn end(self) -> Result<(), ValueError> {
                self.finish()
            }
        }
    )*};
}

impl_items! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

macro_rules! impl_members {
    ($($name:ident)*) => {$(
        impl $name for Open<'_, '_> {
            type Ok = ();
            type Error = ValueError;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, key: &'static str, value: &T) -> Result<(), ValueError> {
                self.member(key, value)
            }

            fn end(self) -> Result<(), ValueError> {
                self.finish()
            }
        }
    )*};
}

impl_members!(SerializeStruct SerializeStructVariant);

impl SerializeMap for Open<'_, '_> {
    type Ok = ();
    type Error = ValueError;

    /// Writes numbers and booleans as text: JavaScript has no other keys, and Python's decoder refuses them.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ValueError> {
        match serde_json::to_value(key).map_err(ValueError::custom)? {
            serde_json::Value::String(key) => self.writer.string(&key),
            key @ (serde_json::Value::Number(_) | serde_json::Value::Bool(_)) => self.writer.string(&key.to_string()),
            _ => Err(ValueError::custom("the key of a map must be a string, a number or a boolean")),
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ValueError> {
        self.item(value)
    }

    fn end(self) -> Result<(), ValueError> {
        self.finish()
    }
}
