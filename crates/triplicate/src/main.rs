//! Triplicate.
fn main() {}
