use std::sync::Arc;

use sockeye_engine::{Revision, Session};

use crate::{
    ConnectRefusal,
    handles::common::Common,
    wire::packet::{log_encoding, send, with_encoded},
};

/// Sends a client a refusal in the form of its protocol revision.
pub(crate) fn refuse(common: &Common, session: &Arc<Session>, namespace: &str, refusal: &ConnectRefusal) {
    common.counters.connects_refused.add();
    let parser = &common.config.parser;
    let sent = with_encoded(
        |buffer| match session.revision() {
            Revision::V4 => parser.connect_error(buffer, Revision::V4, namespace, refusal),
            Revision::V3 => parser.connect_error(buffer, Revision::V3, namespace, &refusal.for_socket_io_2()),
        },
        |buffer, wire| send(session, buffer, wire),
    );
    // A closed session needs no answer.
    log_encoding(sent.map(drop));
}
