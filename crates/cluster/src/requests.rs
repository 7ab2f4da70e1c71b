//! The requests of this server that others have not answered yet.
use std::sync::Arc;

use hashbrown::{HashMap, HashSet};
use parking_lot::Mutex;
use sockeye_protocol::socketio::Arguments;
use tokio::sync::mpsc;

use crate::message::{Answer, RequestId};

/// The requests whose answers are awaited.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    pending: Mutex<HashMap<RequestId, Pending>>,
}

/// The most answers to one request that are accepted.
const MAX_ANSWERS: usize = 100_000;

#[derive(Debug)]
struct Pending {
    buses: Vec<BusAnswers>,
    /// The servers that have answered, as far as the formats name them. A server on two buses is asked on both.
    answered_by: HashSet<Box<str>>,
    /// How many acknowledgements of clients are still to come.
    acks_due: u64,
    accepted: usize,
    answers: mpsc::UnboundedSender<Answer>,
}

/// The answers that come by one bus.
#[derive(Debug, Clone, Copy, Default)]
struct BusAnswers {
    /// How many servers will answer; none while they are being counted.
    expected: Option<usize>,
    received: usize,
    /// Whether clients may answer whose servers do not tell how many they ask, so that only the timeout ends the request.
    is_open: bool,
}

/// The answers to one request. They end when all have answered. Dropping it ends the request.
#[derive(Debug)]
pub(crate) struct Answers {
    id: RequestId,
    requests: Arc<Requests>,
    answers: mpsc::UnboundedReceiver<Answer>,
}

/// How many servers have answered, of how many.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Progress {
    pub(crate) received: usize,
    pub(crate) expected: usize,
}

impl Requests {
    /// Begins a request on this many buses.
    pub(crate) fn begin(self: &Arc<Self>, id: RequestId, buses: usize) -> Answers {
        let (sender, answers) = mpsc::unbounded_channel();
        let pending = Pending {
            buses: vec![BusAnswers::default(); buses],
            answered_by: HashSet::new(),
            acks_due: 0,
            accepted: 0,
            answers: sender,
        };
        self.pending.lock().insert(id.clone(), pending);
        Answers { id, requests: self.clone(), answers }
    }

    /// Sets how many servers will answer by a bus.
    pub(crate) fn expect(&self, id: &RequestId, bus: usize, servers: usize) {
        self.change(id, |pending| {
            if let Some(bus) = pending.buses.get_mut(bus) {
                bus.expected = Some(servers);
            }
        });
    }

    /// Notes that clients may answer whose servers do not tell how many they ask. To be called before
    /// [`expect`](Self::expect).
    pub(crate) fn keep_open(&self, id: &RequestId, bus: usize) {
        self.change(id, |pending| {
            if let Some(bus) = pending.buses.get_mut(bus) {
                bus.is_open = true;
            }
        });
    }

    /// Takes an answer; false if nobody waits for it.
    pub(crate) fn answer(&self, id: &str, bus: usize, from: Option<&str>, answer: Answer) -> bool {
        self.change(id, |pending| pending.take(bus, from, answer)).is_some()
    }

    /// Changes a request, and ends it if all have answered.
    fn change<R>(&self, id: &str, change: impl FnOnce(&mut Pending) -> R) -> Option<R> {
        let mut requests = self.pending.lock();
        let pending = requests.get_mut(id)?;
        let result = change(pending);
        if pending.is_complete() {
            requests.remove(id);
        }
        Some(result)
    }
}

impl Pending {
    fn take(&mut self, bus: usize, from: Option<&str>, answer: Answer) {
        if self.accepted >= MAX_ANSWERS {
            return;
        }
        self.accepted += 1;
        if !matches!(answer, Answer::Ack(_) | Answer::UncountedAck(_))
            && let Some(bus) = self.buses.get_mut(bus)
        {
            bus.received += 1;
        }
        match &answer {
            Answer::Ack(_) => self.acks_due = self.acks_due.saturating_sub(1),
            Answer::UncountedAck(_) => {}
            Answer::AckCount(count) => self.acks_due = self.acks_due.saturating_add(*count),
            // The server has no handler that answers, or has answered by another bus.
            Answer::ServerEvent(args) if args.count() == 0 => return,
            Answer::ServerEvent(_) => {}
            _ if from.is_some_and(|from| !self.answered_by.insert(from.into())) => return,
            _ => {}
        }
        // Nobody listens any more if the request has just been dropped.
        let _dropped = self.answers.send(answer);
    }

