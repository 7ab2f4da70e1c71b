//! The pages of the program: the chat, the monitor, and the official client library.
mod files;
mod monitor;

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse as _, Response},
};
use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode, header};

use files::File;

pub(crate) use monitor::Monitor;

/// Serves the pages and their files; answers 404 to every other path.
pub(crate) async fn serve(request: Request) -> Response {
    let Some(file) = find(request.uri().path()) else {
        return (StatusCode::NOT_FOUND, "there is no page at this path; the chat is at /").into_response();
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET, HEAD")]).into_response();
    }
    let etag = file.etag();
    let headers = [
        (header::CONTENT_TYPE, content_type(file.name)),
        // A browser keeps the file, but asks each time whether it has changed, so that a new version shows at once.
        (header::CACHE_CONTROL, "no-cache"),
        (header::ETAG, etag),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
    ];
    if is_known(request.headers(), etag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    (headers, Body::from(Bytes::from_static(file.content))).into_response()
}

/// The pages load only files of this server, and connect only to it and to WebSockets.
const POLICY: &str = "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; base-uri 'none'; \
                      form-action 'self'; frame-ancestors 'none'; object-src 'none'";

/// The file at a path.
fn find(path: &str) -> Option<&'static File> {
    match path.strip_prefix('/')? {
        "" => files::find("chat/index.html"),
        "monitor" | "monitor/" => files::find("monitor/index.html"),
        path => match path.split_once('/') {
            None => files::find(&format!("chat/{path}")),
            Some(("monitor", _)) => files::find(path),
            Some(("socket.io", file)) => files::find(&format!("vendor/{file}")),
            Some(_) => None,
        },
    }
}

/// Whether the client already has the file.
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|known| known.trim() == "*" || known.trim().trim_start_matches("W/") == etag)
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit_once('.').map(|(_, extension)| extension) {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("json" | "map") => "application/json",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("ico") => "image/x-icon",
        Some("woff2") => "font/woff2",
        _ => "text/plain; charset=utf-8",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn get(path: &str, headers: &[(header::HeaderName, &str)]) -> Response {
        let builder = Request::builder().uri(path);
        let request = headers.iter().fold(builder, |builder, (name, value)| builder.header(name, *value));
        serve(request.body(Body::empty()).unwrap()).await
    }

    #[tokio::test]
    async fn pages_their_files_and_the_client_library_are_served() {
        let expected = [
            ("/", "text/html"),
            ("/chat.js", "text/javascript"),
            ("/chat.css", "text/css"),
            ("/icon.svg", "image/svg+xml"),
            ("/monitor", "text/html"),
            ("/monitor/", "text/html"),
            ("/monitor/monitor.js", "text/javascript"),
            ("/socket.io/socket.io.js", "text/javascript"),
            ("/socket.io/socket.io.min.js", "text/javascript"),
            ("/socket.io/socket.io.min.js.map", "application/json"),
            ("/socket.io/socket.io.esm.min.js", "text/javascript"),
            ("/socket.io/socket.io.msgpack.min.js", "text/javascript"),
            ("/socket.io/LICENSE", "text/plain"),
        ];
        for (path, kind) in expected {
            let response = get(path, &[]).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert!(response.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with(kind), "{path}");
            assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff", "{path}");
        }
    }

    #[tokio::test]
    async fn other_paths_and_methods_are_refused() {
        let paths = [
            "/nothing",
            "/index.htm",
            "/monitor/../chat/chat.js",
            "/socket.io/README.md",
            "/socket.io/.x",
            "/a/b",
            "/..",
        ];
        for path in paths {
            assert_eq!(get(path, &[]).await.status(), StatusCode::NOT_FOUND, "{path}");
        }
        let post = Request::builder().method("POST").uri("/").body(Body::empty()).unwrap();
        assert_eq!(serve(post).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[tokio::test]
    async fn a_file_that_the_client_has_is_not_sent_again() {
        let first = get("/socket.io/socket.io.js", &[]).await;
        let etag = first.headers()[header::ETAG].to_str().unwrap();
        let again = get("/socket.io/socket.io.js", &[(header::IF_NONE_MATCH, &format!("\"x\", W/{etag}"))]).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        let other = get("/socket.io/socket.io.js", &[(header::IF_NONE_MATCH, "\"x\"")]).await;
        assert_eq!(other.status(), StatusCode::OK);
    }
}
