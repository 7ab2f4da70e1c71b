//! What handlers are given and what becomes of their results, with a socket that only notes what it is told.
use std::{
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use sockeye_handler::{
    Ack, AckId, Acknowledge, Args, Binary, Data, ErasedHandler, EventContext, EventName, FromContext, Handler,
    HandlerKind, HasSocket, HasState, IntoReply, RawArgs, Rejection, Reply, ReplyData, State, decode_answer, erase,
};
use sockeye_protocol::socketio::{ArgsBuf, Arguments, Value};

/// What a socket was told to send.
#[derive(Debug, Clone, Default)]
struct Socket {
    acks: Arc<Mutex<Vec<(u64, ArgsBuf)>>>,
}

impl Acknowledge for Socket {
    type Error = sockeye_protocol::socketio::EncodeError;

    fn send_ack(&self, id: AckId, args: &impl Arguments) -> Result<(), Self::Error> {
        self.acks.lock().expect("no panic").push((id.number, ArgsBuf::new(args)?));
        Ok(())
    }
}

impl HasState for Socket {
    const OWNER: &'static str = "the test";
    const BUILDER: &'static str = "Test::builder()";

    fn state<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        (Arc::new(41_u64) as Arc<dyn std::any::Any + Send + Sync>).downcast().ok()
    }
}

impl<C: HasSocket<Socket = Self>> FromContext<C> for Socket {
    fn from_context(context: &mut C) -> Result<Self, Rejection> {
        Ok(context.socket().clone())
    }
}

struct OnEvent;

impl HandlerKind for OnEvent {
    type Context<'a> = EventContext<'a, Socket>;
    type Output = Reply;
}

/// Runs a handler, and says what it answers and whether it has taken the acknowledgement upon itself.
fn run<P: 'static>(
    socket: &Socket,
    args: impl Arguments,
    handler: impl Handler<OnEvent, P>,
) -> Result<(Reply, bool), Rejection> {
    let handler: ErasedHandler<OnEvent> = erase(handler);
    let args = ArgsBuf::new(&args).expect("arguments");
    let mut context = EventContext::new(socket, "greet", args.as_args(), Some(7.into()));
    let mut future = handler.call(&mut context)?;
    match Pin::new(&mut future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(reply) => Ok((reply, context.is_ack_taken())),
        Poll::Pending => panic!("a handler that does not wait is through at once"),
    }
}

/// What the peer is sent for a reply.
fn sent(reply: impl IntoReply) -> Vec<Value> {
    let socket = Socket::default();
    reply.into_reply().send(&socket, 7.into()).expect("a reply that can be encoded");
    let (id, args) = socket.acks.lock().expect("no panic").pop().expect("an acknowledgement");
    assert_eq!(id, 7);
    args.as_args().all().expect("values")
}

#[test]
fn parameters_are_extracted_from_the_event() {
    let taken = run(
        &Socket::default(),
        ("ada", 36),
        async |Data(first): Data<String>,
               Args((name, age)): Args<(String, u8)>,
               RawArgs(raw): RawArgs,
               EventName(event): EventName,
               _socket: Socket,
               state: State<u64>| (first == name, format!("{event} {name} {age}"), raw.as_args().len(), *state),
    );
    let (reply, _) = taken.expect("all are there");
    assert_eq!(sent(reply), [Value::from(true), Value::from("greet ada 36"), Value::from(2), Value::from(41)]);
}

#[test]
fn an_async_closure_can_use_captured_values() {
    let calls = Arc::new(Mutex::new(0));
    let counted = calls.clone();
    let handler: ErasedHandler<OnEvent> = erase(async move |_socket: Socket| {
        *counted.lock().expect("no panic") += 1;
        *counted.lock().expect("no panic")
    });
    let socket = Socket::default();
    for expected in 1..=2 {
        let ack = Some(7.into());
        let mut context = EventContext::new(&socket, "greet", sockeye_protocol::socketio::Args::EMPTY, ack);
        let mut future = handler.call(&mut context).expect("nothing is missing");
        let Poll::Ready(reply) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("a handler that does not wait is through at once")
        };
        assert_eq!(sent(reply), [Value::from(expected)]);
    }
    assert_eq!(*calls.lock().expect("no panic"), 2);
}

#[test]
fn binary_arguments_are_extracted_as_bytes() {
    let (reply, _) =
        run(&Socket::default(), Bytes::from_static(b"\x00\xff"), async |Binary(bytes): Binary| bytes.len())
            .expect("bytes");
    assert_eq!(sent(reply), [Value::from(2)]);
}

