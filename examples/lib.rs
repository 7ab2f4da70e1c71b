//! The examples stand beside this file, one idea each; run one by `cargo run --example NAME`.

/// The README's examples are compiled with the documentation tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
