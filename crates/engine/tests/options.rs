//! What the settings do to answers: cookie, CORS, compression, the first packet, the path.
mod support;

use std::{io::Read as _, sync::Arc, time::Duration};

use http::{HeaderName, Method};
use sockeye_engine::{Config, Cookie, Cors, Frame, OriginPolicy, Transports};
use support::{sid, start, websocket_with};

const POLLING: &str = "EIO=4&transport=polling";
const WEBSOCKET: &str = "EIO=4&transport=websocket";

#[tokio::test]
async fn only_the_answer_that_opens_the_session_sets_the_cookie() {
    let server = start(Config { cookie: Some(Cookie::default()), ..Config::default() }).await;
    let open = server.get(POLLING).await;
    let sid = sid(&open.body);
    assert_eq!(open.header("set-cookie"), Some(&*format!("io={sid}; Path=/; HttpOnly; SameSite=Lax")));
    assert_eq!(server.post(&format!("{POLLING}&sid={sid}"), "4a").await.header("set-cookie"), None);
    assert_eq!(server.get(&format!("{POLLING}&sid={sid}")).await.header("set-cookie"), None);

    let mut websocket = server.websocket(WEBSOCKET).await;
    let cookie = websocket.head.header("set-cookie").expect("a cookie").to_owned();
    assert_eq!(cookie, format!("io={}; Path=/; HttpOnly; SameSite=Lax", support::sid(&websocket.text().await)));
    let upgrade = server.websocket(&format!("{WEBSOCKET}&sid={sid}")).await;
    assert_eq!(upgrade.head.header("set-cookie"), None);
    assert_eq!(start(Config::default()).await.get(POLLING).await.header("set-cookie"), None, "off by default");
}

