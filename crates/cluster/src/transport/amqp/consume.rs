//! Consumes what the exchanges bring to this server's queue.
use std::sync::Arc;

use futures_util::{FutureExt, StreamExt};
use lapin::{
    Channel, Connection, Consumer,
    message::Delivery,
    options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions},
    types::{FieldTable, ShortString},
};

use super::{declare, failure::Failures, options::RabbitMqOptions};
use crate::{
    format::{Received, Subscription},
    subscriptions::Change,
    transport::{Link, TransportError},
};

/// How many messages the broker sends ahead of their acknowledgement.
const PREFETCH: u16 = 256;

/// After how many messages they are acknowledged, if more keep coming.
const ACKNOWLEDGED_AFTER: usize = 64;

/// The consuming side of a connection.
pub(super) struct Receiver<'a> {
    connection: &'a Connection,
    settings: &'a RabbitMqOptions,
    failures: &'a Failures,
    link: Arc<Link>,
    queue: Option<Queue>,
}

/// This server's queue, which it has as soon as it subscribes something.
struct Queue {
    channel: Channel,
    name: ShortString,
    consumer: Consumer,
}

impl<'a> Receiver<'a> {
    /// Subscribes what is wanted.
    pub(super) async fn new(
        connection: &'a Connection,
        settings: &'a RabbitMqOptions,
        failures: &'a Failures,
        link: Arc<Link>,
    ) -> Result<Self, TransportError> {
        let mut receiver = Self { connection, settings, failures, link, queue: None };
        for subscription in receiver.link.subscriptions.all() {
            receiver.change(Change { subscription, wanted: true }).await?;
        }
        Ok(receiver)
    }

    /// Delivers what arrives, until the connection breaks.
    pub(super) async fn run(mut self) -> Result<(), TransportError> {
        loop {
            let link = self.link.clone();
            let consumer = self.queue.as_mut().map(|queue| &mut queue.consumer);
            tokio::select! {
                changes = link.subscriptions.changes() => {
                    for change in changes {
                        self.change(change).await?;
                    }
                }
                delivery = next(consumer) => self.deliver(delivery).await?,
            }
        }
    }

    /// Delivers a message and those that have arrived with it, and acknowledges them.
    async fn deliver(&mut self, first: Option<lapin::Result<Delivery>>) -> Result<(), TransportError> {
        let Some(queue) = &mut self.queue else { return Ok(()) };
        let mut delivery = first;
        let mut delivered = 0;
        let acker = loop {
            let Some(received) = delivery else {
                return Err(self.failures.refused("it has ended the subscription: was the queue deleted?".into()));
            };
            let received = received.map_err(|error| self.failures.of_declaring(error, "consuming"))?;
            let (channel, payload) = (received.exchange.as_str(), &*received.data);
            (self.link.deliver)(&Received::Published { channel, payload });
            delivered += 1;
            // Nothing more is taken than is delivered.
            let more = if delivered < ACKNOWLEDGED_AFTER { queue.consumer.next().now_or_never() } else { None };
            match more {
                Some(more) => delivery = more,
                None => break received.acker,
            }
        };
        acker.ack(BasicAckOptions { multiple: true }).await.map_err(|error| self.failures.of(error))?;
        Ok(())
    }

    async fn change(&mut self, Change { subscription, wanted }: Change) -> Result<(), TransportError> {
        let Subscription::Channel(exchange) = subscription else {
            return Err(self.failures.refused("RabbitMQ has no patterns and no streams for this format".into()));
        };
        let what = format!("binding to the exchange `{exchange}`");
        let name = self.failures.short(&exchange)?;
        if wanted {
            declare::exchange(self.connection, &exchange, &self.settings.exchange, self.failures).await?;
        }
        let queue = match &mut self.queue {
            Some(queue) => queue,
            None => self.queue.insert(open(self.connection, self.settings, self.failures).await?),
        };
        let (channel, queue, key) = (&queue.channel, queue.name.clone(), ShortString::default());
        let changed = match wanted {
            true => channel.queue_bind(queue, name, key, QueueBindOptions::default(), FieldTable::default()).await,
            false => channel.queue_unbind(queue, name, key, FieldTable::default()).await,
        };
        changed.map_err(|error| self.failures.of_declaring(error, &what))
    }
}

async fn open(
    connection: &Connection,
    settings: &RabbitMqOptions,
    failures: &Failures,
) -> Result<Queue, TransportError> {
    let channel = declare::new_channel(connection, failures).await?;
    channel.basic_qos(PREFETCH, BasicQosOptions::default()).await.map_err(|error| failures.of(error))?;
    let name = declare::queue(&channel, &settings.queue, failures).await?;
    // Two servers on one queue would share the messages.
    let options = BasicConsumeOptions { exclusive: true, ..BasicConsumeOptions::default() };
    let consumer = channel
        .basic_consume(name.clone(), ShortString::default(), options, FieldTable::default())
        .await
        .map_err(|error| failures.of_declaring(error, &format!("consuming from the queue `{name}`")))?;
    Ok(Queue { channel, name, consumer })
}

/// The next message; none if the broker has ended the subscription. Without a queue there is none, ever.
async fn next(consumer: Option<&mut Consumer>) -> Option<lapin::Result<Delivery>> {
    match consumer {
        Some(consumer) => consumer.next().await,
        None => std::future::pending().await,
    }
}
