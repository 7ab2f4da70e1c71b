//! The adapter of one namespace: it does the part of this server, then publishes.
use std::{sync::Arc, time::Duration};

use hashbrown::HashSet;
use sockeye::{
    Adapter, ArgsBuf,
    adapter::{
        AdapterError, AdapterFuture, Delivery, EncodedPacket, Local, RemoteAck, RemoteAcks, RemoteSocketData,
        RoomNames, Target,
    },
};
use tokio::time::Instant;

use crate::{
    message::{Answer, Body, Broadcast, Question},
    node::{Node, Side},
    requests::Answers,
};

/// The adapter of one namespace of a server that is joined to others.
pub(crate) struct ClusterAdapter {
    node: Arc<Node>,
    side: Arc<Side>,
}

impl ClusterAdapter {
    pub(crate) fn new(node: Arc<Node>, delivery: Delivery) -> Self {
        let side = node.add_namespace(delivery);
        let (weak, local, namespace) =
            (Arc::downgrade(&node), Arc::downgrade(side.delivery.local()), side.namespace.clone());
        side.delivery.local().watch_rooms(Arc::new(move |room| {
            let (Some(node), Some(local)) = (weak.upgrade(), local.upgrade()) else { return };
            for bus in &node.buses {
                bus.room_changed(&namespace, room, || local.room_len(room) > 0);
            }
        }));
        Self { node, side }
    }

    /// Publishes what reaches sockets of other servers, unless it is to stay on this one.
    fn publish(&self, target: &Target, body: impl FnOnce(Target) -> Body) {
        if !target.local {
            self.node.publish(&self.side.namespace, body(target.clone()));
        }
    }

    /// Asks the other servers, unless the target is to stay on this one.
    fn ask(&self, target: &Target, question: Question) -> Option<Answers> {
        (!target.local).then(|| self.node.ask(&self.side.namespace, question))
    }

    /// Adds to `known` what the other servers answer.
    fn gather<T: Send + 'static>(
        &self,
        answers: Option<Answers>,
        timeout: Duration,
        mut known: T,
        add: impl Fn(&mut T, Answer) + Send + 'static,
    ) -> AdapterFuture<T> {
        Box::pin(async move {
            let Some(mut answers) = answers else { return Ok(known) };
            let deadline = deadline(timeout);
            while let Some(answer) = before(deadline, &mut answers).await? {
                add(&mut known, answer);
            }
            Ok(known)
        })
    }
}

impl Adapter for ClusterAdapter {
    fn local(&self) -> &Arc<Local> {
        self.side.delivery.local()
    }

    fn wants_arguments(&self) -> bool {
        !self.node.buses.is_empty()
    }

    fn broadcast(&self, packet: &EncodedPacket, target: &Target) {
        self.local().broadcast(packet, target);
        if let Some(args) = packet.args() {
            let (event, args) = (Arc::from(packet.name()), args.clone());
            self.publish(target, |target| Body::Broadcast(Broadcast { event, args, target, acks: None }));
        }
    }

    fn broadcast_with_ack(
        &self,
        event: &str,
        args: &ArgsBuf,
        target: &Target,
        timeout: Duration,
    ) -> Option<RemoteAcks> {
        if target.local {
            return None;
        }
        let broadcast = Broadcast { event: event.into(), args: args.clone(), target: target.clone(), acks: None };
        let answers = self.node.ask_clients(&self.side.namespace, broadcast, timeout);
        let (sender, acks) = RemoteAcks::channel();
        self.node.runtime.spawn(async move {
            let mut answers = answers;
            let deadline = deadline(timeout);
            loop {
                let ack = match before(deadline, &mut answers).await {
                    Ok(Some(Answer::AckCount(count))) => RemoteAck::Asked(usize::try_from(count).unwrap_or(usize::MAX)),
                    Ok(Some(Answer::Ack(args))) => RemoteAck::Answer(args),
                    Ok(Some(Answer::UncountedAck(args))) => {
                        if sender.send(RemoteAck::Asked(1)).is_err() {
                            return;
                        }
                        RemoteAck::Answer(args)
                    }
                    Ok(Some(_)) => continue,
                    Ok(None) => return,
                    Err(AdapterError::TimedOut { received, expected }) => {
                        RemoteAck::ServersMissing(expected.saturating_sub(received))
                    }
                    Err(_) => return,
                };
                let is_last = matches!(ack, RemoteAck::ServersMissing(_));
                if sender.send(ack).is_err() || is_last {
                    return;
                }
            }
        });
        Some(acks)
    }

