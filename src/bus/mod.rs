//! Between nodes.

pub mod redis;
