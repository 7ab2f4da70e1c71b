//! PostgreSQL: `LISTEN` and `NOTIFY`, and a table for what a notification cannot hold.
use std::{
    borrow::Cow,
    str::FromStr,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use hashbrown::HashSet;
use sockeye::{log_throttled, with_causes};
use sqlx::{
    AssertSqlSafe, ConnectOptions, Connection, Executor, Row,
    pool::PoolOptions,
    postgres::{PgConnectOptions, PgConnection, PgListener, PgNotification},
};
use tokio::time::timeout;

use super::{Link, Transport, TransportError, TransportFuture, hosts::one_url_for_each_host};
use crate::{
    format::{Publication, Received, Subscription},
    outbox::Taken,
};

/// A bus over PostgreSQL 9.6 or later. Each server takes two connections: one listens, one notifies.
#[derive(Debug, Clone)]
pub struct Postgres {
    servers: Vec<Server>,
    options: PostgresOptions,
}

/// What all servers of a cluster set alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PostgresOptions {
    /// The table of messages that are too long for a notification, or binary; `tableName` of Node's adapter. It is made if
    /// it is missing. Default `socket_io_attachments`. It may name a schema.
    pub attachment_table: String,
    /// How long attachments are kept, and how often old ones are deleted; `cleanupInterval` of Node's adapter. Default 30 s,
    /// at least 1 s.
    pub cleanup_interval: Duration,
}

#[derive(Debug, Clone)]
struct Server {
    /// Host and port, for errors.
    address: Arc<str>,
    options: PgConnectOptions,
}

/// How many publications leave in one transaction.
const BATCH: usize = 64;

impl Default for PostgresOptions {
    fn default() -> Self {
        Self { attachment_table: "socket_io_attachments".into(), cleanup_interval: Duration::from_secs(30) }
    }
}

impl Postgres {
    /// A bus at `postgres://[user[:password]@]host[:port][,host[:port]…][/database][?sslmode=…]`. Of several hosts, the
    /// first that can be reached and is no standby is used. What the address leaves out comes from `PGUSER`, `PGPASSWORD`,
    /// `PGSSLMODE` and the like, as for `psql`. Unless `sslmode` is `verify-full`, the server's identity is not checked.
    ///
    /// # Errors
    /// If the address or the table's name is not of the right form.
    pub fn new(url: &str, options: PostgresOptions) -> Result<Self, TransportError> {
        let table = &options.attachment_table;
        let is_name = |part: &str| {
            part.starts_with(|first: char| first.is_ascii_alphabetic() || first == '_')
                && part.chars().all(|char| char.is_ascii_alphanumeric() || char == '_')
        };
        if table.split('.').count() > 2 || !table.split('.').all(is_name) {
            return Err(TransportError::Address(
                "the name of the table has other characters than letters, digits, _ and one dot".into(),
            ));
        }
        let servers = one_url_for_each_host(url).map(|url| Server::parse(&url)).collect::<Result<_, _>>()?;
        Ok(Self { servers, options })
    }

    /// Connects to the first server that can be written to.
    async fn connect(&self) -> Result<(&Server, PgConnection), TransportError> {
        let mut result = Err(TransportError::Address("it names no host".into()));
        for server in &self.servers {
            match server.within(CONNECT, server.connect()).await {
                Ok(connection) => return Ok((server, connection)),
                Err(error) => result = Err(error),
            }
        }
        result
    }

    async fn carry(&self, link: &Link) -> Result<(), TransportError> {
        let (server, mut sending) = self.connect().await?;
        server.prepare_table(&mut sending, &self.options.attachment_table).await?;
        // The pool has the only connection that can tell notifications.
        let pool = PoolOptions::new()
            .max_connections(1)
            .max_lifetime(None)
            .idle_timeout(None)
            .acquire_timeout(CONNECT)
            .connect_lazy_with(server.options.clone());
        let mut listening = PgListener::connect_with(&pool).await.map_err(|error| server.error(error))?;
        listening.eager_reconnect(false);
        let channels: Vec<_> = link.subscriptions.all().into_iter().filter_map(channel).collect();
        let listened = listening.listen_all(channels.iter().map(String::as_str));
        server.answered(link, listened).await?;
        link.up.send_replace(true);
        tokio::select! {
            result = self.listen(server, &mut listening, link) => result,
            result = self.send(server, &mut sending, link) => result,
        }
    }

