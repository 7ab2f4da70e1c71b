//! The addresses of brokers, in the forms that Kombu and aio-pika accept.
use lapin::uri::AMQPUri;

use crate::transport::TransportError;

/// Reads addresses separated by `;`, as Kombu does.
///
/// # Errors
/// [`TransportError::Address`], whose text contains nothing of the address, because it contains credentials.
pub(super) fn parse(text: &str) -> Result<Vec<AMQPUri>, TransportError> {
    text.split(';').map(|text| parse_one(text.trim())).collect()
}

/// Host and port.
pub(super) fn shown(address: &AMQPUri) -> String {
    let (host, port) = (&address.authority.host, address.authority.port);
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

fn parse_one(text: &str) -> Result<AMQPUri, TransportError> {
    // Kombu names the library, too.
    let text = text.strip_prefix("py").filter(|text| text.starts_with("amqp")).unwrap_or(text);
    let mut address: AMQPUri = text.parse().map_err(|_| {
        TransportError::Address(
            "it has the form amqp://USER:PASSWORD@HOST:PORT/VHOST, or amqps:// with TLS; write `/` in a part as %2f"
                .into(),
        )
    })?;
    // The library takes an empty name for a virtual host that is called so. Kombu and aio-pika mean the default one.
    if address.vhost.is_empty() {
        address.vhost.push('/');
    }
    if let Some(host) = ipv6(text) {
        host.clone_into(&mut address.authority.host);
    }
    Ok(address)
}

/// The address in brackets, for which the library takes `localhost`.
fn ipv6(text: &str) -> Option<&str> {
    let authority = text.split_once("://")?.1.split(['/', '?']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    Some(host.strip_prefix('[')?.split_once(']')?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_kombu_reads_them() {
        for (text, user, password, host, port, vhost) in [
            ("amqp://", "guest", "guest", "localhost", 5672, "/"),
            ("amqp:///", "guest", "guest", "localhost", 5672, "/"),
            ("amqp://admin:p%40ss@rabbit:5673//", "admin", "p@ss", "rabbit", 5673, "/"),
            ("amqp://rabbit", "guest", "guest", "rabbit", 5672, "/"),
            ("amqp://rabbit/", "guest", "guest", "rabbit", 5672, "/"),
            ("amqp://rabbit/%2f", "guest", "guest", "rabbit", 5672, "/"),
            ("amqp://rabbit/%2F", "guest", "guest", "rabbit", 5672, "/"),
            ("amqp://rabbit/chat", "guest", "guest", "rabbit", 5672, "chat"),
            ("amqp://rabbit//chat", "guest", "guest", "rabbit", 5672, "/chat"),
            ("pyamqp://a:b@127.0.0.1//", "a", "b", "127.0.0.1", 5672, "/"),
            ("amqps://a:b@[::1]/v", "a", "b", "::1", 5671, "v"),
            ("amqp://a:b@[fe80::1]:99//", "a", "b", "fe80::1", 99, "/"),
        ] {
            let address = parse(text).unwrap().remove(0);
            let AMQPUri { authority, vhost: read, .. } = &address;
            assert_eq!(
                (
                    &*authority.userinfo.username,
                    &*authority.userinfo.password,
                    &*authority.host,
                    authority.port,
                    &**read
                ),
                (user, password, host, port, vhost),
                "{text}"
            );
        }
        let both = parse("amqp://a;amqp://[::1]:7").unwrap();
        assert_eq!(both.iter().map(shown).collect::<Vec<_>>(), ["a:5672", "[::1]:7"]);
    }

    #[test]
    fn an_error_contains_nothing_of_the_address() {
        for text in
            ["", "rabbit", "redis://u:secret@h", "amqp:secret", "amqp://u:secret@h:port", "amqp://u:%ffsecret@h/"]
        {
            let error = parse(text).unwrap_err().to_string();
            assert!(!error.contains("secret") && error.contains("amqp://USER"), "{error}");
        }
    }
}
