use std::marker::PhantomData;

use bytes::Bytes;
use serde::de::{DeserializeOwned, DeserializeSeed, Deserializer, Error as _, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::value::RawValue;

use super::error::ValueError;
use super::json::{MAX_DEPTH, Scanner};
use super::msgpack_data;
use super::placeholder;
use super::value::Value;

/// The arguments of an event or of an acknowledgement: checked, but not decoded.
///
/// [`get`](Self::get) and [`all`](Self::all) decode. Types that deserialise from bytes, such as [`Bytes`] and
/// [`Value`], get binary data at any depth; so does a `Vec<u8>`.
///
/// Forwarded arguments keep every byte. Decoding changes two kinds of value: half of a surrogate pair, which JavaScript
/// sends if it cuts a string through an emoji, becomes U+FFFD; a number beyond the range of `f64` becomes infinite.
#[derive(Clone, Copy, Debug)]
pub struct Args<'a> {
    pub(super) repr: Repr<'a>,
    count: usize,
}

/// The encoded elements, without the brackets or the array head around them.
#[derive(Clone, Copy, Debug)]
pub(super) enum Repr<'a> {
    Json { elements: &'a str, attachments: &'a [Bytes] },
    MessagePack(&'a [u8]),
}

/// Why an argument could not be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ArgumentError {
    /// The peer sent fewer arguments.
    #[error("argument {index} is missing: the peer sent {count}")]
    Missing {
        /// The argument asked for, counted from 0.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// The argument is of another type.
    #[error("argument {index} is not of the expected type")]
    Invalid {
        /// The argument asked for, counted from 0.
        index: usize,
        /// What is wrong with it.
        source: ValueError,
    },
    /// The arguments together are not of the expected type.
    #[error("the arguments are not of the expected types")]
    Mismatch(#[source] ValueError),
}

impl<'a> Args<'a> {
    /// No arguments.
    pub const EMPTY: Args<'static> = Args::json("", 0, &[]);

    pub(super) const fn json(elements: &'a str, count: usize, attachments: &'a [Bytes]) -> Self {
        Self { repr: Repr::Json { elements, attachments }, count }
    }

    pub(super) const fn message_pack(elements: &'a [u8], count: usize) -> Self {
        Self { repr: Repr::MessagePack(elements), count }
    }

    /// Returns the number of arguments.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no argument.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Decodes the argument `index`, counted from 0.
    ///
    /// # Errors
    /// There is no such argument, or it is not a `T`; the error names the argument.
    pub fn get<T: DeserializeOwned>(&self, index: usize) -> Result<T, ArgumentError> {
        self.decode(|mut elements| {
            let element = elements.nth(index).ok_or(ArgumentError::Missing { index, count: self.count })?;
            element.deserialize(PhantomData).map_err(|source| ArgumentError::Invalid { index, source })
        })
    }

    /// Decodes all arguments at once into a tuple, or into a `Vec` if they are of one type.
    ///
    /// Arguments beyond the length of a tuple are ignored, as JavaScript ignores them.
    ///
    /// # Errors
    /// There are fewer arguments than the tuple has, or one is of another type; the error names it.
    pub fn all<T: DeserializeOwned>(&self) -> Result<T, ArgumentError> {
        self.decode(|elements| T::deserialize(elements).map_err(ArgumentError::Mismatch))
    }

    /// The JSON text of the argument `index`, with placeholders for binary data; `None` if there is no such argument or
    /// if it came as MessagePack.
    #[must_use]
    pub fn raw(&self, index: usize) -> Option<&'a RawValue> {
        match self.elements(Json::Strict).nth(index)? {
            Element::Json { text, .. } => serde_json::from_str(text).ok(),
            Element::MessagePack(_) => None,
        }
    }

    /// The arguments, each still encoded.
    pub(super) fn encoded_elements(&self) -> impl Iterator<Item = Repr<'a>> + use<'a> {
        self.elements(Json::Strict).map(|element| match element {
            Element::Json { text, attachments, .. } => Repr::Json { elements: text, attachments },
            Element::MessagePack(bytes) => Repr::MessagePack(bytes),
        })
    }

    /// Returns the JSON text without brackets, and the attachments.
    pub(super) const fn as_json(&self) -> Option<(&'a str, &'a [Bytes])> {
        match self.repr {
            Repr::Json { elements, attachments } => Some((elements, attachments)),
            Repr::MessagePack(_) => None,
        }
    }

    pub(super) const fn as_message_pack(&self) -> Option<&'a [u8]> {
        match self.repr {
            Repr::Json { .. } => None,
            Repr::MessagePack(elements) => Some(elements),
        }
    }

    /// Decodes with `decode`. If JSON can't be decoded as `serde_json` reads it, it is read again as JavaScript does.
    fn decode<T>(&self, decode: impl Fn(Elements<'a>) -> Result<T, ArgumentError>) -> Result<T, ArgumentError> {
        decode(self.elements(Json::Strict)).or_else(|error| match self.repr {
            Repr::Json { .. } => decode(self.elements(Json::AsJavaScript)),
            Repr::MessagePack(_) => Err(error),
        })
    }

    fn elements(&self, json: Json) -> Elements<'a> {
        let rest = match self.repr {
            Repr::Json { elements, attachments } => {
                Rest::Json { scanner: Scanner::new(elements, MAX_DEPTH), attachments }
            }
            Repr::MessagePack(elements) => Rest::MessagePack(msgpack_data::Reader::new(elements)),
        };
        Elements { rest, left: self.count, json }
    }
}

