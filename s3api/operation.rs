//! The operations of S3 that this node has, under AWS's names.

use crate::options::Rights;

macro_rules! operations {
    ($($name:ident $need:ident)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum Operation { $($name),* }

        impl Operation {
            pub const ALL: &'static [Operation] = &[$(Operation::$name),*];

            pub fn name(self) -> &'static str {
                match self { $(Operation::$name => stringify!($name)),* }
            }

            pub fn need(self) -> Need {
                match self { $(Operation::$name => Need::$need),* }
            }
        }
    };
}

operations! {
    ListBuckets Identity
    CreateBucket Identity
    HeadBucket Any
    GetBucketLocation Any
    GetBucketVersioning Any
    ListObjects Read
    ListObjectsV2 Read
    ListMultipartUploads ReadOrWrite
    DeleteObjects Delete
    PostObject Write
    GetObject Read
    HeadObject Read
    PutObject Write
    CopyObject Copy
    DeleteObject Delete
    GetObjectAttributes Read
    GetObjectTagging Read
    PutObjectTagging Write
    DeleteObjectTagging Write
    CreateMultipartUpload Write
    UploadPart Write
    UploadPartCopy Copy
    CompleteMultipartUpload Write
    AbortMultipartUpload Write
    ListParts ReadOrWrite
}

/// What a caller must be allowed to do with the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// A credential, whatever its rights: clients ask these before everything else.
    Identity,
    /// Anything at all.
    Any,
    Read,
    Write,
    Delete,
    /// The state of an upload, for whoever looks at the bucket and for whoever goes on with it.
    ReadOrWrite,
    /// The source is read, the destination written.
    Copy,
}

impl Need {
    pub fn met_by(self, rights: Rights) -> bool {
        let Rights { read, write, delete } = rights;
        match self {
            Need::Identity => true,
            Need::Any => read || write || delete,
            Need::Read => read,
            Need::Write => write,
            Need::Delete => delete,
            Need::ReadOrWrite => read || write,
            Need::Copy => read && write,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needs() {
        let read = Rights { read: true, write: false, delete: false };
        let write = Rights { read: false, write: true, delete: false };
        let allowed = |rights| Operation::ALL.iter().filter(|op| op.need().met_by(rights)).count();
        assert_eq!(allowed(Rights::ALL), Operation::ALL.len());
        assert!(!Operation::CopyObject.need().met_by(read));
        assert!(!Operation::CopyObject.need().met_by(write));
        assert!(!Operation::DeleteObject.need().met_by(write));
        assert!(Operation::AbortMultipartUpload.need().met_by(write));
        assert!(!Operation::PutObjectTagging.need().met_by(read));
        assert_eq!(Operation::ListObjectsV2.name(), "ListObjectsV2");
    }
}
