//! Engine.IO 3, as clients of Socket.IO 2 speak it, at the level of bytes.
mod support;

use std::time::Duration;

use sockeye_engine::{CloseReason, Config, Frame, OriginPolicy, TransportKind};
use sockeye_protocol::websocket::Opcode;
use support::{Received, Server, sid, start, start_in_memory};

const POLLING: &str = "EIO=3&transport=polling";
const WEBSOCKET: &str = "EIO=3&transport=websocket";
const BYTES: [(&str, &str); 1] = [("Content-Type", "application/octet-stream")];

fn config() -> Config {
    Config { allow_eio3: true, ..Config::default() }
}

/// Opens a session by polling and returns the query of its further requests.
async fn open(server: &Server, extra: &str) -> String {
    let open = server.get(&format!("{POLLING}{extra}")).await;
    assert_eq!(open.status, 200, "{}", open.body);
    format!("{POLLING}{extra}&sid={}", sid(&open.body))
}

#[tokio::test]
async fn the_open_packet_has_a_length_and_revision_3_is_off_by_default() {
    let server = start(config()).await;
    let open = server.get(POLLING).await;
    let (length, packet) = open.body.split_once(':').unwrap();
    assert_eq!(length.parse(), Ok(packet.len()));
    assert!(packet.starts_with("0{\"sid\":"), "{packet}");
    let server = start(Config::default()).await;
    assert!(server.get(POLLING).await.body.starts_with("{\"code\":5,"), "it is off by default");
    assert_eq!(server.try_websocket(WEBSOCKET).await.0, 400);
}

#[tokio::test]
async fn text_payloads_count_utf16_code_units_in_both_directions() {
    let server = start(config()).await;
    let session = open(&server, "").await;
    assert_eq!(server.post(&session, "5:4hé€!3:4😀").await.body, "ok");
    assert_eq!(server.get(&session).await.body, "5:4hé€!3:4😀");
    assert_eq!(server.post(&session, "2:4😀").await.status, 400, "a length that cuts a character in two");
}

#[tokio::test]
async fn binary_messages_are_octets_in_both_directions() {
    let server = start(config()).await;
    let session = open(&server, "").await;
    let body = [0, 4, 0xff, b'4', 0xe2, 0x82, 0xac, 1, 4, 0xff, 4, 1, 2, 0xff];
    assert_eq!(server.request_with("POST", &session, &BYTES, &body).await.body, "ok");
    let answer = server.get(&session).await;
    assert_eq!(answer.header("content-type"), Some("application/octet-stream"));
    assert_eq!(answer.bytes, body);
}

#[tokio::test]
async fn a_client_that_asks_for_base64_gets_no_binary_payload() {
    let mut server = start(config()).await;
    let session = open(&server, "&b64=1").await;
    assert_eq!(server.post(&session, "3:4hi10:b4AQIDBA==").await.body, "ok");
    assert_eq!(server.get(&session).await.body, "3:4hi10:b4AQIDBA==");

    let mut websocket = server.websocket(&format!("{WEBSOCKET}&b64=1")).await;
    websocket.text().await;
    server.next_session().await;
    let opened = server.next_session().await;
    opened.send(Frame::binary(&[1, 2, 3, 4])).unwrap();
    assert_eq!(websocket.text().await, "b4AQIDBA==");
}

