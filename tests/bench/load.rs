//! A closed loop of many connections on one thread: each sends its next request when it has its answer.
//! It costs a few microseconds a request, since it shares the machine with what it measures.

use crate::http;
use anyhow::{Context as _, Result, ensure};
use rustix::event::epoll;
use std::io::{ErrorKind, IoSlice, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

/// Requests to send, each once, in order, over whichever connection is free.
pub struct Work<'a> {
    pub heads: &'a [Vec<u8>],
    /// Of each.
    pub body: &'a [u8],
    pub count: u64,
}

pub struct Outcome {
    pub per_second: f64,
    /// From sending a request to its whole answer, in microseconds, sorted.
    latencies: Vec<u32>,
}

impl Outcome {
    pub fn percentile(&self, percent: usize) -> f64 {
        let at = (self.latencies.len() * percent / 100).min(self.latencies.len().saturating_sub(1));
        self.latencies.get(at).copied().map_or(f64::NAN, f64::from)
    }
}

struct Client {
    socket: TcpStream,
    sent: Instant,
    /// The answer's head, as far as it came; empty while the body comes.
    head: Vec<u8>,
    body_left: Option<usize>,
}

pub fn run(addr: SocketAddr, connections: usize, work: &Work<'_>) -> Result<Outcome> {
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
    let mut clients = Vec::with_capacity(connections);
    for index in 0..connections {
        let socket = TcpStream::connect(addr)?;
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
        epoll::add(&poll, &socket, epoll::EventData::new_u64(index as u64), epoll::EventFlags::IN)?;
        clients.push(Client { socket, sent: Instant::now(), head: Vec::new(), body_left: None });
    }
    let mut next = work.heads.iter().cycle();
    let (mut to_send, mut to_come) = (work.count, work.count);
    let mut latencies = Vec::with_capacity(usize::try_from(work.count)?);
    let mut buffer = vec![0; 64 << 10];
    let begun = Instant::now();
    for client in clients.iter_mut().take(usize::try_from(to_send)?) {
        client.send(next.next().context("requests")?, work.body)?;
        to_send -= 1;
    }
    let mut events = Vec::with_capacity(connections);
    while to_come > 0 {
        events.clear();
        epoll::wait(&poll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in &events {
            let client = clients.get_mut(usize::try_from(event.data.u64())?).context("a known event")?;
            if !client.receive(&mut buffer)? {
                continue;
            }
            latencies.push(u32::try_from(client.sent.elapsed().as_micros()).unwrap_or(u32::MAX));
            to_come -= 1;
            if to_send > 0 {
                client.send(next.next().context("requests")?, work.body)?;
                to_send -= 1;
            }
        }
    }
    let per_second = work.count as f64 / begun.elapsed().as_secs_f64();
    latencies.sort_unstable();
    Ok(Outcome { per_second, latencies })
}

impl Client {
    fn send(&mut self, head: &[u8], body: &[u8]) -> Result<()> {
        self.sent = Instant::now();
        let whole = head.len() + body.len();
        let mut sent = 0;
        while sent < whole {
            let head_left = head.get(sent..).unwrap_or_default();
            let body_left = body.get(sent.saturating_sub(head.len())..).unwrap_or_default();
            match self.socket.write_vectored(&[IoSlice::new(head_left), IoSlice::new(body_left)]) {
                Ok(written) => sent += written,
                // The kernel holds far more than one small request: this does not last.
                Err(error) if error.kind() == ErrorKind::WouldBlock => std::thread::yield_now(),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether the answer is whole.
    fn receive(&mut self, buffer: &mut [u8]) -> Result<bool> {
        let read = match self.socket.read(buffer) {
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        ensure!(read > 0, "the server closed a connection");
        let bytes = buffer.get(..read).unwrap_or_default();
        let left = match self.body_left {
            Some(left) => left.checked_sub(read),
            None if self.head.is_empty() => return self.begin(bytes),
            None => {
                let mut whole = std::mem::take(&mut self.head);
                whole.extend_from_slice(bytes);
                return self.begin(&whole);
            }
        };
        self.go_on(left.context("an answer longer than it says")?)
    }

    fn begin(&mut self, bytes: &[u8]) -> Result<bool> {
        let Some(answer) = http::answer(bytes)? else {
            self.head = bytes.to_vec();
            return Ok(false);
        };
        ensure!(answer.status == 200, "answered {}: {}", answer.status, String::from_utf8_lossy(bytes));
        let left = (answer.head + answer.body).checked_sub(bytes.len());
        self.go_on(left.context("an answer longer than it says")?)
    }

    fn go_on(&mut self, left: usize) -> Result<bool> {
        self.body_left = (left > 0).then_some(left);
        Ok(left == 0)
    }
}
