//! The yardstick of the trigger API: a process that does nothing but recv() a request and send() a fixed answer, which is the
//! part that no server can avoid: the kernel's work, and the waking of a thread that slept. One thread, one epoll, no
//! parsing: a request counts as whole when it comes in one piece, which it does over loopback.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{TcpListener, TcpStream},
};

use rustix::{
    buffer::spare_capacity,
    event::epoll::{self, CreateFlags, EventData, EventFlags},
};

/// As long as gema's, to the byte.
const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nx-content-type-options: nosniff\r\n\
    content-length: 2\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\n\r\n{}";
/// The listener's place among the sources; connections have those behind it.
const LISTENER: u64 = 0;
/// More than one request has.
const LONGEST: usize = 16 * 1024;
/// Events taken at once.
const EVENTS: usize = 64;

/// Answers every request of every connection. Ends only by an error.
pub(crate) fn serve(listener: &TcpListener) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut connections: Vec<Option<TcpStream>> = Vec::new();
    let mut request = vec![0; LONGEST];
    let mut events = Vec::with_capacity(EVENTS);
    loop {
        events.clear();
        match epoll::wait(&epoll, spare_capacity(&mut events), None) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            waited => waited?,
        };
        for event in &events {
            let source = event.data.u64();
            if source == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                connections.push(Some(stream));
                let added = connections.last().and_then(Option::as_ref);
                if let Some(stream) = added {
                    let data = EventData::new_u64(connections.len() as u64);
                    epoll::add(&epoll, stream, data, EventFlags::IN)?;
                }
                continue;
            }
            let Some(place) = connections.get_mut(source as usize - 1) else {
                continue;
            };
            let Some(stream) = place else { continue };
            let answered = match stream.read(&mut request) {
                Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => stream.write_all(ANSWER),
                Err(error) => Err(error),
            };
            if answered.is_err() {
                // Closing it takes it out of the epoll too.
                *place = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn every_request_of_every_connection_is_answered_and_an_end_ends_only_its_own() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        // Ends with the test's process: it has nothing to wait for.
        std::thread::spawn(move || serve(&listener));
        let ask = |stream: &mut TcpStream| {
            stream.write_all(b"POST / HTTP/1.1\r\n\r\n").unwrap();
            let mut answer = vec![0; ANSWER.len()];
            stream.read_exact(&mut answer).unwrap();
            assert_eq!(answer, ANSWER);
        };
        let mut first = TcpStream::connect(address).unwrap();
        ask(&mut first);
        let mut second = TcpStream::connect(address).unwrap();
        ask(&mut second);
        drop(first);
        ask(&mut second);
        ask(&mut TcpStream::connect(address).unwrap());
    }
}
