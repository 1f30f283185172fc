//! Backends in memory that say that they are providers: they are read over streams, may have late writes, and
//! need their intents before the first byte.

use backend::{
    About, Answer, Backend, Faulty, Location, Memory, NewReplica, Page, Reader, Result, Script, Usage, Writer,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use store::BackendOptions;
use types::{BlobId, ByteRange};

#[derive(Debug)]
struct Far(Faulty<Memory>);

/// A provider, and the way to trouble it.
pub struct Provider {
    pub name: &'static str,
    pub script: Script,
    backend: Arc<Far>,
}

impl Provider {
    pub fn new(name: &'static str) -> Self {
        let script = Script::default();
        let backend = Arc::new(Far(Faulty::new(Memory::default(), script.clone())));
        Self { name, script, backend }
    }

    pub fn options(&self) -> BackendOptions {
        BackendOptions::opened(self.name, Arc::clone(&self.backend) as Arc<dyn Backend>)
    }

    /// What it really has, whatever the script says.
    pub async fn locations(&self) -> BTreeSet<String> {
        let page = self.memory().list("", None, 100_000).await.expect("memory lists");
        page.found.into_iter().map(|found| found.location.as_str().to_owned()).collect()
    }

    pub fn memory(&self) -> &Memory {
        self.backend.0.inner()
    }
}

impl Backend for Far {
    fn leaves_traces(&self) -> bool {
        true
    }

    fn is_remote(&self) -> bool {
        true
    }

    fn locate(&self, blob: BlobId, readable: Option<&str>) -> Location {
        self.0.locate(blob, readable)
    }

    fn begin(&self, new: NewReplica) -> Answer<'_, Box<dyn Writer>> {
        self.0.begin(new)
    }

    fn begin_aside(&self, location: Location, new: NewReplica) -> Answer<'_, Box<dyn Writer>> {
        self.0.begin_aside(location, new)
    }

    fn read<'a>(&'a self, location: &'a Location, range: ByteRange) -> Answer<'a, Box<dyn Reader>> {
        self.0.read(location, range)
    }

    fn remove<'a>(&'a self, locations: &'a [Location]) -> Answer<'a, Vec<Result<()>>> {
        self.0.remove(locations)
    }

    fn abandon<'a>(&'a self, location: &'a Location) -> Answer<'a, ()> {
        self.0.abandon(location)
    }

    fn head<'a>(&'a self, location: &'a Location) -> Answer<'a, About> {
        self.0.head(location)
    }

    fn list<'a>(&'a self, prefix: &'a str, after: Option<&'a Location>, limit: usize) -> Answer<'a, Page> {
        self.0.list(prefix, after, limit)
    }

    fn probe(&self) -> Answer<'_, ()> {
        self.0.probe()
    }

    fn usage(&self) -> Usage {
        self.0.usage()
    }
}
