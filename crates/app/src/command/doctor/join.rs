//! Checks a whole client, by the client library: connect, join the namespace, upgrade to WebSocket.
use std::time::Instant;

use sockeye_client::{ConnectError, ConnectErrorKind, ManagerEvent, ManagerEvents, Reconnection, Transport};
use tokio::time::timeout;

use super::{handshake::Polling, report::Finding};
use crate::command::{
    advice::{self, Advice},
    outcome::CommandError,
    target::{Target, TargetOptions, TransportName},
};

/// Connects as `sockeye connect` does.
///
/// # Errors
/// If an option is not valid.
pub(super) async fn examine(
    options: &TargetOptions,
    target: &Target,
    polling: &Polling,
) -> Result<Vec<Finding>, CommandError> {
    let mut builder = options.builder(target)?.reconnection(Reconnection::off());
    if *polling == Polling::Off {
        builder = builder.transports(Transport::WebSocket);
    }
    let manager = builder.build()?;
    let events = manager.events();
    let socket = manager.socket(&target.namespace);
    let begun = Instant::now();
    let mut findings = Vec::new();
    match socket.connect().await {
        Ok(()) => {
            let took = begun.elapsed().as_secs_f64() * 1000.0;
            let id = socket.id();
            let id = id.as_deref().unwrap_or("a client without an id");
            findings.push(Finding::ok(
                NAMESPACE,
                format!("the client joined {} as {id} within {took:.1} ms", target.namespace),
            ));
            let moves_on = matches!(polling, Polling::Open(session) if session.offers_websocket);
            if moves_on && matches!(*options.transport, [] | [TransportName::Polling, TransportName::Websocket]) {
                let outcome = timeout(options.timeout * 2, upgrade(events)).await;
                findings.push(outcome.unwrap_or_else(|_| judge_upgrade(Outcome::Nothing)));
            }
        }
        Err(error) => findings.push(judge(&error)),
    }
    manager.disconnect().await;
    Ok(findings)
}

const NAMESPACE: &str = "namespace";

/// The outcome of the upgrade to WebSocket.
enum Outcome {
    Upgraded,
    Failed,
    Closed(String),
    Nothing,
}

async fn upgrade(mut events: ManagerEvents) -> Finding {
    while let Some(event) = events.next().await {
        match event {
            ManagerEvent::Upgraded => return judge_upgrade(Outcome::Upgraded),
            ManagerEvent::UpgradeFailed => return judge_upgrade(Outcome::Failed),
            ManagerEvent::Closed { reason, .. } => return judge_upgrade(Outcome::Closed(reason.to_string())),
            _ => {}
        }
    }
    judge_upgrade(Outcome::Nothing)
}

fn judge_upgrade(outcome: Outcome) -> Finding {
    const UPGRADE: &str = "upgrade";
    let what = match outcome {
        Outcome::Upgraded => return Finding::ok(UPGRADE, "the connection was upgraded from polling to WebSocket"),
        Outcome::Failed => "the upgrade from polling to WebSocket failed; the connection stays with polling".into(),
        Outcome::Closed(reason) => format!("the connection ended ({reason}) during the upgrade to WebSocket"),
        Outcome::Nothing => "the upgrade from polling to WebSocket did not finish in time".into(),
    };
    Finding::problem(
        UPGRADE,
        what,
        "If the checks of websocket and sessions above are ok, a proxy or load balancer sends the WebSocket to another\n\
         server than the polling requests: make sessions sticky, or let clients start with WebSocket\n\
         (--transport websocket).",
    )
}

fn judge(error: &ConnectError) -> Finding {
    match error.kind() {
        ConnectErrorKind::Refused(refusal) => {
            let cure = if refusal.message == "Invalid namespace" {
                "The server has no namespace of this name. It is the path of the address, or --namespace; the default is /."
            } else {
                "These are the server's own words. If it asks who you are, use --auth or --header."
            };
            let data = refusal.data::<serde_json::Value>().map(|data| format!(" ({data})")).unwrap_or_default();
            let what = format!("the server refuses {}: {}{data}", refusal.namespace, refusal.message);
            Finding::problem(NAMESPACE, what, cure)
        }
        ConnectErrorKind::NamespaceTimedOut { namespace, timeout } => Finding::problem(
            NAMESPACE,
            format!("the server does not answer the request to join {namespace} within {timeout:?}"),
            "A middleware or connect handler of the server does not finish, or the server uses another parser (--parser).",
        ),
        ConnectErrorKind::Lost { namespace, reason } => Finding::problem(
            NAMESPACE,
            format!("the server ends the connection ({reason}) instead of answering the request to join {namespace}"),
            "It may use another parser (--parser), or close the connection where it should refuse; its log may say more.",
        ),
        _ => {
            let Advice { problem, cure } = advice::connecting(error);
            Finding::problem("connect", problem, cure)
        }
    }
}
