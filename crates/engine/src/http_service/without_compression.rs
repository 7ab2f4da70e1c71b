use std::io;

use http::{HeaderMap, HeaderValue};

/// A coding of HTTP bodies. Without the feature `compression` there is none, and every answer is sent uncompressed.
#[derive(Clone, Copy)]
pub(crate) enum Coding {}

impl Coding {
    pub(crate) fn accepted(_: &HeaderMap) -> Option<Self> {
        None
    }

    pub(crate) fn header(self) -> HeaderValue {
        match self {}
    }

    pub(crate) fn encode(self, _: &[u8]) -> io::Result<Vec<u8>> {
        match self {}
    }
}
