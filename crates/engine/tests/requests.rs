//! Requests as odd clients and proxies make them. The expected answers are those that the JavaScript reference, engine.io
//! 6.6.11, gave to the same bytes.
mod support;

use sockeye_engine::{Config, Hosts, OriginPolicy};
use support::{Server, sid, start, websocket_with};

const POLLING: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

const UNKNOWN_TRANSPORT: &str = r#"{"code":0,"message":"Transport unknown"}"#;
const UNKNOWN_SESSION: &str = r#"{"code":1,"message":"Session ID unknown"}"#;
const BAD_REQUEST: &str = r#"{"code":3,"message":"Bad request"}"#;
const UNSUPPORTED: &str = r#"{"code":5,"message":"Unsupported protocol version"}"#;

/// How an answer begins that opens a session: of revision 4, or of revision 3 with the packet's length before it.
const OPEN_4: &str = r#"0{"sid":""#;
const OPEN_3: &str = r#"118:0{"sid":""#;

async fn assert_answers(server: &Server, rows: &[(&str, &str)]) {
    for (query, expected) in rows {
        let answer = server.get(query).await;
        let is_refused = expected.starts_with("{\"code");
        assert_eq!(answer.status, if is_refused { 400 } else { 200 }, "{query}: {}", answer.body);
        assert!(answer.body.starts_with(expected), "{query}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_request_without_eio_means_revision_3() {
    let rows = ["", "EIO=&", "EIO=2&", "EIO=5&", "EIO=04&", "EIO=4&EIO=3&", "?EIO=4&", "EIO[]=4&"];
    let rows = rows.map(|eio| format!("{eio}transport=polling"));
    let server = start(Config { allow_eio3: true, ..Config::default() }).await;
    for query in &rows {
        assert_answers(&server, &[(query, OPEN_3)]).await;
    }
    let mut websocket = server.websocket("transport=websocket").await;
    assert!(websocket.text().await.starts_with(OPEN_4));
    websocket.send("2").await;
    assert_eq!(websocket.text().await, "3", "a client of revision 3 pings");
    let strict = start(Config::default()).await;
    for query in &rows {
        assert_answers(&strict, &[(query, UNSUPPORTED)]).await;
    }
    assert_eq!(strict.try_websocket("transport=websocket").await.0, 400);
}

#[tokio::test]
async fn the_last_of_repeated_parameters_counts_and_all_are_percent_decoded() {
    let server = start(Config::default()).await;
    assert_answers(
        &server,
        &[
            ("EIO=4&EIO=4&transport=polling&transport=polling", OPEN_4),
            ("EIO=3&EIO=4&transport=polling", OPEN_4),
            ("EIO=4&transport=polling&transport=websocket", BAD_REQUEST),
            ("EIO=4&transport=websocket&transport=polling", OPEN_4),
            ("%45IO=%34&trans%70ort=poll%69ng", OPEN_4),
            ("&&=&=x&EIO=4&transport=polling&x=%zz&y=%ff", OPEN_4),
            ("EIO=4;transport=polling", UNKNOWN_TRANSPORT),
            ("EIO=4&transport=+polling", UNKNOWN_TRANSPORT),
            ("", UNKNOWN_TRANSPORT),
        ],
    )
    .await;
    server.websocket("EIO=3&transport=polling&transport=websocket&EIO=4").await;
}

#[tokio::test]
async fn an_empty_sid_names_no_session_and_the_last_sid_counts() {
    let server = start(Config::default()).await;
    let known = server.open_polling().await;
    for (sid, expected) in [
        ("sid=", OPEN_4),
        ("sid", OPEN_4),
        ("sid=&sid=", OPEN_4),
        ("sid=nobody", UNKNOWN_SESSION),
        ("sid=%00", UNKNOWN_SESSION),
        ("sid=&sid=nobody", UNKNOWN_SESSION),
        (&format!("sid={known}&sid=nobody"), UNKNOWN_SESSION),
    ] {
        assert_answers(&server, &[(&format!("{POLLING}&{sid}"), expected)]).await;
    }
    assert!(server.websocket(&format!("{WEBSOCKET}&sid=")).await.text().await.starts_with(OPEN_4));
    assert_eq!(server.post(&format!("{POLLING}&sid=nobody&sid={known}"), "4a").await.body, "ok");
    assert_eq!(
        server.post(&format!("{POLLING}&sid="), "4a").await.body,
        r#"{"code":2,"message":"Bad handshake method"}"#
    );
}

#[tokio::test]
async fn requests_are_checked_in_the_order_of_the_reference() {
    let server = start(Config::default()).await;
    let known = server.open_polling().await;
    for (method, query, expected) in [
        ("POST", "transport=nonsense".to_owned(), UNKNOWN_TRANSPORT),
        ("POST", "transport=websocket".to_owned(), r#"{"code":2,"message":"Bad handshake method"}"#),
        ("GET", "transport=websocket".to_owned(), BAD_REQUEST),
        ("GET", "transport=polling&sid=nobody".to_owned(), UNKNOWN_SESSION),
        ("GET", "transport=websocket&sid=nobody".to_owned(), UNKNOWN_SESSION),
        ("GET", format!("transport=polling&sid={known}"), BAD_REQUEST),
        ("GET", format!("{WEBSOCKET}&sid={known}"), BAD_REQUEST),
    ] {
        let answer = server.request(method, &query, "").await;
        assert_eq!((answer.status, answer.body.as_str()), (400, expected), "{method} {query}");
    }
}

#[tokio::test]
async fn jsonp_is_answered_in_both_revisions() {
    let server = start(Config { allow_eio3: true, ..Config::default() }).await;
    for (query, begin) in [
        ("EIO=4&transport=polling&j=1", "___eio[1](\"0{\\\"sid\\\":"),
        ("EIO=3&transport=polling&j=1&j=2", "___eio[2](\"118:0{\\\"sid\\\":"),
        ("EIO=3&transport=polling&j=", "___eio[](\"118:0{\\\"sid\\\":"),
        ("EIO=3&transport=polling&j=abc", "___eio[](\"118:0{\\\"sid\\\":"),
    ] {
        let answer = server.get(query).await;
        assert!(answer.body.starts_with(begin), "{query}: {}", answer.body);
        assert_eq!(answer.header("content-type"), Some("text/javascript; charset=UTF-8"), "{query}");
    }
    let open = server.get("EIO=4&transport=polling&j=0").await.body.replace('\\', "");
    let session = format!("{POLLING}&j=1&sid={}", sid(&open));
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(server.request_with("POST", &session, &form, b"d=4a%1EbAQID").await.body, "ok");
    assert_eq!(server.get(&session).await.body, "___eio[1](\"4a\\u001ebAQID\");");
}

#[tokio::test]
async fn only_the_exact_path_is_answered_whatever_slashes_end_it() {
    let server = start(Config::default()).await;
    for (path, status) in [
        ("/socket.io/", 200),
        // A proxy that adds its own slash to the path.
        ("/socket.io//", 200),
        // The reference needs `addTrailingSlash: false` for it.
        ("/socket.io", 200),
        ("//socket.io/", 404),
        ("/socket.iox/", 404),
        ("/Socket.io/", 404),
        ("/socket%2eio/", 404),
        ("/x/../socket.io/", 404),
        // Here the reference answers; what is below the path belongs to others, such as the client's bundle.
        ("/socket.io/socket.io.js", 404),
    ] {
        let request = format!("GET {path}?{POLLING} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(server.raw(request.as_bytes()).await.status, status, "{path}");
    }
}

/// The reference accepts every printable character of ASCII and refuses all others. hyper refuses three more, which RFC
/// 3986 forbids. Browsers encode them (URL Standard), and no client is known to send them.
#[tokio::test]
async fn a_query_may_contain_every_printable_character_except_quotes_and_angle_brackets() {
    let server = start(Config::default()).await;
    for character in (1..0x80).map(char::from).filter(|character| *character != '\r' && *character != '\n') {
        let request =
            format!("GET /socket.io/?{POLLING}&x=a{character}z HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        let accepted = character.is_ascii_graphic() && !"\"<>".contains(character);
        assert_eq!(server.raw(request.as_bytes()).await.status, if accepted { 200 } else { 400 }, "{character:?}");
    }
}

#[tokio::test]
async fn several_lines_of_a_header_form_one_list() {
    let server = start(Config { trust_forwarded: true, max_sessions_per_address: 1, ..Config::default() }).await;
    let head = format!(
        "GET /socket.io/?{WEBSOCKET} HTTP/1.1\r\nHost: a\r\nSec-WebSocket-Version: 13\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    );
    for (address, lines) in [
        ("1.1.1.1", "Connection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"),
        ("2.2.2.2", "Connection: Upgrade\r\nConnection: keep-alive\r\nUpgrade: h2c\r\nUpgrade: WebSocket\r\n"),
        ("3.3.3.3", "Connection: x, upgrade\r\nConnection:\r\nUpgrade: websocket, h2c\r\n"),
    ] {
        // The last address of all lines counts.
        let forwarded = format!("X-Forwarded-For: 9.9.9.9\r\nX-Forwarded-For: 9.9.9.9, {address}\r\n");
        let request = format!("{head}{lines}{forwarded}\r\n");
        let mut stream = server.connect().await;
        tokio::io::AsyncWriteExt::write_all(&mut stream, request.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        tokio::io::AsyncReadExt::read_exact(&mut stream, &mut status).await.unwrap();
        assert_eq!(&status, b"HTTP/1.1 101", "{lines}");
    }
    // Without `Upgrade` in `Connection`, the offer is none (RFC 9110 section 7.8), and the request an ordinary one.
    let polling =
        format!("GET /socket.io/?{POLLING} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: close\r\n\r\n");
    assert_eq!(server.raw(polling.as_bytes()).await.status, 200);
    let websocket = polling.replace("polling", "websocket");
    assert_eq!(server.raw(websocket.as_bytes()).await.body, BAD_REQUEST);

    let two = [("Sec-WebSocket-Protocol", ""), ("Sec-WebSocket-Protocol", "v2, v1")];
    let server = start(Config::default()).await;
    let (status, websocket) = websocket_with(server.connect().await, WEBSOCKET, &two).await;
    assert_eq!((status, websocket.head.header("sec-websocket-protocol")), (101, Some("v2")));
    let encodings = [("Accept-Encoding", "br"), ("Accept-Encoding", "gzip")];
    let server = start(Config { http_compression: Some(1), ..Config::default() }).await;
    assert_eq!(server.request_with("GET", POLLING, &encodings, b"").await.header("content-encoding"), Some("gzip"));
    let server = start(Config { origins: OriginPolicy::Any, ..Config::default() }).await;
    let preflight =
        [("Origin", "http://b"), ("Access-Control-Request-Headers", "x-a"), ("Access-Control-Request-Headers", "x-b")];
    let answer = server.request_with("OPTIONS", POLLING, &preflight, b"").await;
    assert_eq!(answer.header("access-control-allow-headers"), Some("x-a,x-b"));
}

#[tokio::test]
async fn pages_of_the_servers_own_and_of_listed_origins_connect_with_default_ports_and_wildcards() {
    let origins = OriginPolicy::list(["http://h:80", "file://", "*.example.com"]).unwrap();
    let listed = start(Config { origins, ..Config::default() }).await;
    let own = start(Config::default()).await;
    for (server, host, origin, status) in [
        (&own, "h:443", "https://h", 200),
        (&own, "h:443", "wss://h", 200),
        (&own, "h", "https://h:443", 200),
        (&own, "h:443", "http://h", 403),
        (&listed, "a", "http://h", 200),
        (&listed, "a", "file://", 200),
        (&listed, "a", "https://x.example.com", 200),
        (&listed, "a", "https://example.com", 403),
        (&listed, "a", "https://evilexample.com", 403),
    ] {
        let request = format!(
            "GET /socket.io/?{POLLING} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n"
        );
        let answer = server.raw(request.as_bytes()).await;
        assert_eq!(answer.status, status, "Host {host}, Origin {origin}");
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, (status == 200).then_some(origin), "Host {host}, Origin {origin}");
    }
}

#[tokio::test]
async fn a_request_must_name_exactly_one_host_on_every_path() {
    let server = start(Config::default()).await;
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (target, more) in [
        (&*format!("/socket.io/?{POLLING}"), "Connection: close\r\n"),
        (&format!("/socket.io/?{WEBSOCKET}"), &format!("Connection: Upgrade, close\r\n{upgrade}")),
        ("/page", "Connection: close\r\n"),
    ] {
        for hosts in ["", "Host: a\r\nHost: a\r\n"] {
            let request = format!("GET {target} HTTP/1.1\r\n{hosts}{more}\r\n");
            assert_eq!(server.raw(request.as_bytes()).await.status, 400, "{request}");
        }
    }
    let old = format!("GET /socket.io/?{POLLING} HTTP/1.0\r\n\r\n");
    assert_eq!(server.raw(old.as_bytes()).await.status, 200);
}

#[tokio::test]
async fn a_host_that_is_not_allowed_is_refused_in_both_revisions_on_both_transports_and_on_other_paths() {
    let hosts = Hosts::list(["chat.example"]);
    let server = start(Config { allowed_hosts: hosts, allow_eio3: true, ..Config::default() }).await;
    let websocket = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for (target, more, admitted) in [
        ("/socket.io/?EIO=4&transport=polling", "Connection: close\r\n", 200),
        ("/socket.io/?EIO=3&transport=polling", "Connection: close\r\n", 200),
        ("/socket.io/?EIO=4&transport=websocket&sid=nobody", websocket, 400),
        ("/socket.io/?EIO=3&transport=websocket&sid=nobody", websocket, 400),
        ("/page", "Connection: close\r\n", 404),
    ] {
        for (host, status) in [("CHAT.example:8000", admitted), ("localhost", admitted), ("evil.example", 403)] {
            let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n{more}\r\n");
            let answer = server.raw(request.as_bytes()).await;
            assert_eq!(answer.status, status, "{request}{}", answer.body);
            assert_eq!(answer.body.contains("`allowed_hosts`"), status == 403, "{}", answer.body);
        }
    }
}
