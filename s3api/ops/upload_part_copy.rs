//! UploadPartCopy: a part that is a piece of another object.

use super::copy_object::open_source;
use super::part::PartCall;
use super::{Call, Reply, answer};
use crate::error::{Result, S3Error};
use crate::range;
use crate::xml::Writer;
use store::StoreError;
use types::ByteRange;

const ROOT: &str = "CopyPartResult";
const RANGE: &str = "x-amz-copy-source-range";

pub async fn upload_part_copy(call: &Call<'_>) -> Reply {
    let part = PartCall::of(call)?;
    call.refuse_body()?;
    part.check(call).await?;
    let source = open_source(call).await?;
    let range = copied_range(call.header(RANGE).as_deref(), source.object().size)?;
    let max = call.store.limits().max_object_size_bytes;
    if range.len() > max {
        return Err(StoreError::TooLarge { size: range.len(), max }.into());
    }
    let held = call.buffers.for_copy(range.len()).await?;
    let store = call.store.clone();
    answer::slow(call, async move {
        let _held = held;
        let stored = store.copy_part(&part.upload, part.number, &source, range).await?;
        let mut xml = Writer::new(ROOT, 256);
        xml.time("LastModified", stored.modified);
        xml.etag(&stored.etag);
        if let Some(checksum) = &stored.checksum {
            xml.checksum(checksum);
        }
        Ok(xml.finish(ROOT))
    })
    .await
}

fn copied_range(header: Option<&str>, size: u64) -> Result<ByteRange> {
    let Some(text) = header else { return Ok(ByteRange::whole(size)) };
    let range = range::parse_copy(text).ok_or_else(|| {
        let why = "The x-amz-copy-source-range value must be of the form bytes=first-last where first and last are the zero-based offsets of the first and last bytes to copy";
        S3Error::invalid_argument(why, RANGE, text)
    })?;
    if range.end > size {
        let why = format!("Range specified is not valid for source object of size: {size}");
        return Err(S3Error::invalid_argument(why, RANGE, text));
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    #[test]
    fn ranges() {
        let of = |header| copied_range(header, 10).map_err(|e| e.code);
        assert_eq!(of(None), Ok(ByteRange::whole(10)));
        assert_eq!(of(Some("bytes=0-9")), Ok(ByteRange::whole(10)));
        for bad in ["bytes=0-10", "bytes=5-", "bytes=-5", "0-5", "bytes=12-13"] {
            assert_eq!(of(Some(bad)), Err(Code::InvalidArgument), "{bad}");
        }
    }
}
