//! `lnode`: a Lightning node and its client.
fn main() {}
