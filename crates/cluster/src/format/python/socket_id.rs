//! Tells the ids of sockets from the names of rooms.

/// Whether a name has the form of a socket's id: 15 bytes in base64url, as python-engineio, Node and Sockeye make them. In
/// Socket.IO 2, the namespace and `#` come first, except in `/`.
pub(super) fn is_socket_id(name: &str) -> bool {
    let id = match name.split_once('#') {
        Some((namespace, id)) if namespace.starts_with('/') => id,
        _ => name,
    };
    id.len() == 20 && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
}
