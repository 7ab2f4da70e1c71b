//! The types of the settings, and how their values are written.
use std::{fmt, net::Ipv6Addr, str::FromStr, time::Duration};

use http::uri::Authority;
use sockeye::OriginPattern;

use crate::{identity::IdentityKind, log::LogFilter};

/// A value as it was written. The file, the environment and the command line all give text or a list of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Raw {
    /// One value. If the setting is a list, commas separate its items.
    One(String),
    /// A list.
    Many(Vec<String>),
}

/// A type of settings.
pub(super) trait Value: Sized {
    /// The form of a value, as `--help` shows it.
    const FORM: &'static str;
    /// The value that the option has if none is written, for options that allow that.
    const BARE: Option<&'static str> = None;

    /// Reads a value. The error says what was expected.
    fn parse(raw: &Raw) -> Result<Self, String>;

    /// The value as TOML.
    fn to_toml(&self) -> String;
}

/// An address to listen on: a host name or IP address, and a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) host: String,
    pub(crate) port: u16,
}

impl Address {
    pub(crate) fn new(host: &str, port: u16) -> Self {
        Self { host: host.into(), port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an address with a port, such as `127.0.0.1:8000` or `[::1]:8000`");
        let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let host = match host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
            Some(host) => host,
            None if host.contains(':') => return Err(wrong()),
            None => host,
        };
        if host.is_empty() { Err(wrong()) } else { Ok(Self::new(host, port)) }
    }
}

impl Value for Vec<Address> {
    const FORM: &'static str = "ADDRESS";

    fn parse(raw: &Raw) -> Result<Self, String> {
        items(raw).map(str::parse).collect()
    }

    fn to_toml(&self) -> String {
        list(self.iter().map(Address::to_string))
    }
}

/// The web origins whose pages may connect besides the server's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AllowedOrigins {
    /// None is named.
    Default,
    Every,
    These(Vec<OriginPattern>),
}

impl Value for AllowedOrigins {
    const FORM: &'static str = "ORIGIN";

    fn parse(raw: &Raw) -> Result<Self, String> {
        let origins: Vec<_> = items(raw).collect();
        if origins.contains(&"*") {
            return Ok(Self::Every);
        }
        let patterns = origins.into_iter().map(str::parse).collect::<Result<Vec<OriginPattern>, _>>();
        let patterns = patterns.map_err(|error| error.to_string())?;
        Ok(if patterns.is_empty() { Self::Default } else { Self::These(patterns) })
    }

    fn to_toml(&self) -> String {
        match self {
            Self::Default => list([].into_iter()),
            Self::Every => list(["*".to_owned()].into_iter()),
            Self::These(patterns) => list(patterns.iter().map(OriginPattern::to_string)),
        }
    }
}

/// The hosts that requests may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AllowedHosts {
    /// None is named.
    Default,
    Every,
    These(Vec<String>),
}

impl Value for AllowedHosts {
    const FORM: &'static str = "HOST";

    fn parse(raw: &Raw) -> Result<Self, String> {
        let names: Vec<_> = items(raw).map(str::to_owned).collect();
        if names.iter().any(|name| name == "*") {
            return Ok(Self::Every);
        }
        let is_name = |name: &String| {
            let authority = if name.parse::<Ipv6Addr>().is_ok() { format!("[{name}]") } else { name.clone() };
            Authority::from_str(&authority).is_ok_and(|parsed| parsed.port().is_none() && parsed.host() == authority)
        };
        match names.iter().find(|name| !is_name(name)) {
            Some(name) => Err(format!("`{name}` is not a host; write a name or address alone, such as `chat.test`")),
            None if names.is_empty() => Ok(Self::Default),
            None => Ok(Self::These(names)),
        }
    }

    fn to_toml(&self) -> String {
        match self {
            Self::Default => list([].into_iter()),
            Self::Every => list(["*".to_owned()].into_iter()),
            Self::These(names) => list(names.iter().cloned()),
        }
    }
}

impl Value for LogFilter {
    const FORM: &'static str = "LEVEL";

    fn parse(raw: &Raw) -> Result<Self, String> {
        items(raw).collect::<Vec<_>>().join(",").parse()
    }

