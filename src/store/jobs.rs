//! The records of ordered work: that it is to be done, how far it is, what came of it. Who carries it
//! out, and when, is the node's affair.

use meta::{JobRecord, Order};

use crate::{Store, StoreError};

impl Store {
    /// Notes a job, durably. `None`: one of that kind and subject has not ended yet.
    pub async fn begin_job(
        &self,
        kind: &str,
        subject: &str,
        order: &str,
    ) -> Result<Option<JobRecord>, StoreError> {
        let record = JobRecord::new(kind, subject, order, self.now());
        let noted = record.clone();
        let begun = self.commit(Order::Shared, move |txn| Ok(txn.begin_job(&noted)?)).await?;
        Ok(begun.then_some(record))
    }

    /// Those that have not ended, and of each name the last one that has.
    pub async fn jobs(&self) -> Result<Vec<JobRecord>, StoreError> {
        self.blocking(|inner| Ok(inner.meta.jobs()?)).await
    }

    /// Changes a job's record; what it says then, or `None` if there is none of this name.
    pub async fn change_job<F>(&self, name: &str, change: F) -> Result<Option<JobRecord>, StoreError>
    where
        F: FnOnce(&mut JobRecord) + Send + 'static,
    {
        let name = name.to_owned();
        self.commit(Order::Shared, move |txn| {
            let Some(mut record) = txn.job(&name)? else { return Ok(None) };
            let before = record.clone();
            change(&mut record);
            if record != before {
                txn.put_job(&record);
            }
            Ok(Some(record))
        })
        .await
    }
}
