//! Checks that a session can be opened, by polling and by WebSocket.
use super::{
    probe::{Answer, Ask, Probe, Session, innermost, unanswered},
    report::Finding,
};
use crate::command::target::{DEFAULT_PATH, Target, TargetOptions, TransportName};

/// The outcome of opening a session by polling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Polling {
    /// The server has opened one.
    Open(Session),
    /// The server offers only WebSocket.
    Off,
    /// Clients cannot connect.
    Failed,
}

/// How to let nginx pass WebSockets on.
pub(super) const NGINX: &str = "\
The proxy must pass on the headers of the upgrade. In nginx:

    location /socket.io/ {
        proxy_pass http://your-server;
        proxy_http_version 1.1;
        proxy_set_header Upgrade $http_upgrade;
        proxy_set_header Connection \"upgrade\";
        proxy_set_header Host $host;
    }

Until then clients can use polling only (--transport polling).";

/// The finding if the server does not answer by HTTP.
pub(super) fn no_answer(error: &reqwest::Error, target: &Target) -> Finding {
    if error.is_timeout() {
        return Finding::problem(
            POLLING,
            format!("the server does not answer a request for {}", target.path),
            "Is Socket.IO mounted at another path (--path)? A Node server may never answer on other paths. If the path is\n\
             right, the server is too busy (--timeout allows more time).",
        );
    }
    let error = innermost(error);
    let cure = if target.url.scheme() == "http" {
        "Does a Socket.IO server listen at this port? If it is a port for TLS, use https:// instead of http://."
    } else {
        "Does a Socket.IO server listen at this port?"
    };
    Finding::problem(POLLING, format!("the server does not answer by HTTP: {error}"), cure)
}

/// Judges the answer to a request that opens a session by polling.
pub(super) async fn polling(
    answer: &Answer,
    probe: &Probe,
    target: &Target,
    options: &TargetOptions,
) -> (Polling, Finding) {
    let mut other = None;
    if is_unsupported_version(answer) {
        let revision = if options.eio == "3" { "4" } else { "3" };
        let ask = Ask { eio: Some(revision), ..Ask::OPEN };
        other = probe.ask(ask).await.ok().and_then(|answer| answer.session());
        if let Some(session) = &other {
            probe.close(session).await;
        }
    }
    let (polling, finding) = judge(answer, other.is_some(), target, options);
    if let (Polling::Failed, Some(session)) = (&polling, answer.session()) {
        probe.close(&session).await;
    }
    (polling, finding)
}

/// Requests a WebSocket and judges the answer.
pub(super) async fn websocket(probe: &Probe, polling_works: bool) -> Finding {
    match probe.ask(Ask { websocket: true, fresh: true, ..Ask::OPEN }).await {
        Ok(answer) => judge_websocket(&answer, polling_works),
        Err(error) if polling_works => Finding::problem(
            WEBSOCKET,
            format!("polling works, but a request for a WebSocket gets no answer: {}", innermost(&error)),
            NGINX,
        ),
        Err(error) => unanswered(WEBSOCKET, &error),
    }
}

const POLLING: &str = "polling";
const WEBSOCKET: &str = "websocket";

