use std::{fmt, time::Duration};

use reqwest::{Url, header::HeaderMap};
use sockeye_handler::Values;

use super::{auth::Auth, cookies::Cookies, tls_and_proxy::TlsAndProxy};
use crate::{BufferLimits, EngineVersion, Parser, Reconnection, Retries, Transport};

/// The settings of a manager.
pub(crate) struct Config {
    /// Scheme, host, port, path and the user's query.
    pub(crate) url: Url,
    pub(crate) transports: Vec<Transport>,
    pub(crate) upgrade: bool,
    pub(crate) try_all: bool,
    pub(crate) engine_version: EngineVersion,
    pub(crate) parser: Parser,
    pub(crate) headers: HeaderMap,
    pub(crate) cookies: Cookies,
    pub(crate) http: TlsAndProxy,
    pub(crate) reconnection: Reconnection,
    pub(crate) retry_first: bool,
    pub(crate) timeout: Duration,
    pub(crate) upgrade_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) ack_timeout: Duration,
    pub(crate) max_payload: usize,
    pub(crate) send_buffer: BufferLimits,
    pub(crate) receive_buffer: usize,
    pub(crate) retries: Option<Retries>,
    pub(crate) auth: Option<Auth>,
    pub(crate) log_packets: bool,
    /// The values that handlers can ask for.
    pub(crate) state: Values,
}

/// The longest time that is kept. A longer one means "for ever", and would overflow an `Instant`.
const LONGEST: Duration = Duration::from_hours(24 * 365);

impl Config {
    pub(crate) fn bound_times(&mut self) {
        let Self { timeout, upgrade_timeout, close_timeout, ack_timeout, reconnection, retries, .. } = self;
        let Reconnection { delay, delay_max, .. } = reconnection;
        let of_retries = retries.as_mut().map(|retries| &mut retries.ack_timeout);
        for time in
            [timeout, upgrade_timeout, close_timeout, ack_timeout, delay, delay_max].into_iter().chain(of_retries)
        {
            *time = LONGEST.min(*time);
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The other settings may hold secrets: headers, cookies, query, certificates, the proxy's password.
        f.debug_struct("Config").field("url", &self.url.origin().ascii_serialization()).finish_non_exhaustive()
    }
}
