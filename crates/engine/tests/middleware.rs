//! HTTP middleware is tower's: layers around the service see polling requests and WebSocket handshakes alike.
mod support;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::Empty;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use sockeye_engine::{Config, ResponseBody, ResponseFuture};
use support::{sid, start, start_by};
use tower::{Layer, Service, layer::layer_fn};

/// Lets requests with a token pass, and signs every answer.
#[derive(Clone)]
struct Guarded<S>(S);

impl<S> Service<Request<Incoming>> for Guarded<S>
where
    S: Service<Request<Incoming>, Response = Response<ResponseBody>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<ResponseBody>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let known = request.uri().query().is_some_and(|query| query.contains("token=1"));
        let answer = known.then(|| self.0.call(request));
        Box::pin(async move {
            let mut response = match answer {
                Some(answer) => answer.await?,
                None => {
                    Response::builder().status(StatusCode::UNAUTHORIZED).body(Default::default()).expect("a response")
                }
            };
            response.headers_mut().insert("x-layer", HeaderValue::from_static("passed"));
            Ok(response)
        })
    }
}

#[tokio::test]
#[should_panic(expected = "`ResponseFuture` polled after completion")]
async fn a_response_future_panics_if_it_is_polled_after_completion() {
    let server = start(Config::default()).await;
    let mut answer: ResponseFuture = server.engine.service().respond(Request::new(Empty::<Bytes>::new()));
    assert_eq!((&mut answer).await.unwrap().status(), StatusCode::NOT_FOUND);
    drop(answer.await);
}

#[tokio::test]
async fn a_tower_layer_sees_polling_and_websocket_handshakes() {
    let server = start_by(Config::default(), |engine, listener, _| async move {
        let service = layer_fn(Guarded).layer(engine.service());
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let service = service.clone();
            let http = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(move |request| service.clone().call(request)))
                .with_upgrades();
            tokio::spawn(async move { drop(http.await) });
        }
    })
    .await;
    let refused = server.get("EIO=4&transport=polling").await;
    assert_eq!((refused.status, refused.header("x-layer")), (401, Some("passed")));
    assert_eq!(server.try_websocket("EIO=4&transport=websocket").await.0, 401);
    assert_eq!(server.engine.session_count(), 0);

    let open = server.get("EIO=4&transport=polling&token=1").await;
    assert_eq!((open.status, open.header("x-layer")), (200, Some("passed")));
    assert_eq!(sid(&open.body).len(), 20);
    let mut websocket = server.websocket("EIO=4&transport=websocket&token=1").await;
    assert_eq!(websocket.head.header("x-layer"), Some("passed"));
    websocket.text().await;
    websocket.send("4hello").await;
    assert_eq!(websocket.text().await, "4hello");
}