#[tokio::test]
async fn a_preflight_answer_has_the_configured_cors_headers() {
    let cors = Cors {
        methods: vec![Method::GET, Method::POST, Method::PUT],
        allowed_headers: Some(vec![HeaderName::from_static("x-token")]),
        exposed_headers: vec![HeaderName::from_static("x-served-by")],
        credentials: true,
        max_age: Some(Duration::from_secs(600)),
    };
    let origins = OriginPolicy::list(["https://a.example"]).unwrap();
    let server = start(Config { cors, origins, ..Config::default() }).await;
    let origin = [("Origin", "https://a.example")];
    let preflight = server.request_with("OPTIONS", POLLING, &origin, b"").await;
    assert_eq!((preflight.status, preflight.body.as_str()), (204, ""));
    for (name, value) in [
        ("access-control-allow-origin", "https://a.example"),
        ("access-control-allow-methods", "GET,POST,PUT"),
        ("access-control-allow-headers", "x-token"),
        ("access-control-expose-headers", "x-served-by"),
        ("access-control-allow-credentials", "true"),
        ("access-control-max-age", "600"),
        ("vary", "Origin"),
    ] {
        assert_eq!(preflight.header(name), Some(value), "{name}");
    }
    let open = server.request_with("GET", POLLING, &origin, b"").await;
    assert_eq!(open.header("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(open.header("access-control-expose-headers"), Some("x-served-by"));
    assert_eq!(open.header("access-control-allow-methods"), None);
    let foreign = server.request_with("OPTIONS", POLLING, &[("Origin", "https://b.example")], b"").await;
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (403, None));

    let cors = Cors { credentials: false, ..Cors::default() };
    let origins = OriginPolicy::Check(Arc::new(|origin| origin.ends_with("//a.example")));
    let server = start(Config { cors, origins, ..Config::default() }).await;
    let preflight = server.request_with("OPTIONS", POLLING, &origin, b"").await;
    assert_eq!(preflight.header("access-control-allow-origin"), Some("https://a.example"));
    assert_eq!(preflight.header("access-control-allow-methods"), Some("GET,POST"));
    assert_eq!(preflight.header("access-control-allow-credentials"), None);
    let foreign = server.request_with("OPTIONS", POLLING, &[("Origin", "https://b.example")], b"").await;
    assert_eq!((foreign.status, foreign.header("access-control-allow-origin")), (403, None));
}

#[tokio::test]
async fn the_policy_any_allows_requested_headers_but_no_cookies() {
    let server = start(Config { origins: OriginPolicy::Any, ..Config::default() }).await;
    let wants = [("Origin", "https://a.example"), ("Access-Control-Request-Headers", "x-one,x-two")];
    let preflight = server.request_with("OPTIONS", POLLING, &wants, b"").await;
    assert_eq!(preflight.header("access-control-allow-origin"), Some("*"));
    assert_eq!(preflight.header("access-control-allow-credentials"), None);
    assert_eq!(preflight.header("access-control-allow-headers"), Some("x-one,x-two"));
    let same_origin = server.get(POLLING).await;
    assert_eq!(same_origin.header("access-control-allow-origin"), None, "no Origin, no CORS");
}

#[tokio::test]
async fn large_polling_answers_are_compressed_as_the_client_accepts() {
    let mut server = start(Config::default()).await;
    let session = format!("{POLLING}&sid={}", server.open_polling().await);
    let opened = server.next_session().await;
    let long = format!("4{}", "hello ".repeat(500));
    for (accepted, coding) in [("gzip, deflate, br", Some("gzip")), ("deflate", Some("deflate")), ("br", None)] {
        opened.send_text(long.as_bytes()).unwrap();
        let answer = server.request_with("GET", &session, &[("Accept-Encoding", accepted)], b"").await;
        assert_eq!(answer.header("content-encoding"), coding, "{accepted}");
        let mut text = String::new();
        match coding {
            Some("gzip") => drop(flate2::read::GzDecoder::new(&*answer.bytes).read_to_string(&mut text).unwrap()),
            Some(_) => drop(flate2::read::ZlibDecoder::new(&*answer.bytes).read_to_string(&mut text).unwrap()),
            None => text = answer.body,
        }
        assert_eq!(text, long);
    }
    opened.send_text(&[b'4'; 1_023]).unwrap();
    let short = server.request_with("GET", &session, &[("Accept-Encoding", "gzip")], b"").await;
    assert_eq!((short.header("content-encoding"), short.bytes.len()), (None, 1_023));

    let mut server = start(Config { http_compression: None, ..Config::default() }).await;
    let session = format!("{POLLING}&sid={}", server.open_polling().await);
    server.next_session().await.send_text(long.as_bytes()).unwrap();
    let plain = server.request_with("GET", &session, &[("Accept-Encoding", "gzip")], b"").await;
    assert_eq!(plain.body, long);
}

#[tokio::test]
async fn the_initial_packet_directly_follows_the_open_packet() {
    let server = start(Config { initial_packet: Some(Frame::text(b"4welcome")), ..Config::default() }).await;
    let open = server.get(POLLING).await;
    assert!(open.body.starts_with("0{") && open.body.ends_with("}\u{1e}4welcome"), "{}", open.body);
    let mut websocket = server.websocket(WEBSOCKET).await;
    assert!(websocket.text().await.starts_with("0{"));
    assert_eq!(websocket.text().await, "4welcome");
}

#[tokio::test]
async fn the_path_must_match_exactly_except_for_slashes_at_its_end() {
    let server = start(Config { path: "/live/io".into(), ..Config::default() }).await;
    for (path, status) in [
        ("/live/io", 200),
        ("/live/io/", 200),
        ("/live/io//", 200),
        ("/live/io-admin/", 404),
        ("/live/io/more", 404),
        ("/live", 404),
        ("/Live/io", 404),
        ("//live/io", 404),
    ] {
        let request = format!("GET {path}?{POLLING} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n");
        assert_eq!(server.raw(request.as_bytes()).await.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_disabled_transport_is_unknown_and_upgrades_can_be_disabled() {
    let server = start(Config { transports: Transports::WEBSOCKET, ..Config::default() }).await;
    assert!(server.get(POLLING).await.body.contains("\"code\":0"));
    server.websocket(WEBSOCKET).await.text().await;
    let server = start(Config { transports: Transports::POLLING, ..Config::default() }).await;
    assert!(server.get(POLLING).await.body.contains("\"upgrades\":[]"));
    assert_eq!(server.try_websocket(WEBSOCKET).await.0, 400);
    let server = start(Config { allow_upgrades: false, ..Config::default() }).await;
    let open = server.get(POLLING).await;
    assert!(open.body.contains("\"upgrades\":[]"));
    assert_eq!(server.try_websocket(&format!("{WEBSOCKET}&sid={}", sid(&open.body))).await.0, 400);
    server.websocket(WEBSOCKET).await.text().await;
}

#[tokio::test]
async fn the_first_subprotocol_that_a_client_offers_is_accepted() {
    let server = start(Config::default()).await;
    let upgrade = format!("{WEBSOCKET}&sid={}", server.open_polling().await);
    for query in [WEBSOCKET, &upgrade] {
        for (offered, agreed) in [
            (&[][..], None),
            (&[("Sec-WebSocket-Protocol", "chat")], Some("chat")),
            (&[("Sec-WebSocket-Protocol", " , v2.chat , chat")], Some("v2.chat")),
            (&[("Sec-WebSocket-Protocol", "")], None),
        ] {
            let (status, websocket) = websocket_with(server.connect().await, query, offered).await;
            assert_eq!(status, 101, "{offered:?}");
            assert_eq!(websocket.head.header("sec-websocket-protocol"), agreed, "{offered:?}");
        }
    }
}
