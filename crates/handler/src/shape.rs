//! How many arguments a value stands for: none for `()`, several for a tuple, one for anything else. Serde tells.
use std::fmt;

use serde::{
    Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Visitor},
    forward_to_deserialize_any,
    ser::{Impossible, SerializeSeq, SerializeTuple},
};
use sockeye_protocol::socketio::{Args, ArgumentError, Arguments};

/// A value that is passed as the arguments it stands for.
pub(crate) struct ByShape<'a, T>(pub(crate) &'a T);

impl<T: Serialize> Arguments for ByShape<'_, T> {
    fn serialize_elements<S: SerializeSeq>(&self, seq: &mut S) -> Result<(), S::Error> {
        match self.shape() {
            Shape::Nothing => Ok(()),
            Shape::Tuple(_) => self.0.serialize(Elements(seq)),
            Shape::One => seq.serialize_element(self.0),
        }
    }

    fn count(&self) -> usize {
        match self.shape() {
            Shape::Nothing => 0,
            Shape::Tuple(length) => length,
            Shape::One => 1,
        }
    }
}

impl<T: Serialize> ByShape<'_, T> {
    fn shape(&self) -> Shape {
        match self.0.serialize(Probe) {
            Ok(never) => match never {},
            // The null of a JSON value serialises as `()` does.
            Err(Shape::Nothing) if size_of::<T>() > 0 => Shape::One,
            Err(shape) => shape,
        }
    }
}

/// Decodes the arguments of an acknowledgement: all of them into a tuple, and the first one into any other type. An
/// acknowledgement without arguments is taken for `null`, and so is `()`, so that an error is not mistaken for it.
///
/// # Errors
/// If there are fewer arguments than the tuple has, or one is of another type.
pub fn decode_answer<T: DeserializeOwned>(args: Args<'_>) -> Result<T, ArgumentError> {
    match T::deserialize(Probe) {
        Err(Shape::Tuple(_)) => args.all(),
        _ if args.is_empty() => match serde_json::from_str("null") {
            Ok(null) => Ok(null),
            Err(_) => args.get(0),
        },
        _ => args.get(0),
    }
}

/// The text of an answer that is one object `{"error": text}`, as of a [handler that failed](crate::Reply::Error).
pub fn error_of_answer(args: Args<'_>) -> Option<String> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Failed {
        error: String,
    }
    (args.len() == 1).then(|| args.get::<Failed>(0).ok()).flatten().map(|failed| failed.error)
}

/// What a type asks of serde first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    Nothing,
    Tuple(usize),
    One,
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl std::error::Error for Shape {}

impl serde::ser::Error for Shape {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::One
    }
}

impl serde::de::Error for Shape {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::One
    }
}

/// Neither serialises nor deserialises: it ends with an error that says what was asked for.
struct Probe;

impl<'de> Deserializer<'de> for Probe {
    type Error = Shape;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Shape> {
        Err(Shape::One)
    }

    fn deserialize_unit<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Shape> {
        Err(Shape::Nothing)
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, _: V) -> Result<V::Value, Shape> {
        Err(Shape::Tuple(length))
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit_struct
        newtype_struct seq tuple_struct map struct enum identifier ignored_any
    }
}

/// No value.
enum Never {}

/// Serialises the elements of a tuple into a sequence.
struct Elements<'a, S>(&'a mut S);

impl<S: SerializeSeq> SerializeTuple for Elements<'_, S> {
    type Ok = ();
    type Error = S::Error;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), S::Error> {
        self.0.serialize_element(value)
    }

    fn end(self) -> Result<(), S::Error> {
        Ok(())
    }
}

/// A serializer of which only units and tuples matter.
macro_rules! serializer_of_tuples {
    (
        [$($generics:tt)*] $type:ty, $ok:ty, $error:ty, $tuple:ty;
        other: $other:expr;
        unit: $unit:expr;
        tuple($this:ident, $length:ident): $begin:expr;
    ) => {
        impl<$($generics)*> Serializer for $type {
            type Ok = $ok;
            type Error = $error;
            type SerializeSeq = Impossible<$ok, $error>;
            type SerializeTuple = $tuple;
            type SerializeTupleStruct = Impossible<$ok, $error>;
            type SerializeTupleVariant = Impossible<$ok, $error>;
            type SerializeMap = Impossible<$ok, $error>;
            type SerializeStruct = Impossible<$ok, $error>;
            type SerializeStructVariant = Impossible<$ok, $error>;

            serializer_of_tuples! { @scalars $ok, $error, $other;
                serialize_bool(bool) serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64)
                serialize_i128(i128) serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64)
                serialize_u128(u128) serialize_f32(f32) serialize_f64(f64) serialize_char(char) serialize_str(&str)
                serialize_bytes(&[u8]) serialize_unit_struct(&'static str)
            }

            fn serialize_none(self) -> Result<$ok, $error> {
                $other
            }

            fn serialize_some<T: Serialize + ?Sized>(self, _: &T) -> Result<$ok, $error> {
                $other
            }

            fn serialize_unit(self) -> Result<$ok, $error> {
                $unit
            }

            fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Result<$ok, $error> {
                $other
            }

            fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<$ok, $error> {
                $other
            }

            fn serialize_newtype_variant<T: Serialize + ?Sized>(
                self,
                _: &'static str,
                _: u32,
                _: &'static str,
                _: &T,
            ) -> Result<$ok, $error> {
                $other
            }

            fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, $error> {
                $other
            }

            fn serialize_tuple(self, $length: usize) -> Result<$tuple, $error> {
                let $this = self;
                $begin
            }

            fn serialize_tuple_struct(
                self,
                _: &'static str,
                _: usize,
            ) -> Result<Self::SerializeTupleStruct, $error> {
                $other
            }

            fn serialize_tuple_variant(
                self,
                _: &'static str,
                _: u32,
                _: &'static str,
                _: usize,
            ) -> Result<Self::SerializeTupleVariant, $error> {
                $other
            }

            fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, $error> {
                $other
            }

            fn serialize_struct(self, _: &'static str, _: usize) -> Result<Self::SerializeStruct, $error> {
                $other
            }

            fn serialize_struct_variant(
                self,
                _: &'static str,
                _: u32,
                _: &'static str,
                _: usize,
            ) -> Result<Self::SerializeStructVariant, $error> {
                $other
            }
        }
    };
    (@scalars $ok:ty, $error:ty, $other:expr; $($method:ident($scalar:ty))*) => {
        $(fn $method(self, _: $scalar) -> Result<$ok, $error> {
            $other
        })*
    };
}

serializer_of_tuples! {
    [] Probe, Never, Shape, Impossible<Never, Shape>;
    other: Err(Shape::One);
    unit: Err(Shape::Nothing);
    tuple(_probe, length): Err(Shape::Tuple(length));
}

serializer_of_tuples! {
    ['a, S: SerializeSeq] Elements<'a, S>, (), S::Error, Self;
    other: Err(serde::ser::Error::custom("the value is a tuple only sometimes"));
    unit: Ok(());
    tuple(elements, _length): Ok(elements);
}
