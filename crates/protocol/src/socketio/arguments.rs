use bytes::Bytes;
use serde::Serialize;
use serde::ser::SerializeSeq;

use super::args::Args;
use super::value::Value;

/// Values that can be sent as the arguments of an event or of an acknowledgement.
///
/// * `()`: no argument;
/// * `&data`: exactly one argument, `data` being any `T: Serialize`;
/// * `(a, b, …)`: several arguments, up to eight;
/// * by value, as one argument: `String`, `Vec`, [`Bytes`], [`Value`], `serde_json::Value`, booleans and numbers;
/// * [`Args`] and [`ArgsBuf`](super::ArgsBuf): received arguments, which are forwarded byte for byte.
///
/// A type that serialises as bytes, such as [`Bytes`] or [`Value::Binary`], is sent as binary data. serde serialises a
/// `Vec<u8>` as an array of numbers; use [`Bytes`] instead.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be sent as the arguments of an event",
    label = "not arguments of an event",
    note = "pass `&data` to send one argument of any type that implements `serde::Serialize`",
    note = "pass a tuple `(a, b)` to send several arguments, or `()` to send none"
)]
pub trait Arguments {
    /// Writes each argument as one element.
    ///
    /// # Errors
    /// The error of `seq`, or of an argument that can't be serialised.
    fn serialize_elements<S: SerializeSeq>(&self, seq: &mut S) -> Result<(), S::Error>;

    /// Returns the number of arguments.
    fn count(&self) -> usize;

    /// Returns the encoded arguments if they are encoded already.
    #[doc(hidden)]
    fn encoded(&self) -> Option<Args<'_>> {
        None
    }
}

impl Arguments for () {
    fn serialize_elements<S: SerializeSeq>(&self, _: &mut S) -> Result<(), S::Error> {
        Ok(())
    }

    fn count(&self) -> usize {
        0
    }
}

impl<T: Serialize + ?Sized> Arguments for &T {
    fn serialize_elements<S: SerializeSeq>(&self, seq: &mut S) -> Result<(), S::Error> {
        seq.serialize_element(self)
    }

    fn count(&self) -> usize {
        1
    }
}

macro_rules! one_argument {
    ($($name:ty)*) => {$(
        impl Arguments for $name {
            fn serialize_elements<S: SerializeSeq>(&self, seq: &mut S) -> Result<(), S::Error> {
                seq.serialize_element(self)
            }

            fn count(&self) -> usize {
                1
            }
        }
    )*};
}

one_argument!(String Bytes Value serde_json::Value bool i8 i16 i32 i64 isize u8 u16 u32 u64 usize f32 f64);

/// One argument, an array.
impl<T: Serialize> Arguments for Vec<T> {
    fn serialize_elements<S: SerializeSeq>(&self, seq: &mut S) -> Result<(), S::Error> {
        seq.serialize_element(self)
    }

    fn count(&self) -> usize {
        1
    }
}

macro_rules! tuple_arguments {
    ($count:literal: $($name:ident $index:tt)*) => {
        impl<$($name: Serialize),*> Arguments for ($($name,)*) {
            fn serialize_elements<S: SerializeSeq>(&self, seq: &mut S) -> Result<(), S::Error> {
                $(seq.serialize_element(&self.$index)?;)*
                Ok(())
            }

            fn count(&self) -> usize {
                $count
            }
        }
    };
}

tuple_arguments!(1: A 0);
tuple_arguments!(2: A 0 B 1);
tuple_arguments!(3: A 0 B 1 C 2);
tuple_arguments!(4: A 0 B 1 C 2 D 3);
tuple_arguments!(5: A 0 B 1 C 2 D 3 E 4);
tuple_arguments!(6: A 0 B 1 C 2 D 3 E 4 F 5);
tuple_arguments!(7: A 0 B 1 C 2 D 3 E 4 F 5 G 6);
tuple_arguments!(8: A 0 B 1 C 2 D 3 E 4 F 5 G 6 H 7);

impl Arguments for Args<'_> {
    fn serialize_elements<S: SerializeSeq>(&self, seq: &mut S) -> Result<(), S::Error> {
        self.iter().try_for_each(|argument| seq.serialize_element(&argument))
    }

    fn count(&self) -> usize {
        self.len()
    }

    fn encoded(&self) -> Option<Args<'_>> {
        Some(*self)
    }
}
