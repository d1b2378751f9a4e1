//! The yardstick: a process that does nothing but send() ready frames to every subscriber, which is
//! the part of a broadcast no server can avoid. One thread, non-blocking sockets, no parsing, no batching.
//!
//! The first connection is the control line, every later one a subscriber. Commands, each a line:
//! `accept N` waits until N subscribers are there and answers `ok`; `publish LEN` is followed by LEN
//! bytes that go to every subscriber as they are. The process ends with the control line.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
};

use crate::{answers, error::BenchError};

/// More than any command with its frame; the control line is closed on longer ones.
const LONGEST_COMMAND: usize = 1 << 20;

#[derive(Debug, PartialEq, Eq)]
enum Command<'a> {
    Accept(usize),
    Publish(&'a [u8]),
}

/// What a floor does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Floor {
    /// Sends frames, as above.
    Sends,
    /// Answers requests; see [`answers`].
    Answers,
}

/// Listens on loopback (port 0: any free one), says where on stdout, and does what it is for.
pub(crate) fn run(port: u16, what: Floor) -> Result<(), BenchError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .map_err(BenchError::io("listening as the floor"))?;
    let address = listener
        .local_addr()
        .map_err(BenchError::io("asking for the floor's address"))?;
    println!("floor listening on {address}");
    let served = match what {
        Floor::Sends => serve(&listener),
        Floor::Answers => answers::serve(&listener),
    };
    served.map_err(BenchError::io("serving as the floor"))
}

/// Sends frames: serves one control line until it ends.
pub(crate) fn serve(listener: &TcpListener) -> io::Result<()> {
    let (mut control, _) = listener.accept()?;
    let mut subscribers: Vec<TcpStream> = Vec::new();
    let mut received = Vec::new();
    let mut chunk = vec![0; 64 * 1024];
    loop {
        let count = control.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        received.extend_from_slice(&chunk[..count]);
        let mut used = 0;
        let mut frames: Vec<&[u8]> = Vec::new();
        while let Some((command, length)) = parse(&received[used..])? {
            used += length;
            match command {
                Command::Publish(frame) => frames.push(frame),
                Command::Accept(count) => {
                    while subscribers.len() < count {
                        let (subscriber, _) = listener.accept()?;
                        subscriber.set_nodelay(true)?;
                        subscriber.set_nonblocking(true)?;
                        subscribers.push(subscriber);
                    }
                    control.write_all(b"ok\n")?;
                }
            }
        }
        for subscriber in &mut subscribers {
            for frame in &frames {
                send(subscriber, frame)?;
            }
        }
        received.drain(..used);
    }
}

/// One send(). The yardstick counts only while the kernel takes every frame whole, so anything else ends it.
fn send(subscriber: &mut TcpStream, frame: &[u8]) -> io::Result<()> {
    if subscriber.write(frame)? == frame.len() {
        return Ok(());
    }
    Err(io::Error::new(
        ErrorKind::WriteZero,
        "a subscriber's socket is full; the floor has no queue",
    ))
}

/// The first command in `bytes` and its length, when all of it is there.
fn parse(bytes: &[u8]) -> io::Result<Option<(Command<'_>, usize)>> {
    let invalid = || io::Error::new(ErrorKind::InvalidData, "not a command of the floor");
    let Some(end) = bytes.iter().position(|&b| b == b'\n') else {
        return if bytes.len() < 64 {
            Ok(None)
        } else {
            Err(invalid())
        };
    };
    let line = std::str::from_utf8(&bytes[..end]).map_err(|_| invalid())?;
    let (name, number) = line.split_once(' ').ok_or_else(invalid)?;
    let number: usize = number.parse().map_err(|_| invalid())?;
    let body = end + 1;
    match name {
        "accept" => Ok(Some((Command::Accept(number), body))),
        "publish" if number <= LONGEST_COMMAND => Ok(bytes
            .get(body..body + number)
            .map(|frame| (Command::Publish(frame), body + number))),
        _ => Err(invalid()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_taken_whole_and_in_order() {
        let stream = b"accept 12\npublish 3\n\nabpublish 0\n";
        let (first, length) = parse(stream).unwrap().unwrap();
        assert_eq!((first, length), (Command::Accept(12), 10));
        let (second, length) = parse(&stream[10..]).unwrap().unwrap();
        assert_eq!((second, length), (Command::Publish(b"\nab"), 13));
        let (third, length) = parse(&stream[23..]).unwrap().unwrap();
        assert_eq!((third, length), (Command::Publish(b""), 10));
        for cut in 10..23 {
            assert_eq!(parse(&stream[10..cut]).unwrap(), None, "{cut}");
        }
    }

    #[test]
    fn what_is_not_a_command_is_an_error() {
        for bad in [
            "\n",
            "accept\n",
            "accept -1\n",
            "publish 9999999999\n",
            "x 1\n",
        ] {
            assert!(parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(parse(&[b'x'; 64]).is_err());
    }

    #[test]
    fn every_subscriber_gets_every_frame_and_the_floor_ends_with_its_control_line() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let floor = std::thread::spawn(move || serve(&listener));
        let mut control = TcpStream::connect(address).unwrap();
        control.write_all(b"accept 3\n").unwrap();
        let mut subscribers = [(); 3].map(|()| TcpStream::connect(address).unwrap());
        let mut answer = [0; 3];
        control.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"ok\n");
        control.write_all(b"publish 2\nabpublish 1\nc").unwrap();
        control.shutdown(std::net::Shutdown::Write).unwrap();
        for subscriber in &mut subscribers {
            let mut text = String::new();
            subscriber.read_to_string(&mut text).unwrap();
            assert_eq!(text, "abc");
        }
        floor.join().unwrap().unwrap();
    }
}
