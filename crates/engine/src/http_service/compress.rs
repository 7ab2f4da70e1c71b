use std::io::{self, Read as _};

use flate2::{
    Compression,
    bufread::{GzEncoder, ZlibEncoder},
};
use http::{HeaderMap, HeaderValue};

use crate::headers::list;

/// A coding of HTTP bodies (RFC 9110 section 8.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    Deflate,
}

impl Coding {
    /// The coding for the answer to a request: the first of these that the client accepts, if any.
    pub(crate) fn accepted(request: &HeaderMap) -> Option<Self> {
        let accepts = |name: &str| {
            list(request, "accept-encoding").any(|item| {
                let mut parts = item.split(';').map(str::trim);
                let named = parts.next().is_some_and(|coding| coding.eq_ignore_ascii_case(name));
                // A weight of zero means "not acceptable".
                named && !parts.any(|part| part.strip_prefix("q=").is_some_and(|weight| weight.parse() == Ok(0.0_f32)))
            })
        };
        [Self::Gzip, Self::Deflate].into_iter().find(|coding| accepts(coding.name()))
    }

    /// The value of `Content-Encoding`.
    pub(crate) fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    /// Compresses at the fastest level, because the client waits for the answer.
    pub(crate) fn encode(self, body: &[u8]) -> io::Result<Vec<u8>> {
        let mut encoded = Vec::with_capacity(body.len() / 4);
        match self {
            Self::Gzip => GzEncoder::new(body, Compression::fast()).read_to_end(&mut encoded)?,
            Self::Deflate => ZlibEncoder::new(body, Compression::fast()).read_to_end(&mut encoded)?,
        };
        Ok(encoded)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_chooses_the_coding_and_a_weight_of_zero_excludes_it() {
        for (accepted, coding) in [
            ("gzip, deflate, br", Some(Coding::Gzip)),
            ("br, deflate;q=0.5", Some(Coding::Deflate)),
            ("gzip;q=0, deflate", Some(Coding::Deflate)),
            ("GZIP", Some(Coding::Gzip)),
            ("gzipped", None),
            ("br", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
            assert_eq!(Coding::accepted(&headers), coding, "{accepted}");
        }
        assert_eq!(Coding::accepted(&HeaderMap::new()), None);
    }
}
