//! The client's membership in a namespace, against a server of this file that answers when it likes.
#![allow(clippy::unwrap_used, clippy::panic)]
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use proptest::{prelude::*, test_runner::RngSeed};
use sockeye_protocol::socketio::membership::{Accept, ClientMembership, Event, Join, OnFailure, Recovery, Transmit};

type Membership = ClientMembership<u32, &'static str, &'static str>;
type Happened = Event<u32, &'static str, &'static str>;

const TIMEOUT: Duration = Duration::from_secs(20);
const DELAY: Duration = Duration::from_secs(1);

fn membership() -> Membership {
    Membership::new(Join::OnRequest, TIMEOUT)
}

fn events(membership: &mut Membership) -> Vec<Happened> {
    std::iter::from_fn(|| membership.poll()).collect()
}

fn transmits(membership: &mut Membership) -> Vec<Transmit> {
    std::iter::from_fn(|| membership.poll_transmit()).collect()
}

/// A membership whose CONNECT is sent and not answered.
fn connecting(on_failure: OnFailure, now: Instant) -> Membership {
    let mut membership = membership();
    membership.connect(now, on_failure);
    membership.connection_opened(now);
    assert_eq!(events(&mut membership), [Event::Authenticate(1)]);
    membership.authenticated(now, 1);
    assert_eq!(transmits(&mut membership), [Transmit::Connect]);
    membership
}

fn connected(now: Instant) -> Membership {
    let mut membership = connecting(OnFailure::GiveUp, now);
    membership.handle_connect(now, "a".into(), Some("pid".to_owned()));
    assert_eq!(events(&mut membership), [Event::Connected(Vec::new())]);
    assert_eq!(membership.id().map(|id| &**id), Some("a"));
    membership
}

#[test]
fn events_before_connect_are_delivered_after_it_and_their_offset_counts_then() {
    let now = Instant::now();
    let mut membership = connected(now);
    membership.handle_offset("1".to_owned());
    membership.connection_lost("lost");
    assert_eq!(events(&mut membership), [Event::Disconnected("lost")]);
    for recovers in [false, true] {
        membership.connection_opened(now);
        let attempt = membership.attempt();
        membership.authenticated(now, attempt);
        assert_eq!(membership.offer(), Some(&Recovery { pid: "pid".to_owned(), offset: Some("1".to_owned()) }));
        assert_eq!(membership.accept(), Accept::AfterConnect);
        membership.hold(7, 1, 10).unwrap();
        membership.handle_offset("2".to_owned());
        if recovers {
            membership.handle_connect(now, "b".into(), Some("pid".to_owned()));
            assert_eq!(events(&mut membership), [Event::Authenticate(attempt), Event::Connected(vec![7])]);
            assert!(membership.is_recovered());
            assert_eq!(membership.offer().unwrap().offset.as_deref(), Some("2"));
        } else {
            membership.connection_lost("lost again");
            assert_eq!(events(&mut membership), [Event::Authenticate(attempt)]);
        }
    }
    membership.connection_lost("lost");
    membership.connection_opened(now);
    membership.authenticated(now, membership.attempt());
    membership.handle_connect(now, "c".into(), Some("other".to_owned()));
    assert!(!membership.is_recovered());
    assert_eq!(membership.offer(), Some(&Recovery { pid: "other".to_owned(), offset: None }));
}

#[test]
fn offsets_are_kept_only_with_a_private_id() {
    let now = Instant::now();
    let mut membership = connecting(OnFailure::GiveUp, now);
    membership.handle_connect(now, "a".into(), None);
    assert!(!membership.expects_offset());
    membership.handle_offset("30".to_owned());
    assert_eq!(membership.offer(), None);
}

#[test]
fn too_many_events_before_connect_end_the_recovery_of_the_session() {
    let now = Instant::now();
    let mut membership = connected(now);
    membership.connection_lost("lost");
    membership.connection_opened(now);
    membership.authenticated(now, 2);
    membership.hold(1, 6, 10).unwrap();
    assert_eq!(membership.hold(2, 6, 10).unwrap_err().limit, 10);
    assert_eq!(membership.offer(), None);
}