    fn to_toml(&self) -> String {
        quote(&self.to_string())
    }
}

impl Value for IdentityKind {
    const FORM: &'static str = "KIND";

    fn parse(raw: &Raw) -> Result<Self, String> {
        let text = one(raw)?;
        let known = || Self::ALL.iter().map(|kind| format!("`{kind}`")).collect::<Vec<_>>().join(", ");
        let found = Self::ALL.iter().find(|kind| kind.as_str() == text);
        found.copied().ok_or_else(|| format!("there is no identity kind `{text}`; choose one of {}", known()))
    }

    fn to_toml(&self) -> String {
        quote(self.as_str())
    }
}

/// The longest time of a setting: about a year, so that adding it to a clock cannot overflow.
const MAX_TIME: Duration = Duration::from_secs(366 * 24 * 60 * 60);

const TIME_UNITS: &[(&str, u64)] =
    &[("ms", 1), ("s", 1000), ("min", 60_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

impl Value for Duration {
    const FORM: &'static str = "TIME";

    fn parse(raw: &Raw) -> Result<Self, String> {
        let text = one(raw)?;
        let wrong =
            || format!("`{text}` is not a time; write a number with ms, s, m, h or d, such as `25s` or `500ms`");
        let milliseconds = number_with_unit(text, TIME_UNITS, None).ok_or_else(wrong)?;
        let time = Self::from_millis(milliseconds);
        if time > MAX_TIME { Err(format!("`{text}` is longer than a year")) } else { Ok(time) }
    }

    fn to_toml(&self) -> String {
        let milliseconds = self.as_millis();
        if milliseconds.is_multiple_of(1000) {
            format!("\"{}s\"", milliseconds / 1000)
        } else {
            format!("\"{milliseconds}ms\"")
        }
    }
}

const SIZE_UNITS: &[(&str, u64)] = &[
    ("b", 1),
    ("kb", 1000),
    ("kib", 1 << 10),
    ("mb", 1_000_000),
    ("mib", 1 << 20),
    ("gb", 1_000_000_000),
    ("gib", 1 << 30),
];

/// A count, or a size in bytes. It cannot be 0: a limit of 0 would refuse everything.
impl Value for usize {
    const FORM: &'static str = "NUMBER";

    fn parse(raw: &Raw) -> Result<Self, String> {
        let text = one(raw)?;
        let wrong = || format!("`{text}` is not a number above 0; a size may have a unit, such as `64KiB` or `4MiB`");
        let number = number_with_unit(text, SIZE_UNITS, Some(1)).and_then(|number| Self::try_from(number).ok());
        number.filter(|number| *number > 0).ok_or_else(wrong)
    }

    fn to_toml(&self) -> String {
        match self {
            bytes if *bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) => format!("\"{}MiB\"", bytes >> 20),
            bytes if *bytes > 1 << 10 && bytes.is_multiple_of(1 << 10) => format!("\"{}KiB\"", bytes >> 10),
            number => number.to_string(),
        }
    }
}

impl Value for u32 {
    const FORM: &'static str = "NUMBER";

    fn parse(raw: &Raw) -> Result<Self, String> {
        Self::try_from(usize::parse(raw)?).map_err(|_| format!("the number is larger than {}", Self::MAX))
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

impl Value for bool {
    const FORM: &'static str = "true|false";
    const BARE: Option<&'static str> = Some("true");

    fn parse(raw: &Raw) -> Result<Self, String> {
        let text = one(raw)?;
        text.parse().map_err(|_| format!("`{text}` is neither `true` nor `false`"))
    }

    fn to_toml(&self) -> String {
        self.to_string()
    }
}

/// Reads digits, perhaps with `_` between them, followed by a unit. Without a unit, the factor is `bare`.
fn number_with_unit(text: &str, units: &[(&str, u64)], bare: Option<u64>) -> Option<u64> {
    let text = text.trim();
    let end = text.find(|character: char| !character.is_ascii_digit() && character != '_').unwrap_or(text.len());
    let (digits, unit) = text.split_at_checked(end)?;
    let number: u64 = digits.replace('_', "").parse().ok()?;
    let unit = unit.trim().to_ascii_lowercase();
    let factor = if unit.is_empty() {
        bare?
    } else {
        units.iter().find(|(name, _)| *name == unit).map(|(_, factor)| *factor)?
    };
    number.checked_mul(factor)
}

fn one(raw: &Raw) -> Result<&str, String> {
    match raw {
        Raw::One(text) => Ok(text),
        Raw::Many(items) => match items.as_slice() {
            [text] => Ok(text),
            _ => Err("the setting has one value, not a list".into()),
        },
    }
}

fn items(raw: &Raw) -> impl Iterator<Item = &str> {
    let texts = match raw {
        Raw::One(text) => std::slice::from_ref(text),
        Raw::Many(items) => items.as_slice(),
    };
    texts.iter().flat_map(|text| text.split(',')).map(str::trim).filter(|item| !item.is_empty())
}

fn quote(text: &str) -> String {
    toml::Value::from(text).to_string()
}

pub(super) fn list(items: impl Iterator<Item = String>) -> String {
    format!("[{}]", items.map(|item| quote(&item)).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse<T: Value>(text: &str) -> Result<T, String> {
        T::parse(&Raw::One(text.into()))
    }

    #[test]
    fn times_have_units() {
        assert_eq!(parse("25s"), Ok(Duration::from_secs(25)));
        assert_eq!(parse("1_500 ms"), Ok(Duration::from_millis(1500)));
        assert_eq!(parse("2m"), Ok(Duration::from_secs(120)));
        for wrong in ["25", "", "s", "-1s", "1 week", "99999999999999999999s", "400d", "18446744073709551615d"] {
            assert!(parse::<Duration>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn sizes_may_have_units_and_are_never_zero() {
        assert_eq!(parse("1000000"), Ok(1_000_000_usize));
        assert_eq!(parse("4MiB"), Ok(4_usize << 20));
        assert_eq!(parse("64 kb"), Ok(64_000_usize));
        for wrong in ["0", "", "-3", "1.5", "3 apples", "99999999999GiB"] {
            assert!(parse::<usize>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn addresses_need_a_host_and_a_port() {
        assert_eq!(parse("127.0.0.1:8000, [::1]:0"), Ok(vec![Address::new("127.0.0.1", 8000), Address::new("::1", 0)]));
        for wrong in ["8000", ":8000", "localhost", "127.0.0.1:70000", "::1:8000", "[]:1"] {
            assert!(parse::<Vec<Address>>(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn an_unknown_identity_names_those_there_are() {
        assert_eq!(parse("development"), Ok(IdentityKind::Development));
        assert!(parse::<IdentityKind>("ldap").unwrap_err().contains("`development`"));
    }

    #[test]
    fn hosts_have_no_scheme_and_no_port() {
        let these = |names: &[&str]| Ok(AllowedHosts::These(names.iter().map(|&name| name.to_owned()).collect()));
        assert_eq!(parse("chat.test, 192.0.2.1, 2001:db8::1"), these(&["chat.test", "192.0.2.1", "2001:db8::1"]));
        assert_eq!(parse(""), Ok(AllowedHosts::Default));
        assert_eq!(parse("chat.test, *"), Ok(AllowedHosts::Every));
        for wrong in ["http://chat.test", "chat.test:8000", "a@chat.test", "chat test"] {
            assert!(parse::<AllowedHosts>(wrong).unwrap_err().contains("`chat.test`"), "{wrong}");
        }
    }

    #[test]
    fn what_toml_writes_reads_back() {
        fn check<T: Value + PartialEq + fmt::Debug>(value: T) {
            let document: toml::Table = format!("x = {}", value.to_toml()).parse().unwrap();
            let raw = super::super::load::raw(&document["x"]).unwrap();
            assert_eq!(T::parse(&raw), Ok(value));
        }
        check(Duration::from_millis(1500));
        check(Duration::from_secs(90));
        check(1_000_000_usize);
        check(1024_usize);
        check(3 * 1024 * 1024_usize);
        check(vec![Address::new("::1", 80)]);
        check(AllowedHosts::These(vec!["chat.test".into(), "::1".into()]));
        check("info,sockeye_engine=debug".parse::<LogFilter>().unwrap());
    }
}
