//! Multipart uploads. Complete is metadata: an object over the parts' blobs.

use bytes::Bytes;
use meta::Cause;
use meta::{Account, BlobPart, Draft, FinishedUpload, Order, PartRecord, Txn, UploadRecord};
use std::sync::Arc;
use types::checksum::composite;
use types::{
    Algorithm, BlobId, ByteRange, Checksum, ChecksumKind, ETag, Key, MAX_OBJECT_SIZE_BYTES,
    MIN_PART_SIZE_BYTES, UploadId, Version,
};

use crate::ingest::Ingested;
use crate::md5::Md5;
use crate::purpose::Purpose;
use crate::snapshot::Joint;
use crate::{
    CompleteUpload, CreateUpload, NamedPart, OpenObject, PartList, Promised, Reader, Source, SourceError,
    Store, StoreError, StoredPart, Upload, UploadRef, Written,
};

impl Upload {
    pub(crate) fn of(key: Key, id: UploadId, record: UploadRecord) -> Self {
        let UploadRecord { initiated, checksum, headers } = record;
        Self { key, id, initiated, headers, checksum }
    }
}

fn stored(number: u16, part: &PartRecord) -> StoredPart {
    let PartRecord { size, etag, modified, checksum, .. } = *part;
    StoredPart { number, size, etag, modified, checksum }
}

impl Store {
    pub async fn create_upload(&self, request: CreateUpload) -> Result<UploadId, StoreError> {
        self.check_room()?;
        let secret = getrandom::u64().map_err(|error| StoreError::Storage(error.to_string()))?;
        let id = UploadId { sequence: self.0.meta.next_id()?, secret };
        let CreateUpload { bucket, key, headers, checksum } = request;
        let record = UploadRecord { initiated: self.now(), checksum, headers };
        self.commit(Order::Shared, move |txn| {
            txn.add_upload(bucket, &key, id, &record);
            Ok(id)
        })
        .await
    }

    pub async fn upload(&self, upload: &UploadRef) -> Result<Upload, StoreError> {
        let UploadRef { bucket, key, id } = upload.clone();
        self.blocking(move |inner| {
            let record = inner.meta.upload(bucket, &key, id)?.ok_or(StoreError::NoSuchUpload)?;
            Ok(Upload::of(key, id, record))
        })
        .await
    }

