//! Wraps any backend and fails as it is told, for tests: what no real provider does on order.

use crate::{
    About, Answer, Backend, BackendError, Fault, Location, NewReplica, Page, Pairs, Reader, Result, Signing,
    Stored, StoredFile, Usage, Writer,
};
use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use types::{BlobId, ByteRange};

/// Which call a rule is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Call {
    Begin,
    Write,
    Finish,
    Read,
    /// Each piece of a body.
    Next,
    Remove,
    Abandon,
    Head,
    List,
    Probe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// Fails at once; nothing is done.
    Fail(Fault),
    /// Does its work and fails all the same: an answer that was lost.
    DoneThenFail(Fault),
    /// Does its work and answers only after this long.
    Late(Duration),
    /// Never answers; nothing is done.
    Stall,
    /// For `Next`: one bit of the piece is wrong.
    WrongByte,
    /// For `Next`: the piece is cut and the body ends with an error of this kind.
    BreakOff(Fault),
}

#[derive(Debug, Clone)]
struct Rule {
    call: Call,
    trouble: Trouble,
    /// Calls that are let through before.
    after: u32,
    /// Then so many are troubled.
    times: u32,
}

/// What goes wrong from now on. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Script(Arc<Mutex<Vec<Rule>>>);

impl Script {
    /// Every such call, until `clear`.
    pub fn always(&self, call: Call, trouble: Trouble) {
        self.times(call, trouble, 0, u32::MAX);
    }

    /// The next such call.
    pub fn once(&self, call: Call, trouble: Trouble) {
        self.times(call, trouble, 0, 1);
    }

    /// `times` such calls, after `after` that go well.
    pub fn times(&self, call: Call, trouble: Trouble, after: u32, times: u32) {
        self.0.lock().push(Rule { call, trouble, after, times });
    }

    /// Every call of any kind.
    pub fn down(&self, trouble: Trouble) {
        use Call::{Abandon, Begin, Finish, Head, List, Next, Probe, Read, Remove, Write};
        for call in [Begin, Write, Finish, Read, Next, Remove, Abandon, Head, List, Probe] {
            self.always(call, trouble);
        }
    }

    pub fn clear(&self) {
        self.0.lock().clear();
    }

    fn trouble(&self, call: Call) -> Option<Trouble> {
        let mut rules = self.0.lock();
        let rule = rules.iter_mut().find(|rule| rule.call == call && rule.times > 0)?;
        if rule.after > 0 {
            rule.after -= 1;
            return None;
        }
        rule.times -= 1;
        Some(rule.trouble)
    }

    async fn around<T>(&self, call: Call, work: impl Future<Output = Result<T>>) -> Result<T> {
        match self.trouble(call) {
            None | Some(Trouble::WrongByte | Trouble::BreakOff(_)) => work.await,
            Some(Trouble::Fail(fault)) => Err(scripted(fault)),
            Some(Trouble::Stall) => std::future::pending().await,
            Some(Trouble::DoneThenFail(fault)) => {
                work.await?;
                Err(scripted(fault))
            }
            Some(Trouble::Late(wait)) => {
                let done = work.await;
                tokio::time::sleep(wait).await;
                done
            }
        }
    }
}

fn scripted(fault: Fault) -> BackendError {
    BackendError::new(fault, "as the script says")
}

#[derive(Debug)]
pub struct Faulty<B> {
    inner: B,
    script: Script,
}

impl<B: Backend> Faulty<B> {
    pub fn new(inner: B, script: Script) -> Self {
        Self { inner, script }
    }

    pub fn inner(&self) -> &B {
        &self.inner
    }
}

impl<B: Backend> Backend for Faulty<B> {
    fn locate(&self, blob: BlobId, readable: Option<&str>) -> Location {
        self.inner.locate(blob, readable)
    }

    fn leaves_traces(&self) -> bool {
        self.inner.leaves_traces()
    }

    fn is_remote(&self) -> bool {
        self.inner.is_remote()
    }