fn judge(answer: &Answer, other_revision_works: bool, target: &Target, options: &TargetOptions) -> (Polling, Finding) {
    let failed = |what: String, cure: &str| (Polling::Failed, Finding::problem(POLLING, what, cure));
    let path = &target.path;
    let said = match answer.excerpt().as_str() {
        "" => String::new(),
        excerpt => format!(": {excerpt}"),
    };
    if let Some(session) = answer.session() {
        if session.eio != options.eio {
            return failed(
                format!("the server speaks revision {} of Engine.IO, not {}", session.eio, options.eio),
                other_revision(&options.eio),
            );
        }
        let took = answer.took.as_secs_f64() * 1000.0;
        let what = format!("Engine.IO {} at {path}, a session within {took:.1} ms", session.eio);
        return (Polling::Open(session), Finding::ok(POLLING, what));
    }
    if is_unsupported_version(answer) {
        let what = format!("the server does not speak revision {} of Engine.IO{said}", options.eio);
        return if other_revision_works {
            failed(what, other_revision(&options.eio))
        } else {
            failed(what, "It may speak another revision: the versions of Socket.IO of client and server must match.")
        };
    }
    let body = &answer.body;
    if body.contains("Transport unknown") || body.contains("Invalid transport") {
        let what = "the server has polling switched off";
        let finding = if options.transport.first() == Some(&TransportName::Websocket) {
            Finding::ok(POLLING, what)
        } else {
            Finding::warning(
                POLLING,
                what,
                "Clients must use WebSocket from the start: --transport websocket, or `transports: [\"websocket\"]` in JavaScript.",
            )
        };
        return (Polling::Off, finding);
    }
    match answer.status {
        200..=299 => failed(
            format!("something answers at {path}, but it is not Engine.IO{said}"),
            "Another program serves this path, or a page for all unknown paths. Are the address and the port right? Is\n\
             Socket.IO mounted at another path (--path)?",
        ),
        300..=399 => {
            let place = answer.header("location").unwrap_or("an unknown address");
            failed(
                format!("the server redirects to {place} (HTTP status {})", answer.status),
                "Socket.IO clients do not follow redirects: use the new address.",
            )
        }
        400 if body.contains("HTTPS port") || body.contains("HTTPS server") => {
            failed(format!("it is a port for TLS{said}"), "Use https:// instead of http://.")
        }
        401 | 403 | 407 => failed(
            format!("the server refuses to open a session (HTTP status {}){said}", answer.status),
            "Does it, or a proxy before it, need a header (--header 'Authorization: ...')? A function of the server that\n\
             checks requests (`allowRequest`) may refuse it as well; the server's log says more.",
        ),
        404 | 405 => failed(
            format!("nothing is at the path {path} (HTTP status {})", answer.status),
            if path == DEFAULT_PATH {
                "Is Socket.IO mounted at another path (--path)? Does the proxy before it pass this path on? The path in the\n\
                 address is the namespace, not the path that the server is mounted at."
            } else {
                "At which path is Socket.IO mounted? Without --path it is /socket.io/."
            },
        ),
        429 | 503 => failed(
            format!("the server accepts no more sessions (HTTP status {}){said}", answer.status),
            "It is full, or stopping. In Sockeye, the limits are `max_sessions` and `max_sessions_per_address`; behind a\n\
             proxy, set `trust_forwarded`, so that it counts the addresses of clients and not that of the proxy.",
        ),
        502 | 504 => failed(
            format!("a proxy answers, but cannot reach the server behind it (HTTP status {})", answer.status),
            "Is the server running, and is its address right in the configuration of the proxy?",
        ),
        status => failed(
            format!("the server refuses to open a session (HTTP status {status}){said}"),
            "Its log may say more.",
        ),
    }
}

fn judge_websocket(answer: &Answer, polling_works: bool) -> Finding {
    let said = match answer.excerpt().as_str() {
        "" => String::new(),
        excerpt => format!(": {excerpt}"),
    };
    let status = answer.status;
    if status == 101 {
        let took = answer.took.as_secs_f64() * 1000.0;
        return Finding::ok(WEBSOCKET, format!("the request reaches the server, which answers within {took:.1} ms"));
    }
    if answer.body.contains("Transport unknown") || answer.body.contains("Invalid transport") {
        let cure = "Clients stay with polling, which costs more. To allow WebSocket, add `websocket` to the server's transports.";
        return Finding::warning(WEBSOCKET, "the server has WebSocket switched off", cure);
    }
    match status {
        401 | 403 | 407 => Finding::problem(
            WEBSOCKET,
            format!("the server refuses a WebSocket (HTTP status {status}){said}"),
            "The server, or a proxy before it, needs credentials (--header), or refuses the origin.",
        ),
        _ if polling_works => Finding::problem(
            WEBSOCKET,
            format!("polling works, but the answer to a WebSocket is HTTP status {status} instead of 101{said}"),
            NGINX,
        ),
        _ => Finding::problem(
            WEBSOCKET,
            format!("the answer to a WebSocket is HTTP status {status} instead of 101{said}"),
            NGINX,
        ),
    }
}

