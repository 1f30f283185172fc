//! Somebody outside who is told things over HTTP: remembers what came, and answers as the test says.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug, Clone)]
pub struct Delivery {
    pub path: String,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// What it was answered.
    pub status: u16,
}

/// How the next requests are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Answer(u16),
    /// Takes the request and says nothing, for this long.
    Silent(Duration),
    /// Takes the request and closes.
    HangUp,
}

struct State {
    mood: Mood,
    deliveries: Vec<Delivery>,
    over: bool,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub struct Receiver {
    addr: SocketAddr,
    shared: Arc<Shared>,
}

impl Receiver {
    pub fn start() -> std::io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let state = State { mood: Mood::Answer(200), deliveries: Vec::new(), over: false };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let accepting = Arc::clone(&shared);
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                if accepting.lock().over {
                    return;
                }
                let shared = Arc::clone(&accepting);
                std::thread::spawn(move || serve(socket, &shared));
            }
        });
        Ok(Self { addr, shared })
    }

    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.addr)
    }

    pub fn mood(&self, mood: Mood) {
        self.shared.lock().mood = mood;
    }

    pub fn deliveries(&self) -> Vec<Delivery> {
        self.shared.lock().deliveries.clone()
    }

    /// Waits until `done`; whether it came to that in time.
    pub fn wait(&self, patience: Duration, done: impl Fn(&[Delivery]) -> bool) -> bool {
        let until = Instant::now() + patience;
        let mut state = self.shared.lock();
        loop {
            if done(&state.deliveries) {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .map_or_else(|poisoned| poisoned.into_inner().0, |(state, _)| state);
        }
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.shared.lock().over = true;
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.addr);
    }
}

fn serve(socket: TcpStream, shared: &Shared) -> Option<()> {
    let mut writer = socket.try_clone().ok()?;
    let mut reader = BufReader::new(socket);
    loop {
        let mut delivery = read(&mut reader)?;
        let mood = shared.lock().mood;
        match mood {
            Mood::Answer(status) => {
                delivery.status = status;
                let answer = format!("HTTP/1.1 {status} x\r\ncontent-length: 2\r\n\r\nok");
                note(shared, delivery);
                writer.write_all(answer.as_bytes()).ok()?;
            }
            Mood::Silent(time) => {
                note(shared, delivery);
                std::thread::sleep(time);
                return None;
            }
            Mood::HangUp => {
                note(shared, delivery);
                return None;
            }
        }
    }
}

fn note(shared: &Shared, delivery: Delivery) {
    shared.lock().deliveries.push(delivery);
    shared.changed.notify_all();
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Delivery> {
    let mut line = String::new();
    if reader.read_line(&mut line).ok()? == 0 {
        return None;
    }
    let path = line.split(' ').nth(1)?.to_owned();
    let mut headers = BTreeMap::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        let line = line.trim_end();
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':')?;
        headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
    }
    let length = headers.get("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Delivery { path, headers, body, status: 0 })
}