#[test]
fn a_handler_does_not_run_if_a_parameter_cannot_be_extracted() {
    let socket = Socket::default();
    let refused = run(&socket, "secret", async |Data(_): Data<u8>| unreachable!("the handler ran") as ());
    let Err(rejection @ Rejection::Arguments(_)) = refused else { panic!("a text is no number: {refused:?}") };
    assert!(rejection.to_string().contains("argument 0"), "{rejection}");
    assert!(!rejection.without_data().contains("secret"), "{rejection}");
}

#[test]
fn a_missing_state_is_named_with_its_owner_and_builder() {
    let refused = run(&Socket::default(), (), async |_: State<u8>| unreachable!("the handler ran") as ());
    let rejection = refused.expect_err("no such state");
    assert_eq!(
        rejection.to_string(),
        "the test has no state of type `u8`; give it one by `Test::builder().state(value)`"
    );
}

#[test]
fn a_handler_that_takes_ack_sends_the_acknowledgement() {
    let socket = Socket::default();
    let (_, taken) = run(&socket, (), async || {}).expect("nothing to extract");
    assert!(!taken);

    let (_, taken) = run(&socket, (), async |ack: Ack<Socket>| {
        assert!(ack.is_wanted());
        Ok(ack.send(("done", 1))?)
    })
    .expect("an acknowledgement can always be taken");
    assert!(taken);
    let acks = socket.acks.lock().expect("no panic");
    let [(7, args)] = acks.as_slice() else { panic!("one acknowledgement: {acks:?}") };
    assert_eq!(args.as_args().all::<(String, u8)>().expect("two"), ("done".into(), 1));
}

#[test]
fn an_acknowledgement_that_nobody_wants_is_not_sent() {
    let socket = Socket::default();
    let args = ArgsBuf::default();
    let mut context = EventContext::new(&socket, "greet", args.as_args(), None);
    let ack = Ack::from_context(&mut context).expect("it can always be taken");
    assert!(!ack.is_wanted());
    ack.send("done").expect("nothing to send");
    assert!(socket.acks.lock().expect("no panic").is_empty());
}

#[test]
fn results_become_replies() {
    assert_eq!(sent(()), [] as [Value; 0]);
    assert_eq!(sent("text"), [Value::from("text")]);
    assert_eq!(sent((1, "two")), [Value::from(1), Value::from("two")]);
    assert_eq!(sent(Ok(5)), [Value::from(5)]);
    let error = sent(Err::<(), _>("no such room".into()));
    assert_eq!(serde_json::to_value(error).expect("JSON"), serde_json::json!([{ "error": "no such room" }]));
}

#[test]
fn own_types_are_returned_as_they_are_or_within_ok() {
    #[derive(serde::Serialize)]
    struct Sum {
        total: i64,
    }
    impl ReplyData for Sum {}
    let expected = serde_json::json!([{ "total": 3 }]);
    for reply in [sent(Sum { total: 3 }), sent(Ok(Sum { total: 3 }))] {
        assert_eq!(serde_json::to_value(reply).expect("JSON"), expected);
    }
}

/// A value that counts how often it is encoded.
#[derive(Debug, Clone, Default)]
struct Counted(Arc<Mutex<usize>>);

impl ReplyData for Counted {}

impl serde::Serialize for Counted {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        *self.0.lock().expect("no panic") += 1;
        serializer.serialize_u8(1)
    }
}

#[test]
fn a_result_is_encoded_only_if_the_peer_wants_an_acknowledgement() {
    let value = Counted::default();
    let (alone, in_ok, in_tuple, beside_ack) = (value.clone(), value.clone(), value.clone(), value.clone());
    let handlers: [ErasedHandler<OnEvent>; 4] = [
        erase(async move || alone),
        erase(async move || Ok(in_ok)),
        erase(async move || (in_tuple, 2)),
        erase(async move |_ack: Ack<Socket>| beside_ack),
    ];
    let socket = Socket::default();
    let counts = handlers.map(|handler| {
        [None, Some(7.into())].map(|ack| {
            *value.0.lock().expect("no panic") = 0;
            let mut context = EventContext::new(&socket, "greet", sockeye_protocol::socketio::Args::EMPTY, ack);
            let mut future = handler.call(&mut context).expect("nothing is missing");
            let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
            assert!(polled.is_ready());
            let count = *value.0.lock().expect("no panic");
            count.min(1)
        })
    });
    assert_eq!(counts, [[0, 1], [0, 1], [0, 1], [0, 0]]);
}

