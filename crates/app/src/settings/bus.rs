//! The buses that the server joins.
use std::fmt;

use sockeye_cluster::{Bus, BusFormat};

use super::value::{Raw, Value, list};

/// The address of a bus. It may contain a password, so that it is not shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct BusAddress(String);

/// The format of a bus, or the usual one of its kind of broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OptionalFormat(Option<BusFormat>);

/// The channel of a bus, or the usual one of its format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OptionalChannel(Option<String>);

/// What stands for the usual format or channel in a list of them.
const USUAL: &str = "-";

/// Pairs each address with its format and channel.
///
/// # Errors
/// If there are more formats or channels than addresses, or an address is not valid.
pub(super) fn buses(
    addresses: &[BusAddress],
    formats: &[OptionalFormat],
    channels: &[OptionalChannel],
) -> Result<Vec<Bus>, String> {
    for (name, count) in [("bus_format", formats.len()), ("bus_channel", channels.len())] {
        if count > addresses.len() {
            return Err(format!(
                "`{name}` has {count} entries, but `bus` has {}; each belongs to a bus",
                addresses.len()
            ));
        }
    }
    let open = |(index, BusAddress(address)): (usize, &BusAddress)| {
        let format = formats.get(index).and_then(|format| format.0);
        let channel = channels.get(index).and_then(|channel| channel.0.as_deref());
        Bus::open(address, format, channel).map_err(|error| format!("`bus`, entry {}: {error}", index + 1))
    };
    addresses.iter().enumerate().map(open).collect()
}

/// The words of a value. Addresses contain commas, so that only spaces separate them.
fn words(raw: &Raw) -> Vec<&str> {
    match raw {
        Raw::One(text) => text.split_whitespace().collect(),
        Raw::Many(items) => items.iter().map(|item| item.trim()).collect(),
    }
}

impl Value for Vec<BusAddress> {
    const FORM: &'static str = "URL";

    fn parse(raw: &Raw) -> Result<Self, String> {
        Ok(words(raw).into_iter().map(|word| BusAddress(word.to_owned())).collect())
    }

    fn to_toml(&self) -> String {
        list(self.iter().map(|BusAddress(address)| address.clone()))
    }
}

impl Value for Vec<OptionalFormat> {
    const FORM: &'static str = "FORMAT";

    fn parse(raw: &Raw) -> Result<Self, String> {
        let format = |word: &str| match word {
            USUAL => Ok(OptionalFormat(None)),
            word => word.parse().map(|format| OptionalFormat(Some(format))),
        };
        words(raw).into_iter().map(format).collect::<Result<_, _>>().map_err(|error| error.to_string())
    }

    fn to_toml(&self) -> String {
        list(self.iter().map(|format| format.0.map_or(USUAL.to_owned(), |format| format.to_string())))
    }
}

impl Value for Vec<OptionalChannel> {
    const FORM: &'static str = "NAME";

    fn parse(raw: &Raw) -> Result<Self, String> {
        let channel = |word: &str| OptionalChannel(Some(word.to_owned()).filter(|word| word != USUAL));
        Ok(words(raw).into_iter().map(channel).collect())
    }

    fn to_toml(&self) -> String {
        list(self.iter().map(|channel| channel.0.clone().unwrap_or_else(|| USUAL.to_owned())))
    }
}

impl fmt::Debug for BusAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BusAddress(..)")
    }
}
