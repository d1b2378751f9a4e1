//! gema
fn main() {}