    fn join(&self, target: &Target, rooms: &RoomNames, max_rooms: usize) {
        self.local().join_all(target, rooms, max_rooms);
        self.publish(target, |target| Body::Join { target, rooms: rooms.clone() });
    }

    fn leave(&self, target: &Target, rooms: &RoomNames) {
        self.local().leave_all(target, rooms);
        self.publish(target, |target| Body::Leave { target, rooms: rooms.clone() });
    }

    fn disconnect(&self, target: &Target) {
        self.local().disconnect_all(target);
        self.publish(target, |target| Body::Disconnect { target, close: false });
    }

    fn close(&self, target: &Target) {
        self.local().close_all(target);
        self.publish(target, |target| Body::Disconnect { target, close: true });
    }

    fn fetch_sockets(&self, target: &Target) -> AdapterFuture<Vec<RemoteSocketData>> {
        let sockets = self.local().sockets(target);
        let known = sockets.iter().filter(|socket| socket.is_connected()).map(RemoteSocketData::of).collect();
        let answers = self.ask(target, Question::Sockets { target: target.clone() });
        self.gather(answers, self.node.settings.request_timeout, known, |known: &mut Vec<_>, answer| {
            if let Answer::Sockets(sockets) = answer {
                known.extend(sockets);
            }
        })
    }

    fn count(&self, target: &Target) -> AdapterFuture<usize> {
        let known = self.local().count(target);
        let answers = self.ask(target, Question::Count { target: target.clone() });
        self.gather(answers, self.node.settings.request_timeout, known, |known, answer| {
            *known += match answer {
                Answer::Count(count) => usize::try_from(count).unwrap_or(usize::MAX),
                // Servers that do not know the question describe their sockets.
                Answer::Sockets(sockets) => sockets.len(),
                Answer::SocketIds(ids) => ids.len(),
                _ => 0,
            };
        })
    }

    fn rooms(&self) -> AdapterFuture<Vec<Arc<str>>> {
        let known: HashSet<Arc<str>> = self.local().rooms().into_iter().collect();
        let answers = self.ask(&Target::default(), Question::Rooms);
        let gathered = self.gather(answers, self.node.settings.request_timeout, known, |known, answer| {
            if let Answer::Rooms(rooms) = answer {
                known.extend(rooms.into_iter().map(Arc::from));
            }
        });
        Box::pin(async move { Ok(gathered.await?.into_iter().collect()) })
    }

    fn server_side_emit(&self, event: &str, args: &ArgsBuf) {
        self.node.publish(&self.side.namespace, Body::ServerEvent { event: event.into(), args: args.clone() });
    }

    fn server_side_emit_with_ack(&self, event: &str, args: &ArgsBuf, timeout: Duration) -> AdapterFuture<Vec<ArgsBuf>> {
        let question = Question::ServerEvent { event: event.into(), args: args.clone() };
        let answers = self.ask(&Target::default(), question);
        self.gather(answers, timeout, Vec::new(), |known, answer| {
            if let Answer::ServerEvent(args) = answer {
                known.push(args);
            }
        })
    }
}

impl Drop for ClusterAdapter {
    fn drop(&mut self) {
        self.node.remove_namespace(&self.side);
    }
}

/// When a timeout ends. One that is longer than the clock can tell ends in a year.
fn deadline(timeout: Duration) -> Instant {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 3_600);
    Instant::now() + timeout.min(YEAR)
}

/// The next answer, or none if all have answered.
async fn before(deadline: Instant, answers: &mut Answers) -> Result<Option<Answer>, AdapterError> {
    match tokio::time::timeout_at(deadline, answers.next()).await {
        Ok(answer) => Ok(answer),
        Err(_) => {
            let progress = answers.progress();
            Err(AdapterError::TimedOut { received: progress.received, expected: progress.expected })
        }
    }
}