#[test]
fn the_answer_to_an_abandoned_attempt_is_awaited_before_the_next() {
    let now = Instant::now();
    for accepted in [true, false] {
        let mut membership = connecting(OnFailure::GiveUp, now);
        membership.disconnect(now, "left", "cancelled");
        assert_eq!(events(&mut membership), [Event::Left("cancelled")]);
        membership.connect(now, OnFailure::GiveUp);
        assert_eq!((events(&mut membership), transmits(&mut membership)), (vec![], vec![]));
        assert_eq!(membership.accept(), Accept::Never);
        if accepted {
            membership.handle_connect(now, "old".into(), None);
            assert_eq!(transmits(&mut membership), [Transmit::Disconnect]);
            assert_eq!(events(&mut membership), []);
            let at = membership.poll_timeout().unwrap();
            assert!(at > now);
            membership.handle_timeout(at, || "late", || None);
        } else {
            membership.handle_connect_error(now, "refused");
        }
        assert_eq!(events(&mut membership), [Event::Authenticate(2)]);
    }
}

#[test]
fn an_unexpected_answer_is_met_with_disconnect() {
    let now = Instant::now();
    let mut membership = connecting(OnFailure::GiveUp, now);
    membership.disconnect(now, "left", "cancelled");
    membership.handle_connect(now, "old".into(), None);
    assert_eq!(transmits(&mut membership), [Transmit::Disconnect]);
    assert!(!membership.is_active());
}

#[test]
fn authentication_that_comes_too_late_is_ignored() {
    let now = Instant::now();
    let mut membership = membership();
    membership.connect(now, OnFailure::GiveUp);
    membership.connection_opened(now);
    membership.disconnect(now, "left", "cancelled");
    membership.connect(now, OnFailure::GiveUp);
    assert_eq!(events(&mut membership), [Event::Authenticate(1), Event::Left("cancelled"), Event::Authenticate(2)]);
    membership.authenticated(now, 1);
    assert_eq!(transmits(&mut membership), []);
    membership.authenticated(now, 2);
    assert_eq!(transmits(&mut membership), [Transmit::Connect]);
}

#[test]
fn only_a_persistent_or_connected_socket_tries_again() {
    let now = Instant::now();
    let mut first = connecting(OnFailure::GiveUp, now);
    first.handle_timeout(now + TIMEOUT, || "late", || panic!("it is not tried again"));
    assert_eq!(events(&mut first), [Event::ConnectFailed("late"), Event::GivenUp("late")]);
    assert_eq!(first.end(), Some(&"late"));

    let mut persistent = connecting(OnFailure::Retry, now);
    persistent.handle_timeout(now + TIMEOUT, || "late", || Some(DELAY));
    assert_eq!(events(&mut persistent), [Event::ConnectFailed("late")]);
    persistent.handle_connect(now, "a".into(), None);
    assert_eq!(events(&mut persistent), [Event::Connected(vec![])]);

    let mut returning = connected(now);
    returning.connection_lost("lost");
    returning.connection_opened(now);
    returning.authentication_failed(now, 2, "no token", || Some(DELAY));
    assert_eq!(returning.poll_timeout(), Some(now + DELAY));
    returning.handle_timeout(now + DELAY, || "late", || None);
    returning.authentication_failed(now, 3, "no token", || None);
    assert_eq!(
        events(&mut returning),
        [
            Event::Disconnected("lost"),
            Event::Authenticate(2),
            Event::ConnectFailed("no token"),
            Event::Authenticate(3),
            Event::ConnectFailed("no token"),
            Event::GivenUp("no token"),
        ]
    );
}

#[test]
fn a_refusal_is_final() {
    let now = Instant::now();
    let mut membership = connecting(OnFailure::Retry, now);
    membership.handle_connect_error(now, "refused");
    assert_eq!(events(&mut membership), [Event::ConnectFailed("refused"), Event::GivenUp("refused")]);
    // The server can be asked again at once.
    membership.connect(now, OnFailure::GiveUp);
    assert_eq!(events(&mut membership), [Event::Authenticate(2)]);
}

#[test]
fn a_server_of_revision_4_lets_the_client_into_the_root_unasked() {
    let now = Instant::now();
    let mut membership = Membership::new(Join::Unasked, TIMEOUT);
    membership.connection_opened(now);
    membership.handle_connect(now, "a".into(), None);
    assert_eq!(transmits(&mut membership), []);
    membership.connect(now, OnFailure::GiveUp);
    assert_eq!(events(&mut membership), [Event::Connected(vec![])]);
    membership.connection_lost("lost");
    membership.connection_opened(now);
    membership.handle_connect(now, "b".into(), None);
    assert_eq!(events(&mut membership), [Event::Disconnected("lost"), Event::Connected(vec![])]);
    assert_eq!(transmits(&mut membership), []);
}