/// Iterates over the encoded elements.
struct Elements<'a> {
    rest: Rest<'a>,
    left: usize,
    json: Json,
}

/// How JSON is read.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Json {
    /// Straight into the type asked for, by `serde_json`.
    Strict,
    /// By way of a [`Value`], which takes all that JavaScript writes.
    AsJavaScript,
}

enum Rest<'a> {
    Json { scanner: Scanner<'a>, attachments: &'a [Bytes] },
    MessagePack(msgpack_data::Reader<'a>),
}

enum Element<'a> {
    Json { text: &'a str, attachments: &'a [Bytes], json: Json },
    MessagePack(&'a [u8]),
}

impl<'a> Iterator for Elements<'a> {
    type Item = Element<'a>;

    fn next(&mut self) -> Option<Element<'a>> {
        self.left = self.left.checked_sub(1)?;
        match &mut self.rest {
            Rest::Json { scanner, attachments } => {
                // The elements were checked when they came, so that the last one is all that is left.
                let text = if self.left == 0 { scanner.rest() } else { scanner.value().ok()? };
                scanner.eat(b',');
                Some(Element::Json { text, attachments, json: self.json })
            }
            Rest::MessagePack(reader) => Some(Element::MessagePack(reader.skip_value(usize::MAX).ok()?)),
        }
    }
}

impl<'a> Element<'a> {
    fn deserialize<T: DeserializeSeed<'a>>(self, seed: T) -> Result<T::Value, ValueError> {
        match self {
            Self::Json { text, attachments: [], json: Json::Strict } => {
                seed.deserialize(&mut serde_json::Deserializer::from_str(text)).map_err(ValueError::custom)
            }
            Self::Json { text, attachments, .. } => {
                let mut value = Value::parse(text).map_err(ValueError::custom)?;
                if !attachments.is_empty() {
                    placeholder::fill(&mut value, attachments).map_err(ValueError::custom)?;
                }
                seed.deserialize(value)
            }
            Self::MessagePack(bytes) => seed.deserialize(&mut msgpack_data::Reader::new(bytes)),
        }
    }
}

/// Gives the elements to serde as one sequence.
struct Sequence<'a> {
    elements: Elements<'a>,
    index: usize,
}

impl<'a> SeqAccess<'a> for Sequence<'a> {
    type Error = ValueError;

    fn next_element_seed<T: DeserializeSeed<'a>>(&mut self, seed: T) -> Result<Option<T::Value>, ValueError> {
        let Some(element) = self.elements.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        match element.deserialize(seed) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(ValueError(format!("argument {index}: {error}"))),
        }
    }
}

impl<'de> Deserializer<'de> for Elements<'de> {
    type Error = ValueError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_seq(Sequence { elements: self, index: 0 })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ValueError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit_struct
        newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
