use std::borrow::Cow;

use sockeye_protocol::engineio::Revision;

use crate::{
    Refusal,
    log_throttle::{LogThrottle, excerpt},
};

/// The query parameters that the engine itself reads. The first one of a name counts.
#[derive(Debug, Default)]
pub(crate) struct Query<'a> {
    pub(crate) transport: Option<&'a str>,
    pub(crate) sid: Option<Cow<'a, str>>,
    /// Whether binary messages are to be sent as base64 (revision 3 only).
    pub(crate) base64: bool,
    eio: Option<&'a str>,
    jsonp: Option<&'a str>,
}

impl<'a> Query<'a> {
    pub(crate) fn parse(query: &'a str) -> Self {
        let mut parsed = Self::default();
        for pair in query.split('&') {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match name {
                "transport" if parsed.transport.is_none() => parsed.transport = Some(value),
                "EIO" if parsed.eio.is_none() => parsed.eio = Some(value),
                // Even an empty identifier names a session, so that no fault of a client opens another one.
                "sid" if parsed.sid.is_none() => {
                    let decoded = form_urlencoded::parse(pair.as_bytes()).next();
                    parsed.sid = Some(decoded.map_or(Cow::Borrowed(""), |(_, value)| value));
                }
                "j" if parsed.jsonp.is_none() => parsed.jsonp = Some(value),
                "b64" => parsed.base64 |= matches!(value, "1" | "true"),
                _ => {}
            }
        }
        parsed
    }

    /// The revision of the protocol asked for. Every client names it; where the reference takes a request without
    /// `EIO` for revision 3, this refuses it, as the protocol's own suites expect.
    pub(crate) fn revision(&self, allow_eio3: bool) -> Result<Revision, Refusal> {
        match self.eio {
            Some("4") => Ok(Revision::V4),
            Some("3") if allow_eio3 => Ok(Revision::V3),
            asked => {
                let asked = excerpt(asked.unwrap_or("none"));
                let served = if allow_eio3 { "4 and 3" } else { "4" };
                if THROTTLE.permits(asked) {
                    tracing::warn!(asked, served, "{REFUSED}; Socket.IO clients before version 3 need `allow_eio3`");
                } else {
                    tracing::debug!(asked, served, "{REFUSED}");
                }
                Err(Refusal::UnsupportedVersion)
            }
        }
    }

    /// The callback of a JSONP request, which only revision 3 knows.
    pub(crate) fn jsonp(&self, revision: Revision) -> Option<&'a str> {
        self.jsonp.filter(|_| revision == Revision::V3)
    }
}

static THROTTLE: LogThrottle = LogThrottle::new();

const REFUSED: &str = "refused a client that speaks another revision of Engine.IO";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_parameter_of_a_name_counts_and_an_empty_sid_is_a_sid() {
        let query = Query::parse("EIO=3&transport=polling&transport=websocket&sid&b64=1&j=7&sid=b");
        assert_eq!((query.transport, query.sid.as_deref(), query.base64), (Some("polling"), Some(""), true));
        assert_eq!(query.revision(true), Ok(Revision::V3));
        assert_eq!(query.revision(false), Err(Refusal::UnsupportedVersion));
        assert_eq!((query.jsonp(Revision::V3), query.jsonp(Revision::V4)), (Some("7"), None));
        assert_eq!(Query::parse("sid=a%2Bb").sid.as_deref(), Some("a+b"));
        assert!(Query::parse("").sid.is_none());
    }
}
