//! CopyObject: a reference more on the blob. No byte moves.

use meta::Cause;
use meta::{Account, Draft, Order};
use types::ByteRange;
use types::checksum::Hasher;

use crate::ingest::out_of_room;
use crate::{CopyRequest, OpenObject, Store, StoreError, Written};

impl Store {
    pub async fn copy(&self, source: &OpenObject, request: CopyRequest) -> Result<Written, StoreError> {
        let CopyRequest { bucket, destination, headers, tags, conditions, algorithm } = request;
        let object = source.object().clone();
        let mut checksum = object.checksum;
        if let Some(algorithm) = algorithm.filter(|wanted| Some(*wanted) != checksum.map(|c| c.algorithm())) {
            let mut hasher = Hasher::new(algorithm);
            let mut reader = source.read(ByteRange::whole(object.size));
            while let Some(piece) = reader.next().await {
                hasher.update(&piece?);
            }
            checksum = Some(hasher.finish());
        }
        let mut headers = headers.unwrap_or_else(|| object.headers.clone());
        if let Some(tags) = tags {
            headers.tags = tags;
        }
        let current = self.find(bucket, &destination).await?;
        let net = object.size.saturating_sub(current.map_or(0, |c| c.size));
        let room = self.0.meta.ledger().reserve(&[(Account::Bucket(bucket), net)]).map_err(out_of_room)?;
        let draft = Draft {
            blob: object.blob,
            inline: object.inline,
            size: object.size,
            etag: object.etag,
            modified: self.now(),
            checksum,
            headers,
        };
        // The pin goes along and comes back with the answer: cleanup sees the new reference only when the
        // batch is written, and until then nothing else may hold the blob.
        let pin = source.pin();
        let copied = self.commit(Order::Shared, move |txn| {
            txn.reference_blob(draft.blob)?;
            txn.written_by(Cause::Copy);
            let record = txn.write_object(bucket, &destination, draft, &conditions)?;
            txn.check_quota(Account::Bucket(bucket), &room)?;
            Ok((Written::of(&record), pin))
        });
        copied.await.map(|(written, _pin)| written)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::mpsc;
    use std::time::Duration;
    use testkit::cancel::drop_after;
    use types::{BucketName, Key, Timestamp, WriteConditions};

    use super::*;
    use crate::{
        BucketOptions, DeleteRequest, Durability, Options, Promised, PutRequest, Source, SourceError,
    };

    struct Zeros(Option<bytes::Bytes>);

    impl Source for Zeros {
        async fn next(&mut self) -> Result<Option<bytes::Bytes>, SourceError> {
            Ok(self.0.take())
        }
    }

    fn open(dir: &std::path::Path) -> Store {
        std::fs::write(dir.join("ballast"), b"").unwrap();
        std::fs::write(dir.join("start-reserve"), b"").unwrap();
        let name = BucketName::new("bucket").unwrap();
        let mut options = Options::new(dir.to_owned(), vec![BucketOptions::new(name)], || Timestamp(1));
        options.durability = Durability::ProcessCrash;
        Store::open_dir(options).unwrap()
    }

    /// A commit that says when it is reached and goes on when it is told to.
    fn gate(store: &Store) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
        let ((reached, is_reached), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
        let wait = move |_: &mut meta::Txn<'_>| {
            reached.send(()).unwrap();
            may_go_on.recv().unwrap();
            Ok::<(), StoreError>(())
        };
        store.0.meta.commit(Order::Shared, wait, drop);
        (is_reached, go_on)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_copy_that_is_decided_and_not_yet_written_keeps_its_blob() {
        let dir = tempfile::tempdir().unwrap();
        let store = open(dir.path());
        let bucket = store.bucket(&BucketName::new("bucket").unwrap()).unwrap();
        let (source, destination) = (Key::new("source").unwrap(), Key::new("destination").unwrap());
        let (headers, conditions) = (types::ObjectHeaders::default(), WriteConditions::default());
        let put = PutRequest {
            bucket,
            key: source.clone(),
            headers,
            conditions: conditions.clone(),
            promised: Promised::default(),
        };
        store.put(put, Zeros(Some(bytes::Bytes::from(vec![0; 100_000])))).await.unwrap();
        let opened = store.open(bucket, &source).await.unwrap();
        store.delete(bucket, DeleteRequest { key: source, if_match: None }).await.unwrap();

        let (first_reached, first) = gate(&store);
        first_reached.recv().unwrap();
        let request = CopyRequest {
            bucket,
            destination: destination.clone(),
            headers: None,
            tags: None,
            conditions,
            algorithm: None,
        };
        assert!(drop_after(1, store.copy(&opened, request)).await.is_none());
        let (second_reached, second) = gate(&store);
        first.send(()).unwrap();
        second_reached.recv().unwrap();
        // The copy is decided, its batch is not written, and its caller is gone.
        drop(opened);
        let pass = tokio::spawn({
            let store = store.clone();
            async move { store.cleanup_pass().await }
        });
        std::thread::sleep(Duration::from_millis(200));
        second.send(()).unwrap();
        pass.await.unwrap().unwrap();
        // A commit behind the copy is answered when the copy is written.
        store.commit(Order::Alone, |_| Ok(())).await.unwrap();

        let copy = store.open(bucket, &destination).await.unwrap();
        let mut reader = copy.read(ByteRange::whole(100_000));
        while let Some(piece) = reader.next().await {
            piece.unwrap();
        }
        assert_eq!(reader.remaining(), 0);
    }
}