    pub async fn put_part<S: Source>(
        &self,
        upload: &UploadRef,
        number: u16,
        mut promised: Promised,
        source: S,
    ) -> Result<StoredPart, StoreError> {
        let begun = self.upload(upload).await?;
        agree_on_algorithm(&begun, &mut promised)?;
        if let Some(size) = promised.size.filter(|size| *size > self.limits().max_object_size_bytes) {
            return Err(StoreError::TooLarge { size, max: self.limits().max_object_size_bytes });
        }
        let purpose =
            Purpose { bucket: upload.bucket, key: &upload.key, headers: &begun.headers, part: Some(number) };
        let Ingested { blob, etag, checksum, room, landed } =
            self.ingest(purpose, &promised, 0, source).await?;
        let blob_id = blob.id;
        let part = PartRecord {
            blob: blob.id,
            size: blob.size,
            etag,
            modified: self.now(),
            checksum: Some(checksum),
        };
        let UploadRef { bucket, key, id } = upload.clone();
        let work = move |txn: &mut Txn<'_>| {
            txn.upload(bucket, &key, id)?.ok_or(StoreError::NoSuchUpload)?;
            txn.add_blob(blob);
            txn.write_part(bucket, id, number, &part)?;
            txn.check_quota(Account::Bucket(bucket), &room)?;
            Ok(stored(number, &part))
        };
        self.commit_landed(Order::Shared, blob_id, landed, work).await
    }

    /// The bytes are read and written anew: the part needs an MD5 of its own, and must not keep a
    /// large blob alive for a small range of it.
    pub async fn copy_part(
        &self,
        upload: &UploadRef,
        number: u16,
        source: &OpenObject,
        range: ByteRange,
    ) -> Result<StoredPart, StoreError> {
        let promised = Promised { size: Some(range.len()), ..Promised::default() };
        self.put_part(upload, number, promised, FromObject(source.read(range))).await
    }

    pub async fn abort_upload(&self, upload: &UploadRef) -> Result<(), StoreError> {
        let UploadRef { bucket, key, id } = upload.clone();
        self.commit(Order::Alone, move |txn| {
            let record = txn.upload(bucket, &key, id)?.ok_or(StoreError::NoSuchUpload)?;
            let parts = txn.parts(id)?;
            txn.end_upload(bucket, &key, id, &parts, |_| false)?;
            txn.end_expiry(record.initiated, id);
            Ok(())
        })
        .await
    }

    pub async fn list_parts(
        &self,
        upload: &UploadRef,
        after: u16,
        max: usize,
    ) -> Result<PartList, StoreError> {
        let UploadRef { bucket, key, id } = upload.clone();
        self.blocking(move |inner| {
            let record = inner.meta.upload(bucket, &key, id)?.ok_or(StoreError::NoSuchUpload)?;
            let mut parts = inner.meta.parts(id, after, max.saturating_add(1))?;
            let truncated = parts.len() > max;
            parts.truncate(max);
            let parts = parts.iter().map(|(number, part)| stored(*number, part)).collect();
            Ok(PartList { upload: Upload::of(key, id, record), parts, truncated })
        })
        .await
    }

    pub async fn complete_upload(&self, request: CompleteUpload) -> Result<Written, StoreError> {
        let (now, name) = (self.now(), self.noted_bucket(request.upload.bucket));
        let work = move |txn: &mut Txn<'_>| {
            let UploadRef { bucket, key, id } = &request.upload;
            let Some(upload) = txn.upload(*bucket, key, *id)? else {
                return Ok((again(txn, &request)?, None));
            };
            let parts = txn.parts(*id)?;
            let chosen = choose(&request.parts, &parts, upload.checksum)?;
            let size = chosen.iter().map(|(_, part)| part.size).sum();
            check_size(size, request.object_size)?;
            let checksum = whole_checksum(upload.checksum, &chosen, &request)?;
            let etag = multipart_etag(&chosen)?;
            txn.end_upload(*bucket, key, *id, &parts, |number| {
                chosen.binary_search_by_key(&number, |(chosen, _)| *chosen).is_ok()
            })?;
            txn.end_expiry(upload.initiated, *id);
            let blob = BlobId(txn.next_id()?);
            let layout = chosen.iter().map(|(number, part)| BlobPart {
                number: *number,
                blob: part.blob,
                size: part.size,
                checksum: part.checksum,
            });
            let layout: Vec<BlobPart> = layout.collect();
            txn.add_composite(blob, *bucket, layout.clone());
            let draft =
                Draft { blob, inline: false, size, etag, modified: now, checksum, headers: upload.headers };
            txn.written_by(Cause::Complete);
            let record = txn.write_object(*bucket, key, draft, &request.conditions)?;
            txn.note_finished(&FinishedUpload {
                id: *id,
                bucket: *bucket,
                key: key.clone(),
                etag,
                version: record.version,
                modified: now,
                size,
                checksum,
            });
            txn.queue_expiry(*bucket, key, *id, now);
            let joint = name.map(|bucket| Joint {
                blob,
                bucket,
                key: key.clone(),
                upload: Some(*id),
                modified: now,
                etag,
                checksum,
                parts: layout,
            });
            Ok((Written::of(&record), joint))
        };
        let (written, joint) = self.commit(Order::Alone, work).await?;
        self.note_joint(joint).await;
        Ok(written)
    }
}

/// A client that did not hear the answer asks again: the same list gets the same answer.
fn again(txn: &Txn<'_>, request: &CompleteUpload) -> Result<Written, StoreError> {
    let UploadRef { bucket, key, id } = &request.upload;
    let note = txn.finished(*id)?.filter(|note| note.bucket == *bucket && note.key == *key);
    let note = note.ok_or(StoreError::NoSuchUpload)?;
    let mut md5 = Md5::new();
    for part in &request.parts {
        md5.update(&part.etag.ok_or(StoreError::NoSuchUpload)?.md5);
    }
    if md5.finish() != note.etag.md5 {
        return Err(StoreError::NoSuchUpload);
    }
    let FinishedUpload { etag, version, modified, size, checksum, .. } = note;
    Ok(Written { etag, version: Version(version.0), modified, size, checksum })
}

fn agree_on_algorithm(upload: &Upload, promised: &mut Promised) -> Result<(), StoreError> {
    let Some((algorithm, _)) = upload.checksum else { return Ok(()) };
    let given = promised.checksum.map(|c| c.algorithm()).or(promised.algorithm);
    match given {
        Some(given) if given != algorithm => Err(StoreError::InvalidRequest(format!(
            "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
            algorithm.name().to_lowercase(),
            given.name().to_lowercase()
        ))),
        _ => {
            promised.algorithm = Some(algorithm);
            Ok(())
        }
    }
}