    /// Delivers what is notified, and keeps the channels as they are wanted.
    async fn listen(&self, server: &Server, listening: &mut PgListener, link: &Link) -> Result<(), TransportError> {
        loop {
            tokio::select! {
                notification = listening.try_recv() => match notification.map_err(|error| server.error(error))? {
                    Some(notification) => self.deliver(server, listening, link, &notification).await?,
                    None => return Err(server.ended()),
                },
                changes = link.subscriptions.changes() => {
                    for change in changes {
                        let Some(channel) = channel(change.subscription) else { continue };
                        if change.wanted {
                            server.answered(link, listening.listen(&channel)).await?;
                        } else {
                            server.answered(link, listening.unlisten(&channel)).await?;
                        }
                    }
                }
                () = tokio::time::sleep(link.keep_alive) => {
                    server.answered(link, listening.execute("SELECT 1")).await?;
                }
            }
        }
    }

    async fn deliver(
        &self,
        server: &Server,
        listening: &mut PgListener,
        link: &Link,
        notification: &PgNotification,
    ) -> Result<(), TransportError> {
        let channel = notification.channel();
        let received = Received::Published { channel, payload: notification.payload().as_bytes() };
        let Some(number) = (link.deliver)(&received) else { return Ok(()) };
        // What is notified meanwhile is kept and comes next, in its order.
        let sql = format!("SELECT payload FROM {} WHERE id = $1", self.options.attachment_table);
        let query = sqlx::query(AssertSqlSafe(sql)).bind(i64::try_from(number).unwrap_or(i64::MAX));
        let row = server.answered(link, query.fetch_optional(&mut *listening)).await?;
        match row.map(|row| row.try_get::<Option<Vec<u8>>, _>(0)) {
            Some(Ok(Some(payload))) => {
                // An attachment refers to no other.
                let _none = (link.deliver)(&Received::Published { channel, payload: &payload });
            }
            Some(Err(error)) => return Err(server.error(error)),
            Some(Ok(None)) | None => {
                let address = &*server.address;
                log_throttled!(warn, address, address, "an announced message was deleted before it could be read");
            }
        }
        Ok(())
    }

    /// Publishes what waits, and deletes old attachments.
    async fn send(&self, server: &Server, sending: &mut PgConnection, link: &Link) -> Result<(), TransportError> {
        let mut cleaned = Instant::now();
        loop {
            let left = self.options.cleanup_interval.max(Duration::from_secs(1)).saturating_sub(cleaned.elapsed());
            tokio::select! {
                taken = link.outbox.take(BATCH) => self.publish(server, sending, link, taken).await?,
                () = tokio::time::sleep(left) => {
                    self.clean_up(server, sending, link).await?;
                    cleaned = Instant::now();
                }
            }
        }
    }

