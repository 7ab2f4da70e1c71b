//! Checks whether a browser lets pages of an origin connect.
use reqwest::{
    Url,
    header::{ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_ORIGIN},
};

use super::{
    probe::{Answer, Ask, Probe, unanswered},
    report::Finding,
};
use crate::command::target::TargetError;

/// Reads the origin of a page from the page's address or the origin itself.
///
/// # Errors
/// If the text is neither.
pub(super) fn origin(text: &str) -> Result<String, TargetError> {
    let wrong = || TargetError::Origin(text.to_owned());
    let url = Url::parse(text).map_err(|_| wrong())?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong());
    }
    Ok(url.origin().ascii_serialization())
}

/// Sends the requests that a page of this origin sends.
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
        "Allow the origin at the server: in Sockeye with the setting `allowed_origins = [\"{origin}\"]`, in JavaScript with\n\
         `cors: {{ origin: \"{origin}\" }}`, in Python with `cors_allowed_origins=[\"{origin}\"]`. A proxy must pass on the\n\
         header Origin, and its own answers need the header Access-Control-Allow-Origin as well."
    )
}

/// A page that was loaded over TLS cannot connect to a server without TLS.
fn mixed(origin: &str, own: &str) -> Option<Finding> {
    let host = own.strip_prefix("http://")?;
    let is_local = ["localhost", "127.", "[::1]"].iter().any(|local| host.starts_with(local));
    (origin.starts_with("https://") && !is_local).then(|| {
        Finding::problem(
            ORIGIN,
            "the page has https://, but the server has http://: browsers block that (mixed content)",
            "Serve Socket.IO over TLS, and use https:// in the page.",
        )
    })
}

fn judge_polling(answer: &Answer, origin: &str, own: &str) -> Finding {
    if answer.status != 200 {
        let (status, said) = (answer.status, answer.excerpt());
        let what = format!("the server refuses polling from pages of {origin} (HTTP status {status}): {said}");
        return Finding::problem(ORIGIN, what, cure(origin));
    }
    if origin == own {
        return Finding::ok(ORIGIN, format!("pages of {origin}, the server's own origin, may connect"));
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
            format!(
                "the server answers, but browsers hide the answer from pages of {origin}: it allows {allowed} only"
            ),
            cure(origin),
        ),
        None => Finding::problem(
            ORIGIN,
            format!(
                "the server answers, but browsers hide the answer from pages of {origin}: it has no header \
                 Access-Control-Allow-Origin"
            ),
            cure(origin),
        ),
    }
}

/// Whether the server accepts or refuses the WebSocket; the check of WebSocket has reported other answers already.
fn judge_websocket(answer: &Answer, origin: &str) -> Option<Finding> {
    match answer.status {
        101 => Some(Finding::ok(ORIGIN, format!("pages of {origin} may open a WebSocket"))),
        403 => Some(Finding::problem(
            ORIGIN,
            format!("the server refuses a WebSocket from pages of {origin} (HTTP status 403): {}", answer.excerpt()),
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
    fn the_origin_of_an_address_is_found() {
        assert_eq!(origin("https://www.example.org/a?b").unwrap(), PAGE);
        assert_eq!(origin("http://localhost:5173").unwrap(), "http://localhost:5173");
        for wrong in ["www.example.org", "file:///x", ""] {
            assert!(origin(wrong).unwrap_err().to_string().contains("https://www.example.org"), "{wrong}");
        }
    }

    #[test]
    fn an_answer_that_browsers_hide_is_a_problem() {
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
    fn a_page_over_tls_needs_a_server_over_tls() {
        assert!(mixed(PAGE, "http://api.example.org").is_some());
        for (page, server) in [(PAGE, "https://a"), ("http://a", "http://b"), (PAGE, "http://localhost:1")] {
            assert_eq!(mixed(page, server), None, "{page} {server}");
        }
    }
}