/// What the server has for the client, or the client for the server, on its way.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    Connect(u32),
    ConnectError,
    Disconnect,
    Event { attempt: u32, number: u32 },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stand {
    Out,
    /// It has read this many CONNECTs and decides about the last.
    Deciding(u32),
    In(u32),
}

/// A membership, the server, and what is on its way between them.
struct World {
    now: Instant,
    membership: Membership,
    is_open: bool,
    authenticating: Option<u64>,
    to_server: VecDeque<Transmit>,
    to_client: VecDeque<Answer>,
    stand: Stand,
    /// The CONNECTs of this connection that the server has not answered, wherever they are.
    unanswered: u32,
    connects: u32,
    numbers: u32,
    is_connected: bool,
    /// Whether somebody waits for the outcome of `connect`.
    waits: bool,
    /// Those that the client holds until CONNECT arrives.
    held: Vec<u32>,
}

impl World {
    fn new(persistent: bool) -> (Self, OnFailure) {
        let world = Self {
            now: Instant::now(),
            membership: membership(),
            is_open: false,
            authenticating: None,
            to_server: VecDeque::new(),
            to_client: VecDeque::new(),
            stand: Stand::Out,
            unanswered: 0,
            connects: 0,
            numbers: 0,
            is_connected: false,
            waits: false,
            held: Vec::new(),
        };
        (world, if persistent { OnFailure::Retry } else { OnFailure::GiveUp })
    }

    fn connect(&mut self, on_failure: OnFailure) {
        if !self.membership.is_active() {
            assert!(!self.waits, "whoever waited before was never told");
            self.waits = true;
        }
        self.membership.connect(self.now, on_failure);
    }

    fn open(&mut self) {
        if !self.is_open {
            self.is_open = true;
            self.membership.connection_opened(self.now);
        }
    }

    fn lose(&mut self) {
        if std::mem::take(&mut self.is_open) {
            self.to_server.clear();
            self.to_client.clear();
            self.held.clear();
            (self.stand, self.unanswered) = (Stand::Out, 0);
            self.membership.connection_lost("lost");
        }
    }

    fn server_reads(&mut self) {
        match self.to_server.pop_front() {
            Some(Transmit::Connect) => {
                assert_eq!(self.stand, Stand::Out, "CONNECT from who is in already");
                self.connects += 1;
                self.stand = Stand::Deciding(self.connects);
            }
            Some(Transmit::Disconnect) => {
                assert!(!matches!(self.stand, Stand::Deciding(_)), "DISCONNECT before the answer to CONNECT");
                self.stand = Stand::Out;
            }
            None => {}
        }
    }

    fn server_decides(&mut self, accepts: bool) {
        let Stand::Deciding(attempt) = self.stand else { return };
        self.stand = if accepts { Stand::In(attempt) } else { Stand::Out };
        self.to_client.push_back(if accepts { Answer::Connect(attempt) } else { Answer::ConnectError });
    }

    fn server_emits(&mut self) {
        let (Stand::Deciding(attempt) | Stand::In(attempt)) = self.stand else { return };
        self.numbers += 1;
        self.to_client.push_back(Answer::Event { attempt, number: self.numbers });
    }

    /// Nothing else may be under way: the client cannot tell a DISCONNECT that crossed its own from an answer.
    fn server_disconnects(&mut self) {
        if let Stand::In(_) = self.stand
            && self.to_server.is_empty()
        {
            while !self.to_client.is_empty() {
                self.client_reads();
                self.settle();
            }
            if self.to_server.is_empty() {
                self.stand = Stand::Out;
                self.to_client.push_back(Answer::Disconnect);
                self.client_reads();
            }
        }
    }

    fn client_reads(&mut self) {
        match self.to_client.pop_front() {
            Some(Answer::Connect(attempt)) => {
                self.unanswered -= 1;
                self.membership.handle_connect(self.now, attempt.to_string().into(), None);
            }
            Some(Answer::ConnectError) => {
                self.unanswered -= 1;
                self.membership.handle_connect_error(self.now, "refused");
            }
            Some(Answer::Disconnect) => self.membership.handle_disconnect(self.now, "server", "server"),
            Some(Answer::Event { attempt, number }) => match self.membership.accept() {
                Accept::Now => {
                    assert_eq!(self.membership.id().unwrap().to_string(), attempt.to_string(), "of another membership");
                }
                Accept::AfterConnect => {
                    assert_eq!(attempt, self.connects, "of another attempt");
                    self.held.push(number);
                    self.membership.hold(number, 1, usize::MAX).unwrap();
                }
                Accept::Never => assert!(!self.is_connected),
            },
            None => {}
        }
    }

