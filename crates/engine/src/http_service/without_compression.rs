use std::io;

use http::{HeaderMap, HeaderValue};

/// No coding at all: without the feature `compression` every answer leaves as it is.
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