    fn is_complete(&self) -> bool {
        self.acks_due == 0
            && self
                .buses
                .iter()
                .all(|bus| !bus.is_open && bus.expected.is_some_and(|expected| bus.received >= expected))
    }
}

impl Answers {
    /// The next answer; none if all have answered.
    pub(crate) async fn next(&mut self) -> Option<Answer> {
        self.answers.recv().await
    }

    /// How many servers have answered until now.
    pub(crate) fn progress(&self) -> Progress {
        let requests = self.requests.pending.lock();
        let buses = requests.get(&self.id).map(|pending| pending.buses.as_slice()).unwrap_or_default();
        let received = buses.iter().map(|bus| bus.received).sum();
        Progress { received, expected: buses.iter().map(|bus| bus.expected.unwrap_or(bus.received)).sum() }
    }
}

impl Drop for Answers {
    fn drop(&mut self) {
        self.requests.pending.lock().remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_ends_when_every_server_on_every_bus_has_answered() {
        let requests = Arc::new(Requests::default());
        let id = RequestId::from("r");
        let mut answers = requests.begin(id.clone(), 2);
        assert!(requests.answer("r", 0, None, Answer::Count(1)), "before the servers are counted");
        requests.expect(&id, 0, 1);
        requests.expect(&id, 1, 2);
        assert_eq!(answers.progress(), Progress { received: 1, expected: 3 });
        assert!(requests.answer("r", 1, Some("a"), Answer::Count(2)));
        assert!(!requests.answer("other", 1, Some("a"), Answer::Count(2)));
        assert!(requests.answer("r", 1, Some("b"), Answer::Count(3)));
        for expected in [1, 2, 3] {
            assert!(matches!(answers.next().await, Some(Answer::Count(count)) if count == expected));
        }
        assert!(answers.next().await.is_none());
        assert!(!requests.answer("r", 1, Some("c"), Answer::Count(4)), "it has ended");
    }

    #[tokio::test]
    async fn a_server_on_two_buses_counts_on_both_and_is_heard_once() {
        let requests = Arc::new(Requests::default());
        let id = RequestId::from("r");
        let mut answers = requests.begin(id.clone(), 2);
        for bus in [0, 1] {
            requests.expect(&id, bus, 1);
            requests.answer("r", bus, Some("a"), Answer::Count(7));
        }
        assert!(matches!(answers.next().await, Some(Answer::Count(7))));
        assert!(answers.next().await.is_none());
    }

    #[tokio::test]
    async fn a_request_that_is_kept_open_does_not_end_and_misses_nobody() {
        let requests = Arc::new(Requests::default());
        let id = RequestId::from("r");
        let mut answers = requests.begin(id.clone(), 1);
        requests.keep_open(&id, 0);
        requests.expect(&id, 0, 1);
        assert!(requests.answer("r", 0, Some("a"), Answer::AckCount(1)));
        assert!(requests.answer("r", 0, None, Answer::UncountedAck(Default::default())));
        assert!(requests.answer("r", 0, Some("a"), Answer::Ack(Default::default())));
        for _ in 0..3 {
            answers.next().await.expect("it has not ended");
        }
        assert!(requests.answer("r", 0, None, Answer::UncountedAck(Default::default())), "there may be more");
        assert_eq!(answers.progress(), Progress { received: 1, expected: 1 });
    }

    #[tokio::test]
    async fn acknowledgements_are_awaited_until_as_many_have_come_as_clients_were_asked() {
        let requests = Arc::new(Requests::default());
        let id = RequestId::from("r");
        let mut answers = requests.begin(id.clone(), 1);
        requests.expect(&id, 0, 2);
        requests.answer("r", 0, Some("a"), Answer::AckCount(1));
        requests.answer("r", 0, Some("b"), Answer::AckCount(0));
        assert!(requests.answer("r", 0, Some("a"), Answer::Ack(Default::default())));
        assert!(!requests.answer("r", 0, Some("a"), Answer::Ack(Default::default())), "one client was asked");
        let mut seen = 0;
        while answers.next().await.is_some() {
            seen += 1;
        }
        assert_eq!(seen, 3);
        drop(answers);
        assert!(requests.pending.lock().is_empty());
    }
}
