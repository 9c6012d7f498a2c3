//! Checks the house.
fn main() {}