/// Whether the server names the revision as the reason. The second text is that of python-engineio.
fn is_unsupported_version(answer: &Answer) -> bool {
    answer.status == 400
        && ["Unsupported protocol version", "unsupported version of the"]
            .iter()
            .any(|words| answer.body.contains(words))
}

fn other_revision(asked: &str) -> &'static str {
    if asked == "3" {
        "Leave out --eio, and use clients of Socket.IO 3 or later; in this client library, `engine_version` is 4 by default."
    } else {
        "It is a server of Socket.IO 1 or 2. Use --eio 3 (in this client library, `engine_version(EngineVersion::V3)`),\n\
         socket.io-client 2.x or python-socketio 4.x, or update the server."
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::command::doctor::{probe::answer, report::Verdict};

    #[derive(Debug, clap::Parser)]
    struct Line {
        #[command(flatten)]
        options: TargetOptions,
    }

    fn judged(status: u16, body: &str, arguments: &[&str]) -> (Polling, Finding) {
        let options = Line::parse_from([&["x"], arguments].concat()).options;
        let target = options.target("http://a.example").unwrap();
        judge(&answer(status, &[("location", "https://b.example/")], body), true, &target, &options)
    }

    #[test]
    fn each_answer_is_explained() {
        let open = r#"0{"sid":"a","upgrades":[]}"#;
        for (status, body, arguments, words) in [
            (200, open, &["--eio", "3"][..], &["revision 4 of Engine.IO, not 3", "Leave out --eio"][..]),
            (200, "26:0{\"sid\":\"a\",\"upgrades\":[]}", &[], &["revision 3 of Engine.IO, not 4", "--eio 3"]),
            (400, r#"{"code":5,"message":"Unsupported protocol version"}"#, &[], &["revision 4", "--eio 3"]),
            (200, "<html>Hello</html>", &[], &["not Engine.IO: <html>Hello", "--path"]),
            (301, "", &[], &["https://b.example/", "redirects"]),
            (400, "The plain HTTP request was sent to HTTPS port", &[], &["TLS", "https://"]),
            (403, r#"{"code":4,"message":"no"}"#, &[], &["403", "no", "--header"]),
            (404, "", &[], &["/socket.io/", "404", "--path"]),
            (404, "", &["--path", "/x"], &["/x/", "404", "/socket.io/"]),
            (503, "", &[], &["503", "max_sessions"]),
            (502, "", &[], &["502", "proxy"]),
            (500, "boom", &[], &["500", "boom"]),
        ] {
            let (polling, finding) = judged(status, body, arguments);
            assert_eq!((polling, finding.verdict), (Polling::Failed, Verdict::Problem), "{status} {body}");
            let text = format!("{}\n{}", finding.what, finding.cure);
            for word in words {
                assert!(text.contains(word), "{status} {body}: {word:?} in {text}");
            }
        }
        let (polling, finding) = judged(200, open, &[]);
        assert!(matches!(polling, Polling::Open(_)) && finding.verdict == Verdict::Ok, "{finding:?}");
        let off = r#"{"code":0,"message":"Transport unknown"}"#;
        assert!(matches!(judged(400, off, &[]), (Polling::Off, Finding { verdict: Verdict::Warning, .. })));
        let chosen = judged(400, off, &["--transport", "websocket"]);
        assert!(matches!(chosen, (Polling::Off, Finding { verdict: Verdict::Ok, .. })));
    }

    #[test]
    fn a_refused_websocket_shows_the_configuration_of_nginx() {
        for status in [200, 400, 404, 426, 502] {
            let finding = judge_websocket(&answer(status, &[], ""), true);
            assert_eq!(finding.verdict, Verdict::Problem, "{status}");
            assert!(finding.what.contains(&status.to_string()), "{finding:?}");
            assert!(finding.cure.contains("proxy_set_header Upgrade $http_upgrade;"), "{finding:?}");
        }
        assert_eq!(judge_websocket(&answer(101, &[], ""), true).verdict, Verdict::Ok);
        assert!(!judge_websocket(&answer(403, &[], ""), true).cure.contains("nginx"));
        let off = judge_websocket(&answer(400, &[], r#"{"code":0,"message":"Transport unknown"}"#), true);
        assert_eq!(off.verdict, Verdict::Warning);
    }
}