    fn begin(&self, new: NewReplica) -> Answer<'_, Box<dyn Writer>> {
        Box::pin(async {
            let inner = self.script.around(Call::Begin, self.inner.begin(new)).await?;
            Ok(Box::new(FaultyWriter { inner, script: self.script.clone() }) as Box<dyn Writer>)
        })
    }

    fn begin_aside(&self, location: Location, new: NewReplica) -> Answer<'_, Box<dyn Writer>> {
        Box::pin(async {
            let inner = self.script.around(Call::Begin, self.inner.begin_aside(location, new)).await?;
            Ok(Box::new(FaultyWriter { inner, script: self.script.clone() }) as Box<dyn Writer>)
        })
    }

    fn read<'a>(&'a self, location: &'a Location, range: ByteRange) -> Answer<'a, Box<dyn Reader>> {
        Box::pin(async move {
            let inner = self.script.around(Call::Read, self.inner.read(location, range)).await?;
            Ok(Box::new(FaultyReader { inner, script: self.script.clone(), broken: None }) as Box<dyn Reader>)
        })
    }

    fn open_file(&self, location: &Location) -> Option<Result<StoredFile>> {
        let opened = self.inner.open_file(location)?;
        Some(match self.script.trouble(Call::Read) {
            Some(Trouble::Fail(fault) | Trouble::DoneThenFail(fault)) => Err(scripted(fault)),
            _ => opened,
        })
    }

    fn remove<'a>(&'a self, locations: &'a [Location]) -> Answer<'a, Vec<Result<()>>> {
        Box::pin(self.script.around(Call::Remove, self.inner.remove(locations)))
    }

    fn abandon<'a>(&'a self, location: &'a Location) -> Answer<'a, ()> {
        Box::pin(self.script.around(Call::Abandon, self.inner.abandon(location)))
    }

    fn calls_to_remove(&self, count: usize) -> u64 {
        self.inner.calls_to_remove(count)
    }

    fn calls_to_abandon(&self) -> u64 {
        self.inner.calls_to_abandon()
    }

    fn head<'a>(&'a self, location: &'a Location) -> Answer<'a, About> {
        Box::pin(self.script.around(Call::Head, self.inner.head(location)))
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Location>, limit: usize) -> Answer<'a, Page> {
        Box::pin(self.script.around(Call::List, self.inner.list(prefix, after, limit)))
    }

    fn unfinished<'a>(&'a self, prefix: &'a str, limit: usize) -> Answer<'a, Vec<Location>> {
        Box::pin(self.script.around(Call::List, self.inner.unfinished(prefix, limit)))
    }

    fn is_reserved(&self, location: &Location) -> bool {
        self.inner.is_reserved(location)
    }

    fn probe(&self) -> Answer<'_, ()> {
        Box::pin(self.script.around(Call::Probe, self.inner.probe()))
    }

    fn free_bytes(&self) -> Option<u64> {
        self.inner.free_bytes()
    }

    fn usage(&self) -> Usage {
        self.inner.usage()
    }

    fn sign_with(&self, signing: &Signing) {
        self.inner.sign_with(signing);
    }
}

struct FaultyWriter {
    inner: Box<dyn Writer>,
    script: Script,
}

impl Writer for FaultyWriter {
    fn location(&self) -> &Location {
        self.inner.location()
    }

    fn write(&mut self, bytes: Bytes) -> Answer<'_, ()> {
        Box::pin(self.script.around(Call::Write, self.inner.write(bytes)))
    }

    fn finish(self: Box<Self>, last: Pairs) -> Answer<'static, Stored> {
        Box::pin(async move { self.script.around(Call::Finish, self.inner.finish(last)).await })
    }
}

struct FaultyReader {
    inner: Box<dyn Reader>,
    script: Script,
    /// What every further call says.
    broken: Option<Fault>,
}

impl FaultyReader {
    async fn take(&mut self) -> Result<Option<Bytes>> {
        if let Some(fault) = self.broken {
            return Err(scripted(fault));
        }
        match self.script.trouble(Call::Next) {
            None => self.inner.next().await,
            Some(Trouble::WrongByte) => Ok(self.inner.next().await?.map(with_wrong_byte)),
            Some(Trouble::BreakOff(fault)) => {
                self.broken = Some(fault);
                let piece = self.inner.next().await?.filter(|piece| piece.len() > 1);
                piece.map_or(Err(scripted(fault)), |piece| Ok(Some(piece.slice(..piece.len() / 2))))
            }
            Some(Trouble::Fail(fault) | Trouble::DoneThenFail(fault)) => Err(scripted(fault)),
            Some(Trouble::Stall) => std::future::pending().await,
            Some(Trouble::Late(wait)) => {
                tokio::time::sleep(wait).await;
                self.inner.next().await
            }
        }
    }
}

impl Reader for FaultyReader {
    fn next(&mut self) -> Answer<'_, Option<Bytes>> {
        Box::pin(self.take())
    }
}

fn with_wrong_byte(piece: Bytes) -> Bytes {
    let mut piece = BytesMut::from(piece);
    let middle = piece.len() / 2;
    if let Some(byte) = piece.get_mut(middle) {
        *byte ^= 1;
    }
    piece.freeze()
}
