//! The chat as its clients see it, over Socket.IO and plain WebSocket.
mod harness;

use std::{
    collections::BTreeSet,
    io::{Read as _, Write as _},
    net::TcpStream,
    time::{Duration, Instant},
};

use harness::Program;
use serde_json::{Value, json};
use tungstenite::Message;

#[test]
fn the_token_is_the_user_name_and_an_invalid_one_is_refused_with_a_reason() {
    let program = Program::start(&[]);
    for namespace in ["/", "/imchat"] {
        let (mut guest, _) = program.join(namespace, "");
        let welcome = guest.event("message");
        assert_eq!(welcome["message"], "登陆成功");
        assert!(welcome["user"].as_str().unwrap().starts_with("guest-"), "{welcome}");
        for (auth, part) in
            [(r#"{"token":"a\u0007b"}"#, "printable"), (r#"{"token":7}"#, "token"), (r#"{"token":""}"#, "empty")]
        {
            let (_, answer) = program.join(namespace, auth);
            assert!(answer["message"].as_str().unwrap().contains(part), "{auth}: {answer}");
        }
    }
}

#[test]
fn a_message_reaches_every_device_of_its_recipient_with_its_real_sender() {
    let program = Program::start(&[]);
    let mut alice = program.user("alice");
    let mut devices = [program.user("bob"), program.user("bob")];
    let answer = alice.ask("chat", &json!({ "to": "bob", "from": "mallory", "message": "hi", "type": "text" }));
    assert_eq!((&answer["ok"], &answer["delivered"]), (&json!(true), &json!(2)));
    for device in &mut devices {
        let chat = device.event("chat");
        assert_eq!((&chat["from"], &chat["message"], &chat["type"]), (&json!("alice"), &json!("hi"), &json!("text")));
        assert_eq!(chat["sendtime"], answer["sendtime"]);
    }
    assert_eq!(alice.ask("chat", &json!({ "to": "nobody", "message": "hi" }))["delivered"], 0);
}

#[test]
fn invalid_input_is_answered_with_an_error() {
    let program = Program::start(&["--max-message-bytes", "1000", "--max-rooms", "2", "--max-room-name", "5"]);
    let mut alice = program.user("alice");
    let wrong = [
        ("chat", json!("text")),
        ("chat", json!({ "to": "bob" })),
        ("chat", json!({ "to": [], "message": "" })),
        ("chat", json!({ "to": "\u{7}", "message": "" })),
        ("chat", json!({ "to": "alice", "message": "x".repeat(1001) })),
        ("chat", json!({ "to": "alice", "message": "", "type": "x".repeat(1001) })),
        ("enter_room", json!({})),
        ("enter_room", json!({ "room": "" })),
        ("enter_room", json!({ "room": "sixsix" })),
        ("leave_room", json!({ "room": "never" })),
        ("leave_room", json!({ "room": "alice" })),
        ("message", json!({ "room": "never", "message": "hi" })),
        ("message", json!({ "room": "lobby" })),
    ];
    for (event, data) in wrong {
        let answer = alice.ask(event, &data);
        assert_eq!(answer["ok"], false, "{event} {data}: {answer}");
        assert!(!answer["error"].as_str().unwrap().is_empty());
    }
    for (room, ok) in [("one", true), ("two", true), ("two", true), ("three", false)] {
        assert_eq!(alice.ask("enter_room", &json!({ "room": room }))["ok"], ok, "{room}");
    }
    assert_eq!(alice.ask("leave_room", &json!({ "room": "one" }))["ok"], true);
    assert_eq!(alice.ask("enter_room", &json!({ "room": "three" }))["ok"], true);
}

#[test]
fn rooms_are_for_their_members_and_private_rooms_cannot_be_entered() {
    let program = Program::start(&[]);
    let (mut alice, mut bob, mut eve) = (program.user("alice"), program.user("bob"), program.user("eve"));
    for socket in [&mut alice, &mut bob] {
        assert_eq!(socket.ask("enter_room", &json!({ "room": "lobby" })), json!({ "ok": true, "room": "lobby" }));
        assert_eq!(socket.event("message"), json!({ "msg": "进入房间成功", "room": "lobby" }));
    }
    for private in ["bob", "user:bob"] {
        assert_eq!(eve.ask("enter_room", &json!({ "room": private }))["ok"], false, "{private}");
    }
    assert_eq!(eve.ask("message", &json!({ "room": "lobby", "message": "x" }))["ok"], false);
    assert_eq!(eve.ask("message", &json!({ "content": "nobody hears" })), json!({ "ok": true }));

    assert_eq!(alice.ask("message", &json!({ "room": "lobby", "message": { "text": "hello" } }))["ok"], true);
    assert_eq!(alice.ask("action", &json!({ "action": "typing" }))["ok"], true);
    for socket in [&mut alice, &mut bob] {
        let message = socket.event("message");
        let expected = (json!("alice"), json!("lobby"), json!({ "text": "hello" }));
        assert_eq!((message["from"].clone(), message["room"].clone(), message["message"].clone()), expected);
        assert_eq!(socket.event("action")["message"], json!({ "action": "typing" }));
    }
    // Eve gets the direct message next, and nothing of the lobby before it.
    alice.ask("chat", &json!({ "to": "eve", "message": "end" }));
    assert_eq!(eve.event("chat")["message"], "end");
    eve.ask("enter_room", &json!({ "room": "lobby" }));
    assert_eq!(eve.event("message")["msg"], "进入房间成功");
}

#[test]
fn names_are_compared_by_what_they_are_and_by_what_they_look_like() {
    let program = Program::start(&[]);
    let mut alice = program.user("alice");
    // The same user, by the name of the first device.
    let (mut second, _) = program.join("/imchat", r#"{"token":"ＡLICE"}"#);
    assert_eq!(second.event("message")["user"], "alice");
    assert_eq!(alice.ask("chat", &json!({ "to": "Alice", "message": "hi" }))["delivered"], 2);
    assert_eq!(second.event("chat")["from"], "alice");
    // Another user who looks the same.
    for lookalike in ["аlice", "aIice", "a1ice"] {
        let (_, answer) = program.join("/imchat", &json!({ "token": lookalike }).to_string());
        let why = answer["message"].as_str().unwrap();
        assert!(why.contains("looks like that of `alice`"), "{lookalike}: {why}");
        assert!(program.websocket("/ws/", &[("token", "bob")]).is_ok());
        let Err(tungstenite::Error::Http(response)) = program.websocket(&format!("/ws/{}/", escape(lookalike)), &[])
        else {
            panic!("{lookalike} is let in")
        };
        assert_eq!(response.status(), 400);
    }
    for lobby in ["lobby", "Lobby", "1obby"] {
        let (_, answer) = program.join("/imchat", &json!({ "token": lobby }).to_string());
        assert!(answer["message"].as_str().unwrap().contains("room `lobby`"), "{lobby}: {answer}");
    }
    for invisible in ["al\u{fe0f}ice", "al\u{34f}ice", "alice\u{180b}", "\u{17b4}alice", "a\u{1d173}", "\u{1bca0}"] {
        let (_, answer) = program.join("/imchat", &json!({ "token": invisible }).to_string());
        assert!(answer["message"].as_str().unwrap().contains("invisible"), "{invisible:?}: {answer}");
    }
    drop((alice, second));
    // The name is free once its user is gone.
    let mut answer = Value::Null;
    let begun = Instant::now();
    while answer["sid"].is_null() && begun.elapsed() < Duration::from_secs(10) {
        answer = program.join("/imchat", r#"{"token":"aIice"}"#).1;
    }
    assert!(answer["sid"].is_string(), "{answer}");
}

/// A text as a part of a path.
fn escape(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[test]
fn a_room_named_like_a_user_is_that_users() {
    let program = Program::start(&[]);
    let mut eve = program.user("eve");
    for room in ["bob", "b0b", "team"] {
        assert_eq!(eve.ask("enter_room", &json!({ "room": room }))["ok"], true, "nobody has the name {room} yet");
        assert_eq!(eve.event("message")["room"], room);
    }
    let mut bob = program.user("Bob");
    let mut closed = BTreeSet::new();
    for _ in 0..2 {
        let notice = eve.event("message");
        assert!(notice["msg"].as_str().unwrap().contains("this room is closed"), "{notice}");
        closed.insert(notice["room"].as_str().unwrap().to_owned());
    }
    assert_eq!(closed, BTreeSet::from(["bob".to_owned(), "b0b".to_owned()]));
    for room in ["bob", "BOB", "b0b", "user:bob"] {
        assert_eq!(eve.ask("enter_room", &json!({ "room": room }))["ok"], false, "{room}");
        assert_eq!(eve.ask("message", &json!({ "room": room, "message": "hi" }))["ok"], false, "{room}");
    }
    assert_eq!(eve.ask("message", &json!({ "room": "team", "message": "hi" }))["ok"], true);
    assert_eq!(bob.ask("message", &json!({ "room": "bob", "message": "to myself" }))["ok"], true);
    assert_eq!(bob.event("message")["message"], "to myself");
}

#[test]
fn a_second_device_of_a_name_is_told_to_both() {
    let program = Program::start(&[]);
    let mut first = program.user("alice");
    let mut second = program.user("alice");
    for device in [&mut first, &mut second] {
        assert_eq!(device.event("shared_name"), json!({ "user": "alice", "shared": true }));
    }
    assert_eq!(program.user("alice").event("shared_name")["shared"], true);
    drop(second);
    assert_eq!(first.event("shared_name"), json!({ "user": "alice", "shared": false }));
    let plain = program.websocket("/ws/alice/", &[]).unwrap();
    assert_eq!(first.event("shared_name")["shared"], true);
    drop(plain);
    assert_eq!(first.event("shared_name")["shared"], false);
}

#[test]
fn what_goes_out_nests_no_deeper_and_is_no_larger_than_its_recipients_accept() {
    const MAX_DEPTH: usize = 64;
    let nested = |depth: usize| {
        let text = "[".repeat(depth) + &"]".repeat(depth);
        serde_json::from_str::<Value>(&text).unwrap()
    };
    let program = Program::start(&["--max-message-bytes", "2MB"]);
    let (mut alice, mut bob) = (program.user("alice"), program.user("bob"));
    let (mut plain, mut plain_bob) =
        (program.websocket("/ws/carol/", &[]).unwrap(), program.websocket("/ws/bob/", &[]).unwrap());
    for socket in [&mut alice, &mut bob] {
        assert_eq!(socket.ask("enter_room", &json!({ "room": "lobby" }))["ok"], true);
        assert_eq!(socket.event("message")["room"], "lobby");
    }
    // The arguments and the object are two levels more than the message. The server wraps the last one once more.
    for (depth, ok) in [(MAX_DEPTH - 2, true), (MAX_DEPTH - 1, false)] {
        let answer = alice.ask("message", &nested(depth));
        assert_eq!(answer["ok"], ok, "{depth}: {answer}");
        if ok {
            assert_eq!(bob.event("message")["message"], nested(depth));
        } else {
            assert!(answer["error"].as_str().unwrap().contains("more deeply than 62 levels"), "{answer}");
        }
        plain.send(&json!({ "message": nested(depth), "to_user": "bob" }).to_string());
        if !ok {
            let answer = plain.json();
            assert!(answer["error"].as_str().unwrap().contains("more deeply"), "{answer}");
        }
    }
    let fits = nested(MAX_DEPTH - 3);
    plain.send(&json!({ "message": fits, "to_user": "bob" }).to_string());
    assert_eq!(bob.event("chat")["message"], fits, "nothing deeper has arrived before");
    assert_eq!(plain_bob.json()["message"], fits);
    // A message that fits into one packet on its way in, but not with its sender, room and time.
    let large = "x".repeat(1_000_000 - 40);
    let answer = alice.ask("message", &json!(large));
    assert!(answer["error"].as_str().unwrap().contains("larger than"), "{answer}");
    assert_eq!(alice.ask("message", &json!("x".repeat(990_000)))["ok"], true);
}

#[test]
fn many_users_who_connect_at_once_are_announced_together_and_once() {
    let program = Program::start(&[]);
    let mut watcher = program.user("watcher");
    let names: BTreeSet<String> = (0..300).map(|number| format!("user-{number}")).collect();
    let _crowd: Vec<_> = names.iter().map(|name| program.user(name)).collect();
    let mut joined = Vec::new();
    let mut announcements = 0;
    while joined.len() < names.len() {
        match watcher.event("presence")["joined"].take() {
            Value::String(name) => joined.push(name),
            Value::Array(several) => {
                joined.extend(several.iter().map(|name| name.as_str().expect("a name").to_owned()));
            }
            other => panic!("{other} joined"),
        }
        announcements += 1;
    }
    assert_eq!(BTreeSet::from_iter(joined.iter().cloned()), names, "{announcements} announcements");
    assert_eq!(joined.len(), names.len(), "no user is announced twice");
}

#[test]
fn presence_counts_devices_and_announces_users() {
    let program = Program::start(&[]);
    let mut watcher = program.user("watcher");
    let first = program.user("bob");
    assert_eq!(watcher.event("presence"), json!({ "joined": "bob" }));
    let second = program.user("bob");
    let plain = program.websocket("/ws/bob/", &[]).unwrap();
    drop((first, second));
    drop(program.user("carol"));
    // Nothing is announced of bob, whose plain WebSocket is still open.
    assert_eq!(watcher.event("presence"), json!({ "joined": "carol" }));
    assert_eq!(watcher.event("presence"), json!({ "left": "carol" }));
    assert_eq!(watcher.ask("who", &Value::Null)["online"], json!(["bob", "watcher"]));
    drop(plain);
    assert_eq!(watcher.event("presence"), json!({ "left": "bob" }));
}

#[test]
fn the_plain_lobby_sends_every_message_to_all_connections() {
    let program = Program::start(&[]);
    let mut sockets = [program.websocket("/ws/", &[]).unwrap(), program.websocket("/ws", &[]).unwrap()];
    sockets[0].send("not even JSON");
    sockets[1].socket.send(Message::binary(vec![0, 255])).unwrap();
    for socket in &mut sockets {
        let mut received = [socket.socket.read().unwrap(), socket.socket.read().unwrap()];
        received.sort_by_key(Message::is_binary);
        assert_eq!(received, [Message::text("not even JSON"), Message::binary(vec![0, 255])]);
    }
}

#[test]
fn plain_messages_reach_all_devices_of_a_user_and_errors_go_to_the_sender() {
    let program = Program::start(&["--max-payload", "1000"]);
    let mut alice = program.websocket("/ws/alice/", &[]).unwrap();
    let mut devices = [program.websocket("/ws/bob/", &[]).unwrap(), program.websocket("/ws/bob", &[]).unwrap()];
    let mut socket = program.user("bob");
    alice.send(r#"{"message":"hi","to_user":"bob","from":"mallory","id":7}"#);
    for device in &mut devices {
        assert_eq!(device.json(), json!({ "message": "hi", "to_user": "bob", "from": "alice", "id": 7 }));
    }
    let chat = socket.event("chat");
    assert_eq!((&chat["from"], &chat["message"]), (&json!("alice"), &json!("hi")));

    // From Socket.IO to plain WebSocket.
    assert_eq!(socket.ask("chat", &json!({ "to": "alice", "message": "back" }))["delivered"], 1);
    let back = alice.json();
    assert_eq!((&back["from"], &back["message"], &back["to_user"]), (&json!("bob"), &json!("back"), &json!("alice")));

    for wrong in [r#"{"message":"hi","to_user":"nobody"}"#, "{", "[]", r#"{"to_user":"bob"}"#] {
        alice.send(wrong);
        assert!(alice.json()["error"].is_string(), "{wrong}");
    }
    alice.send(r#"{"message":"still here","to_user":"alice"}"#);
    assert_eq!(alice.json()["message"], "still here");
    alice.send(&format!(r#"{{"message":"{}","to_user":"alice"}}"#, "x".repeat(1000)));
    assert_eq!(alice.closed().0, 1009);

    let refused = program.websocket("/ws/%00/", &[]).err().expect("a name is printable");
    let tungstenite::Error::Http(response) = refused else { panic!("{refused}") };
    assert_eq!(response.status(), 400);
}

#[test]
fn max_message_bytes_holds_for_plain_messages() {
    let program = Program::start(&["--max-message-bytes", "1000"]);
    let mut alice = program.websocket("/ws/alice/", &[]).unwrap();
    let (mut plain, mut socket) = (program.websocket("/ws/bob/", &[]).unwrap(), program.user("bob"));
    let large = "x".repeat(1001);
    for wrong in [
        json!({ "message": large, "to_user": "bob" }),
        json!({ "message": { "deep": [large] }, "to_user": "bob" }),
        // Every member counts, because all are delivered.
        json!({ "message": "hi", "to_user": "bob", "more": large }),
    ] {
        alice.send(&wrong.to_string());
        let answer = alice.json();
        let error = answer["error"].as_str().unwrap_or_else(|| panic!("{answer} tells no error"));
        assert!(error.contains("larger than 1000 bytes") && answer["to_user"] == "bob", "{answer}");
    }
    let fits = json!("x".repeat(900));
    alice.send(&json!({ "message": fits, "to_user": "bob" }).to_string());
    // Nothing else arrives before it.
    assert_eq!(plain.json()["message"], fits);
    assert_eq!(socket.event("chat")["message"], fits);
}

#[test]
fn connection_headers_on_several_lines_open_a_plain_websocket() {
    let program = Program::start(&[]);
    let mut stream = TcpStream::connect(&program.address).unwrap();
    let request = "GET /ws/ HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
                   Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(request.as_bytes()).unwrap();
    let mut status = [0; 12];
    stream.read_exact(&mut status).unwrap();
    assert_eq!(std::str::from_utf8(&status), Ok("HTTP/1.1 101"));
}

#[test]
fn max_plain_connections_limits_plain_connections() {
    let program = Program::start(&["--max-plain-connections", "1"]);
    let _first = program.websocket("/ws/", &[]).unwrap();
    let Err(tungstenite::Error::Http(response)) = program.websocket("/ws/", &[]) else { panic!("one too many") };
    assert_eq!(response.status(), 503);
}

#[test]
fn one_address_cannot_take_all_plain_connections() {
    let options = ["--max-plain-connections", "3", "--max-plain-connections-per-address", "2", "--trust-forwarded"];
    let program = Program::start(&options);
    let open = |address: &str| match program.websocket("/ws/", &[("x-forwarded-for", address)]) {
        Ok(socket) => Ok(socket),
        Err(tungstenite::Error::Http(response)) => Err(response.status().as_u16()),
        Err(error) => panic!("{error}"),
    };
    let mut sockets = vec![open("192.0.2.1").unwrap(), open("192.0.2.1").unwrap()];
    assert_eq!(open("192.0.2.1").err(), Some(429));
    sockets.push(open("192.0.2.2").unwrap());
    assert_eq!(open("192.0.2.3").err(), Some(503));
    // A place is free again once its connection has ended.
    sockets[0].socket.close(None).unwrap();
    while sockets[0].socket.read().is_ok() {}
    let begun = Instant::now();
    while open("192.0.2.1").is_err() {
        assert!(begun.elapsed() < Duration::from_secs(10), "the place is not given back");
    }
}

const INTERVAL: Duration = Duration::from_millis(100);

#[test]
fn a_client_of_the_monitor_gets_a_sample_at_once_and_then_the_same_as_all_others() {
    let program = Program::start(&["--monitor-interval", "100ms"]);
    let start = Instant::now();
    let (mut first, _) = program.join("/test", "");
    let sample = first.event("server_response");
    assert_eq!((&sample["count"], &sample["connections"]), (&json!(1), &json!(1)));
    assert!(sample["data"][0].as_str().unwrap().len() == 5 && sample["data"][1].is_array(), "{sample}");
    assert_eq!(first.event("server_response")["count"], 2);
    let (mut second, _) = program.join("/test", "");
    assert_eq!(second.event("server_response")["connections"], 2);
    let count = |sample: &Value| sample["count"].as_u64().unwrap();
    let mut skipped = 0;
    for _ in 0..10 {
        let (mut one, mut other) = (first.event("server_response"), second.event("server_response"));
        while count(&one) != count(&other) {
            if count(&one) < count(&other) {
                one = first.event("server_response");
            } else {
                // The sample for the join may arrive before or after one for all.
                other = second.event("server_response");
                skipped += 1;
                assert!(skipped <= 2, "{other} after {skipped} samples that did not reach the first");
            }
        }
        assert_eq!(one, other, "a sample is taken once for all");
        let ticks = u64::try_from(start.elapsed().as_millis() / INTERVAL.as_millis()).unwrap();
        assert!(count(&one) <= ticks + 2, "{one} after {ticks} intervals and two who joined");
    }
}

#[test]
fn nothing_is_sampled_without_clients_of_the_monitor() {
    let program = Program::start(&["--monitor-interval", "100ms", "--ping-interval", "200ms"]);
    let (mut watcher, _) = program.join("/test", "");
    let mut last = watcher.event("server_response")["count"].as_u64().unwrap();
    watcher.send("41/test,");
    watcher.send("40");
    // Its answer follows everything that was sent before the client left.
    while let Some(sample) = Some(watcher.receive()).filter(|text| !text.starts_with("40{")) {
        last += u64::from(sample.starts_with("42/test,"));
    }
    // Ten pings take twenty intervals of the monitor, however slow the machine is.
    for _ in 0..10 {
        while watcher.receive() != "2" {}
        watcher.send("3");
    }
    let (mut watcher, _) = program.join("/test", "");
    let count = watcher.event("server_response")["count"].as_u64().unwrap();
    // One for the new client, and perhaps one that was being taken when the old one left.
    assert!(count <= last + 2, "{count} samples after {last}");
}
