//! Declares exchange and queue.
use std::fmt::Write;

use lapin::{
    Channel, Connection, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable, ShortString},
};
use sockeye::log_throttled;

use super::{
    failure::{Failures, is_declared_otherwise},
    options::{Argument, ExchangeOptions, QueueOptions},
};
use crate::transport::TransportError;

/// Declares an exchange exactly as Kombu and aio-pika do, unless the options say otherwise. If it exists otherwise, it is
/// taken as it is, and what to set is logged.
pub(super) async fn exchange(
    connection: &Connection,
    name: &str,
    options: &ExchangeOptions,
    failures: &Failures,
) -> Result<(), TransportError> {
    let short = failures.short(name)?;
    let what = format!("the exchange `{name}`");
    let kind = match &*options.kind {
        "fanout" => ExchangeKind::Fanout,
        "direct" => ExchangeKind::Direct,
        "topic" => ExchangeKind::Topic,
        "headers" => ExchangeKind::Headers,
        other => ExchangeKind::Custom(other.to_owned()),
    };
    let declared = ExchangeDeclareOptions {
        durable: options.durable,
        auto_delete: options.auto_delete,
        ..ExchangeDeclareOptions::default()
    };
    let arguments = table(&options.arguments, failures)?;
    // A channel of its own, because a refusal closes it.
    let channel = new_channel(connection, failures).await?;
    let Err(error) = channel.exchange_declare(short.clone(), kind.clone(), declared, arguments).await else {
        return close(&channel, failures).await;
    };
    let Some(reason) = is_declared_otherwise(&error) else { return Err(failures.of_declaring(error, &what)) };
    let mut advice = String::new();
    if let Some(Difference { argument, current }) = Difference::parse(&reason) {
        // Writing to a string cannot fail.
        let _ok = write!(advice, "; set the exchange's option `{argument}` to {current}, here and on all servers");
    }
    log_throttled!(
        warn,
        name,
        exchange = name,
        reason,
        "an exchange exists, but is declared otherwise, and is used as it is{advice}"
    );
    let channel = new_channel(connection, failures).await?;
    let passive = ExchangeDeclareOptions { passive: true, ..ExchangeDeclareOptions::default() };
    channel
        .exchange_declare(short, kind, passive, FieldTable::default())
        .await
        .map_err(|error| failures.of_declaring(error, &what))?;
    close(&channel, failures).await
}

/// Declares this server's queue on the channel that consumes from it, and returns its name.
pub(super) async fn queue(
    channel: &Channel,
    options: &QueueOptions,
    failures: &Failures,
) -> Result<ShortString, TransportError> {
    let is_durable = options.durable.is_some();
    let name = options.durable.as_deref().unwrap_or_default();
    let declared = QueueDeclareOptions {
        durable: is_durable,
        exclusive: !is_durable,
        auto_delete: !is_durable,
        ..QueueDeclareOptions::default()
    };
    let arguments = table(&options.arguments, failures)?;
    let declared = channel.queue_declare(failures.short(name)?, declared, arguments).await;
    match declared {
        Ok(queue) => Ok(queue.name().clone()),
        Err(error) => match is_declared_otherwise(&error) {
            Some(reason) => Err(failures.refused(format!(
                "the queue `{name}` exists, but is declared otherwise ({reason}): set the queue's options as it is, or \
                 delete it by `rabbitmqctl delete_queue {name}`"
            ))),
            None => Err(failures.of_declaring(error, &format!("the queue `{name}`"))),
        },
    }
}

pub(super) async fn new_channel(connection: &Connection, failures: &Failures) -> Result<Channel, TransportError> {
    connection.create_channel().await.map_err(|error| failures.of(error))
}

async fn close(channel: &Channel, failures: &Failures) -> Result<(), TransportError> {
    channel.close(200, "OK".into()).await.map_err(|error| failures.of(error))
}

/// What differs, as RabbitMQ says it: `inequivalent arg 'durable' for exchange …: received 'false' but current is 'true'`.
#[derive(Debug, PartialEq, Eq)]
struct Difference<'a> {
    argument: &'a str,
    current: &'a str,
}

impl<'a> Difference<'a> {
    fn parse(reason: &'a str) -> Option<Self> {
        let quoted = |text: &'a str, after: &str| text.split_once(after)?.1.strip_prefix('\'')?.split('\'').next();
        Some(Self { argument: quoted(reason, "inequivalent arg ")?, current: quoted(reason, "but current is ")? })
    }
}

fn table(arguments: &[(String, Argument)], failures: &Failures) -> Result<FieldTable, TransportError> {
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        let value = match value {
            Argument::Boolean(value) => AMQPValue::Boolean(*value),
            Argument::Number(value) => AMQPValue::LongLongInt(*value),
            Argument::Text(value) => AMQPValue::LongString(value.as_str().into()),
        };
        table.insert(failures.short(name)?, value);
    }
    Ok(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_is_read_from_the_words_of_the_broker() {
        let reason = "PRECONDITION_FAILED - inequivalent arg 'durable' for exchange 'socketio' in vhost '/': received \
                      'false' but current is 'true'";
        assert_eq!(Difference::parse(reason), Some(Difference { argument: "durable", current: "true" }));
        assert_eq!(Difference::parse("PRECONDITION_FAILED - something else"), None);
    }
}
