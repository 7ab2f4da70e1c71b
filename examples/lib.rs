//! The examples stand beside this file, one idea each; run one by `cargo run --example NAME`.
