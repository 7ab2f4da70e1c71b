//! Publishes what waits in the outbox.
use std::{collections::VecDeque, future::poll_fn, sync::Arc, task::Poll};

use futures_util::{
    StreamExt,
    future::{BoxFuture, FutureExt, maybe_done},
    stream::FuturesOrdered,
};
use hashbrown::HashSet;
use lapin::{
    BasicProperties, Channel, Confirmation, Connection,
    options::{BasicPublishOptions, ConfirmSelectOptions},
    types::FieldTable,
};

use super::{declare, failure::Failures, options::ExchangeOptions};
use crate::{
    format::Publication,
    outbox::Taken,
    transport::{Link, TransportError},
};

/// How many publications wait for the broker's confirmation at most.
const MAX_IN_FLIGHT: usize = 256;

/// The publishing side of a connection.
pub(super) struct Publisher<'a> {
    connection: &'a Connection,
    channel: Channel,
    options: &'a ExchangeOptions,
    failures: &'a Failures,
    in_flight: InFlight,
    confirmations: FuturesOrdered<BoxFuture<'static, lapin::Result<Confirmation>>>,
    declared: HashSet<String>,
}

/// The publications that the broker has not confirmed. What is left goes back to the outbox.
struct InFlight {
    link: Arc<Link>,
    taken: VecDeque<Taken>,
}

impl<'a> Publisher<'a> {
    pub(super) async fn new(
        connection: &'a Connection,
        options: &'a ExchangeOptions,
        failures: &'a Failures,
        link: Arc<Link>,
    ) -> Result<Self, TransportError> {
        let channel = declare::new_channel(connection, failures).await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await.map_err(|error| failures.of(error))?;
        let in_flight = InFlight { link, taken: VecDeque::new() };
        Ok(Self {
            connection,
            channel,
            options,
            failures,
            in_flight,
            confirmations: FuturesOrdered::new(),
            declared: HashSet::new(),
        })
    }

    /// Publishes until the connection breaks.
    pub(super) async fn run(mut self) -> Result<(), TransportError> {
        let link = self.in_flight.link.clone();
        loop {
            let room = MAX_IN_FLIGHT - self.confirmations.len();
            tokio::select! {
                Some(confirmation) = self.confirmations.next() => self.confirmed(confirmation)?,
                taken = link.outbox.take(room), if room > 0 => {
                    let first = self.in_flight.taken.len();
                    self.in_flight.taken.extend(taken);
                    for index in first..self.in_flight.taken.len() {
                        self.publish(index).await?;
                    }
                }
            }
        }
    }

    /// Takes the confirmation of the oldest publication.
    fn confirmed(&mut self, confirmation: lapin::Result<Confirmation>) -> Result<(), TransportError> {
        match confirmation.map_err(|error| self.failures.of_declaring(error, "publishing"))? {
            Confirmation::Ack(_) | Confirmation::NotRequested => {
                let link = &self.in_flight.link;
                link.outbox.sent(self.in_flight.taken.pop_front().into_iter().collect());
                Ok(())
            }
            Confirmation::Nack(_) => Err(self.failures.refused("it could not take a message".into())),
        }
    }

    async fn publish(&mut self, index: usize) -> Result<(), TransportError> {
        let Some(taken) = self.in_flight.taken.get(index) else { return Ok(()) };
        let Publication::Publish { channel: exchange, payload } = taken.publication() else {
            return Err(self.failures.refused("RabbitMQ has no streams and no attachments for this format".into()));
        };
        if !self.declared.contains(exchange) {
            declare::exchange(self.connection, exchange, self.options, self.failures).await?;
            self.declared.insert(exchange.clone());
        }
        let (channel, exchange, payload) = (self.channel.clone(), self.failures.short(exchange)?, payload.clone());
        let mut confirmation = Box::pin(maybe_done(async move {
            let options = BasicPublishOptions::default();
            channel.basic_publish(exchange, "".into(), options, &payload, properties()).await?.await
        }));
        // It is polled here, so that messages are written in their order.
        poll_fn(|cx| Poll::Ready(confirmation.poll_unpin(cx))).await.is_ready();
        self.confirmations.push_back(Box::pin(async move {
            confirmation.as_mut().await;
            match confirmation.as_mut().take_output() {
                Some(result) => result,
                None => Err(lapin::ErrorKind::FutureCompleted.into()),
            }
        }));
        Ok(())
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.link.outbox.put_back(self.taken.drain(..).collect());
    }
}

/// The properties that Kombu gives messages.
fn properties() -> BasicProperties {
    BasicProperties::default()
        .with_content_type("text/plain".into())
        .with_content_encoding("utf-8".into())
        .with_headers(FieldTable::default())
        .with_delivery_mode(2)
        .with_priority(0)
}
