//! What a session needs after it was opened: that its requests reach the server that knows it, and soon.
use std::time::Duration;

use super::{
    probe::{Answer, Ask, Probe, Session},
    report::Finding,
    unanswered,
};

/// Sends requests of a session, each over a connection of its own, and then some over one.
pub(super) async fn examine(probe: &Probe, session: &Session) -> Vec<Finding> {
    let mut answers = Vec::new();
    for fresh in [true; FRESH].into_iter().chain([false; KEPT]) {
        // A heartbeat, which changes nothing: of the client in revision 3, the answer to the server's in revision 4.
        let body = if session.eio == "3" { "1:2" } else { "3" };
        match probe.ask(Ask { body: Some(body), fresh, ..Ask::of(session) }).await {
            Ok(answer) => answers.push(answer),
            Err(error) => return vec![unanswered(STICKY, &error)],
        }
        if fresh_is_lost(&answers) {
            break;
        }
    }
    let mut findings = vec![judge(&answers)];
    let kept: Vec<_> = answers.iter().skip(FRESH).map(|answer| answer.took).collect();
    findings.extend(median(kept).map(judge_latency));
    findings
}

/// How many requests go over connections of their own. Of two servers that take turns at random, each gets one of them
/// with a probability of 255 in 256.
const FRESH: usize = 8;

/// How many follow over one connection.
const KEPT: usize = 5;

const STICKY: &str = "sessions";

const CURE: &str = "\
A load balancer sends the requests of one session to several servers, and each knows its own sessions only. Let it
send a client to the same server each time (sticky sessions). In nginx:

    upstream your-servers {
        hash $remote_addr consistent;
        server 10.0.0.1:3000;
        server 10.0.0.2:3000;
    }

Or let clients use a WebSocket alone, which is one connection (--transport websocket).";

/// Whether enough is known, because a session that is lost to one server does not come back.
fn fresh_is_lost(answers: &[Answer]) -> bool {
    answers.len() == FRESH && answers.iter().any(|answer| answer.status != 200)
}

fn judge(answers: &[Answer]) -> Finding {
    let is_unknown = |answer: &&Answer| {
        let words = ["Session ID unknown", "Invalid session", "\"code\":1,"];
        answer.status == 400 && words.iter().any(|words| answer.body.contains(words))
    };
    let unknown = answers.iter().filter(is_unknown).count();
    if unknown > 0 {
        let count = answers.len();
        let what = format!("{unknown} of {count} requests of one session came to a server that does not know it");
        return Finding::problem(STICKY, what, CURE);
    }
    match answers.iter().find(|answer| answer.status != 200) {
        Some(answer) => Finding::problem(
            STICKY,
            format!("a request of the session is answered with HTTP status {}: {}", answer.status, answer.excerpt()),
            "The server, or a proxy before it, lets GET pass but not POST, or ends the session; its log may say more.",
        ),
        None => Finding::ok(
            STICKY,
            format!("all of {} requests of one session came to the server that knows it", answers.len()),
        ),
    }
}

fn judge_latency(median: Duration) -> Finding {
    const LATENCY: &str = "latency";
    let what = format!("{:.1} ms for a request and its answer (median of {KEPT})", median.as_secs_f64() * 1000.0);
    if median < Duration::from_millis(500) {
        return Finding::ok(LATENCY, what);
    }
    Finding::warning(LATENCY, what, "Each message takes half of this. Is the server far away, or busy?")
}

fn median(mut times: Vec<Duration>) -> Option<Duration> {
    times.sort_unstable();
    times.get(times.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::doctor::{probe::answer, report::Verdict};

    #[test]
    fn a_session_that_is_unknown_to_some_means_that_nothing_is_sticky() {
        let fine = || answer(200, &[], "ok");
        let unknown = || answer(400, &[], r#"{"code":1,"message":"Session ID unknown"}"#);
        assert_eq!(judge(&[fine(), fine()]).verdict, Verdict::Ok);
        let finding = judge(&[fine(), unknown(), fine()]);
        assert_eq!(finding.verdict, Verdict::Problem);
        assert!(finding.what.starts_with("1 of 3") && finding.cure.contains("sticky"), "{finding:?}");
        let python = judge(&[answer(400, &[], "\"Invalid session abc\"")]);
        assert!(python.cure.contains("sticky"), "{python:?}");
        let other = judge(&[fine(), answer(403, &[], "no POST")]);
        assert!(other.what.contains("403: no POST") && !other.cure.contains("sticky"), "{other:?}");
    }

    #[test]
    fn a_slow_way_is_a_warning() {
        let times = [9, 1, 600, 700, 800].map(Duration::from_millis);
        assert_eq!(judge_latency(median(times.to_vec()).unwrap()).verdict, Verdict::Warning);
        assert_eq!(judge_latency(Duration::from_millis(3)).verdict, Verdict::Ok);
        assert_eq!(median(Vec::new()), None);
    }
}
