//! A namespace as the recipient of what other servers send.
use std::time::Duration;

use sockeye_protocol::socketio::ArgsBuf;
use tokio::sync::mpsc;

use crate::{
    BroadcastAcks, EmitError,
    adapter::{ClientAcks, Recipient, Target},
    handles::namespace::WeakNamespace,
};

impl Recipient for WeakNamespace {
    fn receive(&self, event: &str, args: &ArgsBuf, target: &Target) -> Result<(), EmitError> {
        let Some(namespace) = self.upgrade() else { return Ok(()) };
        namespace.publish(event, args, target, false, |packet| namespace.local().broadcast(packet, target))
    }

    fn receive_with_ack(
        &self,
        event: &str,
        args: &ArgsBuf,
        target: &Target,
        timeout: Duration,
    ) -> Result<ClientAcks, EmitError> {
        let Some(namespace) = self.upgrade() else { return Ok(ClientAcks::none()) };
        let id = namespace.next_ack_id();
        let (sender, answers) = mpsc::unbounded_channel();
        let mut acks = BroadcastAcks::<()>::new(id, answers, timeout);
        acks.expect(namespace.ask(event, id, args, target, &sender)?);
        Ok(ClientAcks { count: acks.outstanding(), answers: Box::pin(acks.raw_answers()) })
    }

    fn max_rooms(&self) -> Option<usize> {
        Some(self.upgrade()?.config().max_rooms)
    }
}
