//! Which origins of web pages belong to this machine.

/// Whether the host of an origin is a loopback address or a name for one.
pub(crate) fn is_loopback(origin: &str) -> bool {
    let Ok(origin) = origin.parse::<http::Uri>() else { return false };
    let Some(host) = origin.host() else { return false };
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.to_ascii_lowercase().ends_with(".localhost")
        || address.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_host_of_an_origin_makes_it_a_loopback_origin() {
        for page in ["http://localhost:8080", "https://127.0.0.1", "http://[::1]:8000", "http://app.localhost:3000"] {
            assert!(is_loopback(page), "{page}");
        }
        let foreign = [
            "http://example.com",
            "http://localhost.example.com",
            "http://127.0.0.1.example.com",
            "http://evil.example?http://localhost",
            "null",
            "",
        ];
        for page in foreign {
            assert!(!is_loopback(page), "{page}");
        }
    }
}