#[test]
fn an_error_is_reported_even_if_the_peer_wants_no_acknowledgement() {
    let handler: ErasedHandler<OnEvent> = erase(async || Err::<(), _>("broken".into()));
    let socket = Socket::default();
    let mut context = EventContext::new(&socket, "greet", sockeye_protocol::socketio::Args::EMPTY, None);
    let mut future = handler.call(&mut context).expect("nothing is missing");
    let polled = future.as_mut().poll(&mut Context::from_waker(Waker::noop()));
    assert!(matches!(polled, Poll::Ready(Reply::Error(_))), "{polled:?}");
}

#[test]
fn ok_has_as_many_arguments_as_its_value_stands_for() {
    assert_eq!(sent(Ok(())), [] as [Value; 0]);
    assert_eq!(sent(Ok((1, "two"))), [Value::from(1), Value::from("two")]);
    assert_eq!(sent(Ok((1, 2, 3, 4, 5, 6, 7, 8))).len(), 8);
    assert_eq!(sent((1, 2, 3, 4, 5, 6, 7, 8)).len(), 8);
    for one in [sent(Ok(vec![1, 2])), sent(Ok(Some(1))), sent(Ok("text")), sent(Ok(None::<u8>)), sent(Ok(Value::Null))]
    {
        assert_eq!(one.len(), 1, "{one:?}");
    }
    assert!(matches!(Ok(()).into_reply(), Reply::Empty));
    let binary = sent(Ok((Bytes::from_static(b"\x00\xff"), 1)));
    assert_eq!(binary, [Value::Binary(Bytes::from_static(b"\x00\xff")), Value::from(1)]);
}

#[test]
fn ok_needs_no_annotation_behind_a_question_mark() {
    let socket = Socket::default();
    let (reply, _) = run(&socket, "12", async |Data(text): Data<String>| {
        let _number: u8 = text.parse()?;
        Ok(())
    })
    .expect("a text");
    assert!(matches!(reply, Reply::Empty));
    let (reply, _) = run(&socket, "x", async |Data(text): Data<String>| {
        if text.is_empty() {
            return Err("nothing was sent".into());
        }
        Ok(text.parse::<u8>()?)
    })
    .expect("a text");
    let error = serde_json::json!([{ "error": "invalid digit found in string" }]);
    assert_eq!(serde_json::to_value(sent(reply)).expect("JSON"), error);
}

#[test]
fn answers_are_decoded_into_one_argument_or_a_tuple_of_all() {
    let args = ArgsBuf::new(&(1, "two")).expect("arguments");
    assert_eq!(decode_answer::<u8>(args.as_args()), Ok(1));
    assert_eq!(decode_answer::<(u8, String)>(args.as_args()), Ok((1, "two".into())));
    assert_eq!(decode_answer::<(u8,)>(args.as_args()), Ok((1,)));
    assert!(decode_answer::<()>(args.as_args()).is_err(), "what came may be an error");
    assert_eq!(decode_answer::<Option<u8>>(args.as_args()), Ok(Some(1)));
    assert!(decode_answer::<(u8, String, u8)>(args.as_args()).is_err());

    let nothing = sockeye_protocol::socketio::Args::EMPTY;
    assert_eq!(decode_answer::<()>(nothing), Ok(()));
    assert_eq!(decode_answer::<Option<u8>>(nothing), Ok(None));
    assert_eq!(decode_answer::<Value>(nothing), Ok(Value::Null));
    assert!(decode_answer::<u8>(nothing).is_err());

    let list = ArgsBuf::new(&&[1, 2]).expect("arguments");
    assert_eq!(decode_answer::<Vec<u8>>(list.as_args()), Ok(vec![1, 2]));
    assert_eq!(decode_answer::<((u8, u8),)>(list.as_args()), Ok(((1, 2),)));
}

#[test]
fn a_reply_that_cannot_be_encoded_is_an_error() {
    struct Broken;
    impl serde::Serialize for Broken {
        fn serialize<S: serde::Serializer>(&self, _: S) -> Result<S::Ok, S::Error> {
            Err(serde::ser::Error::custom("broken"))
        }
    }
    let Reply::Error(error) = Reply::of(&Broken) else { panic!("it cannot be encoded") };
    assert_eq!(error.message(), "the reply could not be encoded");
}