type Parts = Vec<(u16, PartRecord)>;

/// The named parts as they are stored, in order.
fn choose(
    named: &[NamedPart],
    parts: &[(u16, PartRecord)],
    checksum: Option<(Algorithm, ChecksumKind)>,
) -> Result<Parts, StoreError> {
    let mut chosen: Parts = Vec::with_capacity(named.len());
    for (index, name) in named.iter().enumerate() {
        let number = name.number;
        if chosen.last().is_some_and(|(before, _)| *before >= number) {
            return Err(StoreError::InvalidPartOrder);
        }
        let found = parts.binary_search_by_key(&number, |(number, _)| *number).ok();
        let (_, part) = found.and_then(|at| parts.get(at)).ok_or(StoreError::InvalidPart { number })?;
        let same_sum = name.checksum.is_none_or(|sum| Some(sum) == part.checksum);
        if name.etag != Some(part.etag) || !same_sum {
            return Err(StoreError::InvalidPart { number });
        }
        if let (Some((algorithm, ChecksumKind::Composite)), None) = (checksum, name.checksum) {
            return Err(StoreError::InvalidRequest(format!(
                "The upload was created using a {} checksum. The complete request must include the checksum for each part. It was missing for part {number} in the request.",
                algorithm.name().to_lowercase()
            )));
        }
        if index + 1 < named.len() && part.size < MIN_PART_SIZE_BYTES {
            return Err(StoreError::PartTooSmall { number, size: part.size, min: MIN_PART_SIZE_BYTES });
        }
        chosen.push((number, part.clone()));
    }
    Ok(chosen)
}

fn check_size(size: u64, promised: Option<u64>) -> Result<(), StoreError> {
    if size > MAX_OBJECT_SIZE_BYTES {
        return Err(StoreError::TooLarge { size, max: MAX_OBJECT_SIZE_BYTES });
    }
    match promised {
        Some(promised) if promised != size => Err(StoreError::InvalidRequest(format!(
            "The provided 'x-amz-mp-object-size' header value {promised} does not match what was computed: {size}"
        ))),
        _ => Ok(()),
    }
}

fn multipart_etag(parts: &[(u16, PartRecord)]) -> Result<ETag, StoreError> {
    let mut md5 = Md5::new();
    parts.iter().for_each(|(_, part)| md5.update(&part.etag.md5));
    let count = u16::try_from(parts.len()).map_err(|_| StoreError::InvalidPartOrder)?;
    Ok(ETag { md5: md5.finish(), parts: Some(count) })
}

/// The object's checksum from its parts'. Without an algorithm at Create it is a CRC64NVME of the
/// whole, where the parts have one.
fn whole_checksum(
    choice: Option<(Algorithm, ChecksumKind)>,
    parts: &[(u16, PartRecord)],
    request: &CompleteUpload,
) -> Result<Option<Checksum>, StoreError> {
    let (_, kind) = choice.unwrap_or((Algorithm::Crc64Nvme, ChecksumKind::FullObject));
    if choice.is_some() && request.kind.is_some_and(|given| given != kind) {
        return Err(StoreError::InvalidRequest(
            "The upload was created with another checksum type than the complete request names.".to_owned(),
        ));
    }
    let sums: Vec<Checksum> = parts.iter().filter_map(|(_, part)| part.checksum).collect();
    if sums.len() != parts.len() {
        return Ok(None);
    }
    let whole = match (kind, sums.split_first()) {
        (_, None) => None,
        (ChecksumKind::Composite, Some((first, _))) => composite(first.algorithm(), &sums),
        (ChecksumKind::FullObject, Some((first, rest))) => rest
            .iter()
            .zip(parts.iter().skip(1))
            .try_fold(*first, |whole, (sum, (_, part))| whole.combine(sum, part.size)),
    };
    let promised = request.checksum.filter(|_| choice.is_some());
    match (promised, whole) {
        (Some(promised), Some(whole))
            if promised.bytes() != whole.bytes() || promised.algorithm() != whole.algorithm() =>
        {
            Err(StoreError::Digest(crate::DigestMismatch::Checksum(promised.algorithm())))
        }
        _ => Ok(whole),
    }
}

/// An object's bytes as a body on its way in.
struct FromObject(Reader);

impl Source for FromObject {
    async fn next(&mut self) -> Result<Option<Bytes>, SourceError> {
        self.0.next().await.transpose().map_err(|error| Box::new(Arc::new(error)) as SourceError)
    }
}
