use std::borrow::Cow;

use sockeye_protocol::engineio::Revision;

use crate::{Refusal, log_throttle::excerpt, log_throttled};

/// The query parameters that the engine reads. As in the reference, names and values are percent-decoded, and the last
/// of several parameters with one name counts.
#[derive(Debug, Default)]
pub(crate) struct Query<'a> {
    pub(crate) transport: Option<Cow<'a, str>>,
    /// The identifier of the request's session; `None` if the parameter is missing or empty.
    pub(crate) sid: Option<Cow<'a, str>>,
    /// Whether the client asks for binary messages as base64 (revision 3 only).
    pub(crate) base64: bool,
    /// The number of the callback of a JSONP request.
    pub(crate) jsonp: Option<Cow<'a, str>>,
    eio: Option<Cow<'a, str>>,
}

impl<'a> Query<'a> {
    pub(crate) fn parse(query: &'a str) -> Self {
        let mut parsed = Self::default();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            match &*name {
                "transport" => parsed.transport = Some(value),
                "EIO" => parsed.eio = Some(value),
                "sid" => parsed.sid = Some(value).filter(|sid| !sid.is_empty()),
                "j" => parsed.jsonp = Some(value),
                "b64" => parsed.base64 = matches!(&*value, "1" | "true"),
                _ => {}
            }
        }
        parsed
    }

    /// The protocol revision of the request. As in the reference, `EIO=4` means revision 4. Every other value means
    /// revision 3, and so does a missing parameter, which the oldest clients do not send.
    pub(crate) fn revision(&self) -> Revision {
        if self.eio.as_deref() == Some("4") { Revision::V4 } else { Revision::V3 }
    }

    /// The revision of the session that the request opens, if the server allows that revision.
    pub(crate) fn served_revision(&self, allow_eio3: bool) -> Result<Revision, Refusal> {
        let revision = self.revision();
        if revision == Revision::V4 || allow_eio3 {
            return Ok(revision);
        }
        let eio = excerpt(self.eio.as_deref().unwrap_or("nothing"));
        log_throttled!(
            warn,
            eio,
            EIO = eio,
            "refused a client of another revision of Engine.IO: its `EIO` parameter is not 4; Socket.IO clients before \
             version 3 need the setting `allow_eio3`"
        );
        Err(Refusal::UnsupportedVersion)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_parameter_of_a_name_counts_and_an_empty_sid_names_no_session() {
        let query = Query::parse("EIO=4&EIO=3&transport=websocket&transport=polling&b64=1&j=6&j=7&sid=a&sid=b");
        assert_eq!((query.transport.as_deref(), query.sid.as_deref()), (Some("polling"), Some("b")));
        assert_eq!((query.jsonp.as_deref(), query.base64, query.revision()), (Some("7"), true, Revision::V3));
        for none in ["", "sid", "sid=", "sid=a&sid="] {
            assert_eq!(Query::parse(none).sid, None, "{none}");
        }
    }

    #[test]
    fn names_and_values_are_percent_decoded() {
        let query = Query::parse("%45IO=%34&trans%70ort=poll%69ng&sid=a%2Bb&&=&x=%zz%ff");
        assert_eq!((query.transport.as_deref(), query.sid.as_deref()), (Some("polling"), Some("a+b")));
        assert_eq!(query.revision(), Revision::V4);
    }

    #[test]
    fn every_eio_except_4_means_revision_3_and_is_refused_unless_it_is_allowed() {
        for query in ["", "EIO", "EIO=3", "EIO=2", "EIO=5", "EIO=04", "EIO=+4", "EIO[]=4"] {
            let query = Query::parse(query);
            assert_eq!(query.served_revision(true), Ok(Revision::V3), "{query:?}");
            assert_eq!(query.served_revision(false), Err(Refusal::UnsupportedVersion), "{query:?}");
        }
        assert_eq!(Query::parse("EIO=4").served_revision(false), Ok(Revision::V4));
    }
}
