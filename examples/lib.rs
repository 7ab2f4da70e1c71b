//! The examples stand beside this file, one idea each; run one by `cargo run --example NAME`.

/// The README's examples are compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

/// The guide's examples are compiled with the documentation tests. Those that end by themselves are run, too.
#[cfg(doctest)]
mod guide {
    #[doc = include_str!("../docs/guide/README.md")]
    struct Contents;
    #[doc = include_str!("../docs/guide/acks.md")]
    struct Acks;
    #[doc = include_str!("../docs/guide/client.md")]
    struct Client;
    #[doc = include_str!("../docs/guide/cluster.md")]
    struct Cluster;
    #[doc = include_str!("../docs/guide/errors.md")]
    struct Errors;
    #[doc = include_str!("../docs/guide/from-python-socketio.md")]
    struct FromPythonSocketio;
    #[doc = include_str!("../docs/guide/from-socket-io.md")]
    struct FromSocketIo;
    #[doc = include_str!("../docs/guide/handlers.md")]
    struct Handlers;
    #[doc = include_str!("../docs/guide/recovery.md")]
    struct Recovery;
    #[doc = include_str!("../docs/guide/rooms.md")]
    struct Rooms;
    #[doc = include_str!("../docs/guide/server.md")]
    struct Server;
    #[doc = include_str!("../docs/guide/testing.md")]
    struct Testing;
    #[doc = include_str!("../docs/guide/tls-and-proxies.md")]
    struct TlsAndProxies;
}
