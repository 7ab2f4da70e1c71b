//! Whether a browser would let a page of some origin talk to the server.
use reqwest::{
    Url,
    header::{ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN},
};

use super::{
    probe::{Answer, Ask, Probe},
    report::Finding,
    unanswered,
};
use crate::command::target::TargetError;

/// The origin of a page, from its address or from the origin itself.
///
/// # Errors
/// If it is neither.
pub(super) fn origin(text: &str) -> Result<String, TargetError> {
    let wrong = || TargetError::Origin(text.to_owned());
    let url = Url::parse(text).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong());
    }
    Ok(url.origin().ascii_serialization())
}

/// Asks as a page of this origin would.
pub(super) async fn examine(probe: &Probe, origin: &str) -> Vec<Finding> {
    let own = probe.origin();
    let mut findings: Vec<_> = mixed(origin, &own).into_iter().collect();
    match probe.ask(Ask { origin: Some(origin), ..Ask::OPEN }).await {
        Ok(answer) => {
            if let Some(session) = answer.session() {
                probe.close(&session).await;
            }
            findings.push(judge_polling(&answer, origin, &own));
        }
        Err(error) => findings.push(unanswered(ORIGIN, &error)),
    }
    match probe.ask(Ask { origin: Some(origin), websocket: true, fresh: true, ..Ask::OPEN }).await {
        Ok(answer) => {
            let mut finding = judge_websocket(&answer, origin);
            if let Some(finding) = &mut finding
                && findings.iter().any(|before| before.cure == finding.cure)
            {
                finding.cure = String::new();
            }
            findings.extend(finding);
        }
        Err(error) => findings.push(unanswered(ORIGIN, &error)),
    }
    findings
}

const ORIGIN: &str = "origin";

fn cure(origin: &str) -> String {
    format!(
        "Let the server admit the origin: in Sockeye by the setting `allowed_origins = [\"{origin}\"]`, in JavaScript by\n\
         `cors: {{ origin: \"{origin}\" }}`, in Python by `cors_allowed_origins=[\"{origin}\"]`. A proxy must pass the header\n\
         Origin on, and its own answers need the header Access-Control-Allow-Origin, too."
    )
}

/// A page that came by TLS may not talk to a server without it.
fn mixed(origin: &str, own: &str) -> Option<Finding> {
    let host = own.strip_prefix("http://")?;
    let is_local = ["localhost", "127.", "[::1]"].iter().any(|local| host.starts_with(local));
    (origin.starts_with("https://") && !is_local).then(|| {
        Finding::problem(
            ORIGIN,
            "the page came by https://, the server is at http://: browsers block that (mixed content)",
            "Serve it by TLS, and write https:// into the page.",
        )
    })
}

fn judge_polling(answer: &Answer, origin: &str, own: &str) -> Finding {
    if answer.status != 200 {
        let (status, said) = (answer.status, answer.excerpt());
        let what = format!("polling of pages of {origin} is refused (HTTP status {status}): {said}");
        return Finding::problem(ORIGIN, what, cure(origin));
    }
    if origin == own {
        return Finding::ok(ORIGIN, format!("{origin} is the server's own, and it lets it in"));
    }
    let credentials = answer.header(ACCESS_CONTROL_ALLOW_CREDENTIALS) == Some("true");
    match answer.header(ACCESS_CONTROL_ALLOW_ORIGIN) {
        Some(allowed) if allowed == origin && credentials => {
            Finding::ok(ORIGIN, format!("pages of {origin} may poll, with cookies"))
        }
        Some(allowed) if allowed == origin || allowed == "*" => {
            Finding::ok(ORIGIN, format!("pages of {origin} may poll, without cookies (`withCredentials` would fail)"))
        }
        Some(allowed) => Finding::problem(
            ORIGIN,
            format!("the server answers, but the browser keeps the answer from pages of {origin}: it is for {allowed}"),
            cure(origin),
        ),
        None => Finding::problem(
            ORIGIN,
            format!(
                "the server answers, but the browser keeps the answer from pages of {origin}: it has no header \
                 Access-Control-Allow-Origin"
            ),
            cure(origin),
        ),
    }
}

/// A refusal; whatever else a WebSocket is answered with has been reported already.
fn judge_websocket(answer: &Answer, origin: &str) -> Option<Finding> {
    match answer.status {
        101 => Some(Finding::ok(ORIGIN, format!("pages of {origin} may open a WebSocket"))),
        403 => Some(Finding::problem(
            ORIGIN,
            format!("a WebSocket of pages of {origin} is refused (HTTP status 403): {}", answer.excerpt()),
            cure(origin),
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::doctor::{probe::answer, report::Verdict};

    const PAGE: &str = "https://www.example.org";

    #[test]
    fn an_origin_is_cut_out_of_an_address() {
        assert_eq!(origin("https://www.example.org/a?b").unwrap(), PAGE);
        assert_eq!(origin("http://localhost:5173").unwrap(), "http://localhost:5173");
        for wrong in ["www.example.org", "file:///x", ""] {
            assert!(origin(wrong).unwrap_err().to_string().contains("https://www.example.org"), "{wrong}");
        }
    }

    #[test]
    fn what_a_browser_refuses_is_a_problem() {
        let judged = |status: u16, headers: &[(&'static str, &str)]| {
            judge_polling(&answer(status, headers, "said"), PAGE, "https://api.example.org").verdict
        };
        let allow = "access-control-allow-origin";
        assert_eq!(judged(200, &[(allow, PAGE), ("access-control-allow-credentials", "true")]), Verdict::Ok);
        assert_eq!(judged(200, &[(allow, "*")]), Verdict::Ok);
        assert_eq!(judged(200, &[(allow, "https://other.example")]), Verdict::Problem);
        assert_eq!(judged(200, &[]), Verdict::Problem);
        assert_eq!(judged(403, &[(allow, PAGE)]), Verdict::Problem);
        assert_eq!(judge_polling(&answer(200, &[], ""), PAGE, PAGE).verdict, Verdict::Ok);
        assert_eq!(judge_websocket(&answer(403, &[], ""), PAGE).unwrap().verdict, Verdict::Problem);
        assert_eq!(judge_websocket(&answer(400, &[], ""), PAGE), None);
    }

    #[test]
    fn a_page_by_tls_needs_a_server_by_tls() {
        assert!(mixed(PAGE, "http://api.example.org").is_some());
        for (page, server) in [(PAGE, "https://a"), ("http://a", "http://b"), (PAGE, "http://localhost:1")] {
            assert_eq!(mixed(page, server), None, "{page} {server}");
        }
    }
}
