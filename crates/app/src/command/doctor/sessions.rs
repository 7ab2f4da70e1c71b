//! Checks that the requests of a session reach the server that knows it, and how long they take.
use std::time::Duration;

use super::{
    probe::{Answer, Ask, Probe, Session, unanswered},
    report::Finding,
};

/// Sends requests of a session, first each over a new connection, then several over one.
pub(super) async fn examine(probe: &Probe, session: &Session) -> Vec<Finding> {
    let mut answers = Vec::new();
    for fresh in [true; FRESH].into_iter().chain([false; KEPT]) {
        // A heartbeat, which changes nothing: a ping in revision 3, a pong in revision 4.
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

/// How many requests use new connections. If each goes to one of two servers at random, the probability that the other
/// server gets at least one is 255 in 256.
const FRESH: usize = 8;

/// How many requests follow over one connection.
const KEPT: usize = 5;

const STICKY: &str = "sessions";

const CURE: &str = "\
A load balancer sends the requests of one session to several servers, but each server knows only its own sessions.
Configure it to send a client to the same server each time (sticky sessions). In nginx:

    upstream your-servers {
        hash $remote_addr consistent;
        server 10.0.0.1:3000;
        server 10.0.0.2:3000;
    }

Or let clients use WebSocket only, which is one connection (--transport websocket).";

/// Whether one of the requests over new connections has failed, so that further requests show nothing new.
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
        let what = format!("{unknown} of {count} requests of one session reached a server that does not know it");
        return Finding::problem(STICKY, what, CURE);
    }
    match answers.iter().find(|answer| answer.status != 200) {
        Some(answer) => Finding::problem(
            STICKY,
            format!("the answer to a request of the session is HTTP status {}: {}", answer.status, answer.excerpt()),
            "The server, or a proxy before it, refuses POST requests, or the server ends the session; its log may say more.",
        ),
        None => Finding::ok(
            STICKY,
            format!("all {} requests of one session reached the server that knows it", answers.len()),
        ),
    }
}

fn judge_latency(median: Duration) -> Finding {
    const LATENCY: &str = "latency";
    let what = format!("{:.1} ms from a request to its answer (median of {KEPT})", median.as_secs_f64() * 1000.0);
    if median < Duration::from_millis(500) {
        return Finding::ok(LATENCY, what);
    }
    Finding::warning(LATENCY, what, "A message takes about half of this. Is the server far away, or busy?")
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
    fn a_session_that_some_servers_do_not_know_is_not_sticky() {
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
    fn a_slow_answer_is_a_warning() {
        let times = [9, 1, 600, 700, 800].map(Duration::from_millis);
        assert_eq!(judge_latency(median(times.to_vec()).unwrap()).verdict, Verdict::Warning);
        assert_eq!(judge_latency(Duration::from_millis(3)).verdict, Verdict::Ok);
        assert_eq!(median(Vec::new()), None);
    }
}
