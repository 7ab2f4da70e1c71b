use bytes::Bytes;
use http_body_util::Full;

/// The body of an engine's answers.
pub type ResponseBody = Full<Bytes>;