    /// Time passes, in which everything arrives that is on its way. A client cannot tell an event that was sent before
    /// the server read DISCONNECT from one that follows the next CONNECT, and waits a while between the two therefore.
    fn timeout(&mut self) {
        while !self.to_server.is_empty() || !self.to_client.is_empty() {
            self.server_reads();
            self.client_reads();
            self.settle();
        }
        if let Some(at) = self.membership.poll_timeout() {
            self.now = self.now.max(at);
            self.membership.handle_timeout(self.now, || "late", || Some(DELAY));
        }
    }

    /// Takes in everything that the membership wants, and checks it.
    fn settle(&mut self) {
        while let Some(event) = self.membership.poll() {
            match event {
                Event::Authenticate(attempt) => self.authenticating = Some(attempt),
                Event::Connected(early) => {
                    assert!(!self.is_connected);
                    assert_eq!(early, std::mem::take(&mut self.held), "lost, doubled or out of order");
                    (self.is_connected, self.waits) = (true, false);
                }
                Event::Disconnected(_) => assert!(std::mem::take(&mut self.is_connected)),
                Event::ConnectFailed(_) => {}
                Event::Left(_) | Event::GivenUp(_) => {
                    assert!(!self.is_connected && !self.membership.is_active());
                    self.waits = false;
                    self.held.clear();
                }
            }
        }
        while let Some(packet) = self.membership.poll_transmit() {
            assert!(self.is_open, "a packet without a connection");
            self.unanswered += u32::from(packet == Transmit::Connect);
            assert!(self.unanswered <= 1, "asked again before the answer");
            self.to_server.push_back(packet);
        }
        assert_eq!(self.is_connected, self.membership.is_connected());
        assert!(!self.waits || self.membership.is_active(), "nobody will be told");
    }

    /// From wherever it is, the socket can be connected if everybody does his part.
    fn reaches_the_end(&mut self) {
        for _ in 0..20 {
            // What was refused before may have ended it again.
            self.connect(OnFailure::Retry);
            self.open();
            self.settle();
            if let Some(attempt) = self.authenticating.take() {
                self.membership.authenticated(self.now, attempt);
                self.settle();
            }
            while !self.to_server.is_empty() || !self.to_client.is_empty() {
                self.server_reads();
                self.server_decides(true);
                self.client_reads();
                self.settle();
            }
            self.server_decides(true);
            if self.is_connected && self.to_client.is_empty() {
                return;
            }
            if self.to_client.is_empty() {
                self.timeout();
                self.settle();
            }
        }
        panic!("nothing leads out of {:?}", self.membership);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, rng_seed: RngSeed::Fixed(8), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_attempt_has_one_outcome(persistent: bool, steps in prop::collection::vec(0_u8..15, 0..80)) {
        let (mut world, on_failure) = World::new(persistent);
        for step in steps {
            match step {
                0 | 1 => world.connect(on_failure),
                2 => {
                    world.membership.disconnect(world.now, "left", "cancelled");
                }
                3 | 4 => world.open(),
                5 => world.lose(),
                6 | 7 => {
                    if let Some(attempt) = world.authenticating.take() {
                        world.membership.authenticated(world.now, attempt);
                    }
                }
                8 => {
                    if let Some(attempt) = world.authenticating.take() {
                        world.membership.authentication_failed(world.now, attempt, "no token", || Some(DELAY));
                    }
                }
                9 => world.server_reads(),
                10 => world.server_decides(true),
                11 => world.server_decides(false),
                12 => world.server_emits(),
                13 => world.client_reads(),
                _ => {
                    if world.numbers % 3 == 0 {
                        world.timeout();
                    } else if world.numbers % 3 == 1 {
                        world.server_disconnects();
                    } else if !world.is_open {
                        world.membership.connection_failed("unreachable");
                        world.membership.give_up("unreachable");
                    }
                    world.numbers += 1;
                }
            }
            world.settle();
        }
        world.reaches_the_end();
    }
}