    /// Publishes in order. What PostgreSQL refuses is dropped and logged; if the connection breaks, what may have left is not
    /// published again.
    async fn publish(
        &self,
        server: &Server,
        sending: &mut PgConnection,
        link: &Link,
        mut taken: Vec<Taken>,
    ) -> Result<(), TransportError> {
        // Until here each is published alone, because PostgreSQL has refused something in a transaction of several.
        let mut alone = 0;
        while !taken.is_empty() {
            let count = if alone > 0 { 1 } else { transaction(&taken) };
            let rest = taken.split_off(count);
            let result = server.within(link.keep_alive, self.publish_together(server, sending, &taken)).await;
            if matches!(result, Err(TransportError::Refused { .. })) && count > 1 {
                alone = count;
                taken.extend(rest);
                continue;
            }
            alone = alone.saturating_sub(1);
            link.outbox.sent(taken);
            taken = rest;
            match result {
                Ok(()) => {}
                Err(TransportError::Refused { address, reason }) => {
                    log_throttled!(warn, &*address, address, reason, "a message was refused and dropped");
                }
                Err(error) => {
                    link.outbox.put_back(taken);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    async fn publish_together(
        &self,
        server: &Server,
        sending: &mut PgConnection,
        taken: &[Taken],
    ) -> Result<(), TransportError> {
        let (mut channels, mut payloads) = (Vec::new(), Vec::new());
        for taken in taken {
            match taken.publication() {
                Publication::Publish { channel, payload } => {
                    channels.push(channel.as_str());
                    payloads.push(text(payload));
                }
                Publication::Attach { channel, payload, announcement: (before, after) } => {
                    let sql = format!(
                        "WITH stored AS (INSERT INTO {} (payload) VALUES ($1) RETURNING id) \
                         SELECT pg_notify($2, $3 || id || $4) FROM stored",
                        self.options.attachment_table
                    );
                    let query =
                        sqlx::query(AssertSqlSafe(sql)).bind(&payload[..]).bind(channel).bind(before).bind(after);
                    query.execute(&mut *sending).await.map_err(|error| server.statement_error(error))?;
                }
                Publication::Append { .. } => return Err(server.refused("PostgreSQL has no streams".into())),
            }
        }
        if !channels.is_empty() {
            let sql = "SELECT pg_notify(channel, payload) \
                 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS waiting (channel, payload, number) ORDER BY number";
            let query = sqlx::query(sql).bind(channels).bind(payloads);
            query.execute(&mut *sending).await.map_err(|error| server.statement_error(error))?;
        }
        Ok(())
    }

    async fn clean_up(&self, server: &Server, sending: &mut PgConnection, link: &Link) -> Result<(), TransportError> {
        let sql = format!(
            "DELETE FROM {} WHERE created_at < now() - make_interval(secs => $1)",
            self.options.attachment_table
        );
        let query = sqlx::query(AssertSqlSafe(sql)).bind(self.options.cleanup_interval.as_secs_f64());
        let deleted = async { query.execute(&mut *sending).await.map_err(|error| server.statement_error(error)) };
        match server.within(link.keep_alive.max(CONNECT), deleted).await {
            Err(TransportError::Refused { address, reason }) => {
                log_throttled!(warn, &*address, address, reason, "old attachments cannot be deleted");
                Ok(())
            }
            result => result.map(drop),
        }
    }
}

impl Transport for Postgres {
    fn run(&self, link: Arc<Link>) -> TransportFuture<()> {
        let this = self.clone();
        Box::pin(async move { this.carry(&link).await })
    }

    /// PostgreSQL does not tell who listens.
    fn listeners(&self, _: &str) -> TransportFuture<Option<usize>> {
        Box::pin(std::future::ready(Ok(None)))
    }
}

/// How long connecting may take.
const CONNECT: Duration = Duration::from_secs(5);

impl Server {
    fn parse(url: &str) -> Result<Self, TransportError> {
        // The text of the library's error may quote the address, and with it the password.
        let options = PgConnectOptions::from_str(url)
            .map_err(|_| TransportError::Address("write postgres://user:password@host:port/database".into()))?
            .application_name("sockeye")
            .disable_statement_logging();
        let address = format!("{}:{}", options.get_host(), options.get_port()).into();
        Ok(Self { address, options })
    }

    async fn connect(&self) -> Result<PgConnection, TransportError> {
        let mut connection = PgConnection::connect_with(&self.options).await.map_err(|error| self.error(error))?;
        let row = connection.fetch_one("SELECT pg_is_in_recovery()").await.map_err(|error| self.error(error))?;
        match row.try_get(0).map_err(|error| self.error(error))? {
            true => Err(self.refused("it is a standby, which can neither notify nor listen".into())),
            false => Ok(connection),
        }
    }

    /// Makes the table if it is missing.
    async fn prepare_table(&self, connection: &mut PgConnection, table: &str) -> Result<(), TransportError> {
        if self.has_table(connection, table).await? {
            return Ok(());
        }
        let sql = format!(
            "CREATE TABLE IF NOT EXISTS {table} \
             (id bigserial UNIQUE, created_at timestamptz DEFAULT now(), payload bytea)"
        );
        match connection.execute(AssertSqlSafe(sql)).await {
            Ok(_) => Ok(()),
            // Another server may have made it at the same time.
            Err(_) if self.has_table(connection, table).await? => Ok(()),
            Err(error) => Err(self.refused(format!("it has no table {table}, and it cannot be made ({error})"))),
        }
    }

    async fn has_table(&self, connection: &mut PgConnection, table: &str) -> Result<bool, TransportError> {
        let row = sqlx::query("SELECT to_regclass($1) IS NOT NULL").bind(table).fetch_one(connection).await;
        row.and_then(|row| row.try_get(0)).map_err(|error| self.error(error))
    }

    async fn within<T>(
        &self,
        limit: Duration,
        work: impl Future<Output = Result<T, TransportError>>,
    ) -> Result<T, TransportError> {
        match timeout(limit, work).await {
            Ok(result) => result,
            Err(_) => Err(TransportError::Silent { address: self.address.to_string(), silence: limit }),
        }
    }

    /// Waits for the answer to a statement of the listening connection.
    async fn answered<T>(
        &self,
        link: &Link,
        answer: impl Future<Output = Result<T, sqlx::Error>>,
    ) -> Result<T, TransportError> {
        self.within(link.keep_alive, async { answer.await.map_err(|error| self.error(error)) }).await
    }

    fn ended(&self) -> TransportError {
        let source = std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into();
        TransportError::Connection { address: self.address.to_string(), source }
    }

    fn refused(&self, reason: String) -> TransportError {
        TransportError::Refused { address: self.address.to_string(), reason }
    }

    /// Of connecting: what trying again does not change is said in words.
    fn error(&self, error: sqlx::Error) -> TransportError {
        let code = error.as_database_error().and_then(|error| error.code());
        match code.as_deref() {
            Some("28P01" | "28000") => self.refused(format!("check user, password and pg_hba.conf ({error})")),
            Some("3D000" | "42501") => self.refused(error.to_string()),
            _ => TransportError::Connection { address: self.address.to_string(), source: error.into() },
        }
    }

    /// Of a statement that publishes: whatever PostgreSQL says about it, the connection goes on.
    fn statement_error(&self, error: sqlx::Error) -> TransportError {
        match error.as_database_error().and_then(|error| error.code()) {
            // 57P01 and its like announce that the server shuts down.
            Some(code) if !code.starts_with("57P") => self.refused(with_causes(&error)),
            _ => self.error(error),
        }
    }
}

fn channel(subscription: Subscription) -> Option<String> {
    match subscription {
        Subscription::Channel(channel) => Some(channel),
        Subscription::Pattern(_) | Subscription::Stream(_) => None,
    }
}

/// How many publications, from the first on, leave in one transaction: an attachment alone, and otherwise until one comes
/// again. Of equal notifications in one transaction PostgreSQL delivers only one.
fn transaction(taken: &[Taken]) -> usize {
    let mut seen: HashSet<(&str, &Bytes)> = HashSet::new();
    let count = taken.iter().take_while(|taken| match taken.publication() {
        Publication::Publish { channel, payload } => seen.insert((channel, payload)),
        _ => false,
    });
    count.count().max(1)
}

/// Notifications are text. A format for this bus publishes nothing else.
fn text(payload: &Bytes) -> Cow<'_, str> {
    String::from_utf8_lossy(payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(url: &str) -> Vec<String> {
        let bus = Postgres::new(url, PostgresOptions::default()).unwrap();
        bus.servers.iter().map(|server| server.address.to_string()).collect()
    }

    #[test]
    fn an_address_may_name_several_hosts() {
        assert_eq!(addresses("postgres://u:p@a/db"), ["a:5432"]);
        assert_eq!(addresses("postgres://u:p@a:1,b,[::1]:3/db?sslmode=require"), ["a:1", "b:5432", "[::1]:3"]);
        assert_eq!(addresses("postgresql://localhost"), ["localhost:5432"]);
    }

    #[test]
    fn a_wrong_address_or_table_is_refused_without_the_password() {
        for url in ["", "redis", "postgres://u:secret@a:port/db", "postgres://u:secret@a?sslmode=x"] {
            let error = Postgres::new(url, PostgresOptions::default()).unwrap_err().to_string();
            assert!(error.starts_with("not an address") && !error.contains("secret"), "{url}: {error}");
        }
        for (table, is_valid) in
            [("a_1", true), ("s.t", true), ("a.b.c", false), ("a;b", false), ("", false), ("1", false)]
        {
            let options = PostgresOptions { attachment_table: table.into(), ..PostgresOptions::default() };
            assert_eq!(Postgres::new("postgres://a", options).is_ok(), is_valid, "{table}");
        }
    }
}