#[tokio::test]
async fn jsonp_answers_are_scripts_and_posts_are_forms() {
    let server = start(config()).await;
    let open = server.get(&format!("{POLLING}&j=0")).await;
    assert_eq!(open.header("content-type"), Some("text/javascript; charset=UTF-8"));
    let body = open.body.strip_prefix("___eio[0](\"").and_then(|body| body.strip_suffix("\");")).unwrap();
    let session = format!("{POLLING}&sid={}", sid(&body.replace('\\', "")));
    let form = [("Content-Type", "application/x-www-form-urlencoded")];
    // Its length counts one character more than there is: a spelled-out line end is one.
    let body = b"d=6%3A4a%5Cnb%2210%3Ab4AQIDBA%3D%3D";
    assert_eq!(server.request_with("POST", &format!("{session}&j=1"), &form, &body[..]).await.status, 400);
    let session = format!("{POLLING}&sid={}", sid(&server.get(&format!("{POLLING}&j=0")).await.body.replace('\\', "")));
    let body = b"d=5%3A4a%5Cnb%2210%3Ab4AQIDBA%3D%3D";
    assert_eq!(server.request_with("POST", &format!("{session}&j=1"), &form, &body[..]).await.body, "ok");
    let answer = server.get(&format!("{session}&j=12")).await;
    assert_eq!(answer.body, r#"___eio[12]("5:4a\nb\"10:b4AQIDBA==");"#);
}

#[tokio::test]
async fn a_foreign_page_cannot_bypass_the_origin_policy_with_a_script_element() {
    let server = start(config()).await;
    let script = format!("{POLLING}&j=0");
    let foreign = [("Referer", "https://evil.example/page")];
    assert_eq!(server.request_with("GET", &script, &foreign, b"").await.status, 403);
    assert_eq!(server.request_with("GET", &script, &[("Sec-Fetch-Site", "cross-site")], b"").await.status, 403);
    let own = format!("http://{}/page", server.address);
    assert_eq!(server.request_with("GET", &script, &[("Referer", &own)], b"").await.status, 200);
    let open = start(Config { origins: OriginPolicy::Any, ..config() }).await;
    assert_eq!(open.request_with("GET", &script, &foreign, b"").await.status, 200);
}

#[tokio::test]
async fn binary_websocket_messages_start_with_their_type() {
    let server = start(config()).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    websocket.frame(Opcode::Binary, &[4, 1, 2, 3]).await;
    assert_eq!(websocket.receive().await, Received::Binary(vec![4, 1, 2, 3]));
    websocket.send("b4AQID").await;
    assert_eq!(websocket.receive().await, Received::Binary(vec![4, 1, 2, 3]));
    // A WebSocket ping is no binary message.
    websocket.frame(Opcode::Ping, b"x").await;
    assert_eq!(websocket.receive().await, Received::Pong(b"x".to_vec()));
}

#[tokio::test]
async fn waiting_packets_are_encoded_again_for_the_websocket_after_an_upgrade() {
    let mut server = start(config()).await;
    let session = open(&server, "").await;
    let opened = server.next_session().await;
    let mut websocket = server.websocket(&session.replace("polling", "websocket")).await;
    websocket.send("2probe").await;
    assert_eq!(websocket.text().await, "3probe");
    assert_eq!(server.get(&session).await.body, "1:6");
    opened.send(Frame::binary(&[7])).unwrap();
    opened.send_text(b"4x").unwrap();
    websocket.send("5").await;
    assert_eq!(websocket.receive().await, Received::Binary(vec![4, 7]));
    assert_eq!(websocket.text().await, "4x");
    assert_eq!(opened.transport(), TransportKind::WebSocket);
}

#[tokio::test(start_paused = true)]
async fn the_client_pings_and_the_server_does_not() {
    let quick =
        Config { ping_interval: Duration::from_millis(200), ping_timeout: Duration::from_millis(100), ..config() };
    let mut server = start_in_memory(quick).await;
    let mut websocket = server.websocket(WEBSOCKET).await;
    websocket.text().await;
    websocket.send("2").await;
    assert_eq!(websocket.text().await, "3");
    websocket.send("2probe").await;
    assert_eq!(websocket.text().await, "3probe");
    assert_eq!(websocket.receive().await, Received::Close(None), "a silent client is dropped without being asked");
    assert_eq!(server.next_close().await, CloseReason::PingTimeout);

    let session = open(&server, "").await;
    assert_eq!(server.post(&session, "1:2").await.body, "ok");
    assert_eq!(server.get(&session).await.body, "1:3");
    assert_eq!(server.post(&session, "1:3").await.body, "ok");
    assert_eq!(server.next_close().await, CloseReason::TransportError, "a pong in the wrong direction");
}
