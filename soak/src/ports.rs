//! Ports that a server can have again after a restart.

use std::net::{Ipv4Addr, TcpListener};

use crate::error::SoakError;

/// A port that nobody has at the moment. Another program may take it before it is used; then the start fails and says so.
pub(crate) fn free_port() -> Result<u16, SoakError> {
    let io = || SoakError::io("looking for a free port");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(io())?;
    Ok(listener.local_addr().map_err(io())?.port())
}
