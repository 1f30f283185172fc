//! Which part of which upload.

use super::Call;
use super::get_object::part_number;
use crate::error::Result;
use store::{Upload, UploadRef};

pub struct PartCall {
    pub upload: UploadRef,
    pub number: u16,
}

impl PartCall {
    pub fn of(call: &Call<'_>) -> Result<Self> {
        let number = part_number(call.query.get("partNumber").unwrap_or_default())?;
        Ok(Self { upload: call.upload()?, number })
    }

    /// That the upload is there, before a body is read for it.
    pub async fn check(&self, call: &Call<'_>) -> Result<Upload> {
        Ok(call.store.upload(&self.upload).await?)
    }
}
