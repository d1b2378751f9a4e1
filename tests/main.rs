//! The scenarios: a real server on a free port, real sockets, and promises that can be broken.
//! Each module is named after what it promises about.

mod support;

mod channels;
mod handshake;
