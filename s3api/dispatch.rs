//! One request from its head to its answer: who asks, what for, whether they may, then the verb.

use crate::auth::{self, Access};
use crate::error::{Code, Result, S3Error};
use crate::face::Face;
use crate::operation::{Need, Operation};
use crate::ops::{self, Call, Reply};
use crate::query::Query;
use crate::rates::Toll;
use crate::router::{self, Target};
use crate::server::{Answered, Handler};
use crate::{
    Audit, Bucket, Credential, Options, RequestBody, RequestId, Rights, anonymous, cors, headers, refusal,
};
use http::request::Parts;
use http::{Method, Request, header};
use std::net::SocketAddr;
use types::Key;

impl Handler for Face {
    async fn handle(&self, request: Request<RequestBody>, id: RequestId, _peer: SocketAddr) -> Answered {
        let options = self.options.current();
        let (head, body) = request.into_parts();
        let (mut audit, mut toll) = (Audit::default(), None);
        let mut response = match self.answer(&options, &head, body, &id, &mut audit, &mut toll).await {
            Ok(response) => response,
            Err(error) => {
                audit.failed(&error);
                refusal::response(&error, &head, &id, false)
            }
        };
        let bucket = audit.bucket.as_deref().and_then(|name| options.buckets.get(name));
        if let Some(bucket) = bucket.filter(|_| head.method != Method::OPTIONS) {
            let origin = cors::text(&head.headers, &header::ORIGIN);
            cors::decorate(&bucket.cors, origin, head.method.as_str(), response.headers_mut());
        }
        Answered { response, audit, toll }
    }
}

impl Face {
    async fn answer(
        &self,
        options: &Options,
        head: &Parts,
        body: RequestBody,
        id: &RequestId,
        audit: &mut Audit,
        toll: &mut Option<Toll>,
    ) -> Reply {
        let now = (options.clock)();
        let path = head.uri.path();
        let host = head.headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let target = router::target(path, host, options.domain.as_deref())?;
        audit.bucket.clone_from(&target.bucket);
        audit.key = target.key.as_ref().map(Key::to_string);
        if head.method == Method::OPTIONS {
            audit.operation = "PreflightRequest";
            let bucket = target.bucket.as_deref().and_then(|name| options.buckets.get(name));
            return cors::preflight(bucket.map_or(&[], |bucket| &bucket.cors), &head.headers);
        }
        let raw_query = head.uri.query().unwrap_or_default();
        let query = Query::parse(raw_query)?;
        let routed = router::route(&head.method, &target, &query, &head.headers);
        audit.operation = routed.as_ref().map_or("Unsupported", |operation| operation.name());

        let signed_head = auth::Head {
            method: &head.method,
            path,
            query: raw_query,
            headers: &head.headers,
            virtual_bucket: target.bucket.as_deref().filter(|_| target.virtual_host),
        };
        let access = auth::authenticate(&signed_head, options, &self.keys, now)?;
        if let Access::Signed(signed) = &access {
            audit.access_key_id = Some(signed.credential.access_key_id.clone());
            *toll = Some(self.toll(options, &signed.credential)?);
        }
        if matches!(routed, Ok(Operation::PostObject)) {
            return Box::pin(self.post(options, head, body, &target, &access, audit, toll)).await;
        }
        let (bucket, rights) = reach(options, &access, &target)?;
        let operation = routed?;
        permit(operation, &access, rights)?;
        if matches!(access, Access::Anonymous) && !anonymous::within(bucket, operation, &target, &query) {
            return Err(S3Error::access_denied());
        }
        check_head(operation, &access, head)?;
        let headers = &head.headers;
        let call = Call {
            store: &self.store,
            options,
            buffers: &self.buffers,
            bucket,
            target: &target,
            query: &query,
            headers,
            path,
            access: &access,
            id,
            now,
        };
        perform(operation, &call, body).await
    }

    /// Only who has proved who they are can empty the purse of a credential.
    fn toll(&self, options: &Options, credential: &Credential) -> Result<Toll> {
        let rate = credential.rate.unwrap_or(options.rates.credential);
        Toll::take(&self.purses, &credential.access_key_id, rate)
    }

    #[allow(clippy::too_many_arguments)]
    async fn post(
        &self,
        options: &Options,
        head: &Parts,
        body: RequestBody,
        target: &Target,
        access: &Access,
        audit: &mut Audit,
        toll: &mut Option<Toll>,
    ) -> Reply {
        if matches!(access, Access::Signed(_)) {
            return Err(S3Error::new(
                Code::InvalidRequest,
                "A form is signed in its fields, not in the request's head.",
            ));
        }
        let post = ops::post_object::Post {
            store: &self.store,
            options,
            buffers: &self.buffers,
            keys: &self.keys,
            purses: &self.purses,
            target,
            headers: &head.headers,
            now: (options.clock)(),
        };
        ops::post_object::post_object(&post, body, audit, toll).await
    }
}

/// The bucket that the caller may reach, which must be the one they name: another, whether it
/// exists or not, is 403, so that names do not leak.
fn reach<'a>(options: &'a Options, access: &'a Access, target: &Target) -> Result<(&'a Bucket, Rights)> {
    let (bucket, rights) = match access {
        Access::Signed(signed) => (&signed.credential.bucket, signed.credential.rights),
        Access::Anonymous => {
            let named = target.bucket.as_deref().and_then(|name| options.buckets.get(name));
            let bucket = named.ok_or_else(S3Error::access_denied)?;
            (bucket, Rights { read: bucket.anonymous.read, write: bucket.anonymous.write, delete: false })
        }
    };
    match target.bucket.as_deref() {
        Some(name) if name != bucket.name.as_str() => Err(S3Error::access_denied()),
        _ if !Need::Any.met_by(rights) => Err(S3Error::access_denied()),
        _ => Ok((bucket, rights)),
    }
}

fn permit(operation: Operation, access: &Access, rights: Rights) -> Result<()> {
    let nobody = matches!(access, Access::Anonymous) && operation.need() == Need::Identity;
    if nobody || !operation.need().met_by(rights) {
        return Err(S3Error::access_denied());
    }
    Ok(())
}

/// What can be refused by the head alone.
fn check_head(operation: Operation, access: &Access, head: &Parts) -> Result<()> {
    // The answer is the same whatever the bucket should have been like.
    if operation != Operation::CreateBucket {
        headers::refuse_unsupported(&head.headers)?;
    }
    match (operation, access) {
        (Operation::PutObject | Operation::UploadPart, _) | (_, Access::Anonymous) => Ok(()),
        (_, Access::Signed(signed)) => signed.payload.refuse_chunked(),
    }
}

/// A verb that takes a body in has a large future, which every request would carry (and move) if it were not boxed.
pub(crate) async fn perform(operation: Operation, call: &Call<'_>, body: RequestBody) -> Reply {
    use Operation as Op;
    match operation {
        Op::ListBuckets => ops::list_buckets::list_buckets(call),
        Op::CreateBucket => ops::create_bucket::create_bucket(call),
        Op::HeadBucket => ops::head_bucket::head_bucket(call),
        Op::GetBucketLocation => ops::get_bucket_location::get_bucket_location(),
        Op::GetBucketVersioning => ops::get_bucket_versioning::get_bucket_versioning(),
        Op::ListObjects => ops::list_objects::list_objects(call).await,
        Op::ListObjectsV2 => ops::list_objects_v2::list_objects_v2(call).await,
        Op::ListMultipartUploads => ops::list_multipart_uploads::list_multipart_uploads(call).await,
        Op::DeleteObjects => ops::delete_objects::delete_objects(call, body).await,
        Op::PostObject => Err(S3Error::access_denied()),
        Op::GetObject => ops::get_object::get_object(call).await,
        Op::HeadObject => ops::head_object::head_object(call).await,
        Op::PutObject => Box::pin(ops::put_object::put_object(call, body)).await,
        Op::CopyObject => Box::pin(ops::copy_object::copy_object(call)).await,
        Op::DeleteObject => ops::delete_object::delete_object(call).await,
        Op::GetObjectAttributes => ops::get_object_attributes::get_object_attributes(call).await,
        Op::GetObjectTagging => ops::object_tagging::get_object_tagging(call).await,
        Op::PutObjectTagging => ops::object_tagging::put_object_tagging(call, body).await,
        Op::DeleteObjectTagging => ops::object_tagging::delete_object_tagging(call).await,
        Op::CreateMultipartUpload => ops::create_multipart_upload::create_multipart_upload(call).await,
        Op::UploadPart => Box::pin(ops::upload_part::upload_part(call, body)).await,
        Op::UploadPartCopy => Box::pin(ops::upload_part_copy::upload_part_copy(call)).await,
        Op::CompleteMultipartUpload => {
            ops::complete_multipart_upload::complete_multipart_upload(call, body).await
        }
        Op::AbortMultipartUpload => ops::abort_multipart_upload::abort_multipart_upload(call).await,
        Op::ListParts => ops::list_parts::list_parts(call).await,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::auth::{Authenticated, Payload, Via};
    use crate::{Anonymous, Secret};
    use std::sync::Arc;
    use types::{BucketId, BucketName, Timestamp};

    fn bucket(name: &str, anonymous: Anonymous) -> Arc<Bucket> {
        let name = BucketName::new(name).unwrap();
        let (anonymous_prefixes, cors) = (Vec::new(), Vec::new());
        Arc::new(Bucket { name, id: BucketId(1), created: Timestamp(0), anonymous, anonymous_prefixes, cors })
    }

    fn options() -> Options {
        let buckets = [
            bucket("own", Anonymous::default()),
            bucket("readable", Anonymous { read: true, write: false }),
            bucket("writable", Anonymous { read: false, write: true }),
        ];
        Options {
            buckets: buckets.into_iter().map(|bucket| (bucket.name.as_str().to_owned(), bucket)).collect(),
            ..crate::auth::testing::options()
        }
    }

    fn signed(rights: Rights) -> Access {
        let credential = Credential {
            access_key_id: "AKID".to_owned(),
            secret: Secret::new("secret".to_owned()),
            rights,
            rate: None,
            bucket: bucket("own", Anonymous::default()),
        };
        Access::Signed(Authenticated {
            credential,
            payload: Payload::Unsigned,
            via: Via::Header,
            length_range: None,
        })
    }

    fn may(access: &Access, operation: Operation, name: Option<&str>) -> bool {
        let target = Target { bucket: name.map(str::to_owned), ..Target::default() };
        let options = options();
        let permitted =
            reach(&options, access, &target).and_then(|(_, rights)| permit(operation, access, rights));
        match permitted {
            Ok(()) => true,
            Err(error) => {
                assert_eq!(error.code, Code::AccessDenied);
                false
            }
        }
    }

    #[test]
    fn a_credential_reaches_its_own_bucket_only() {
        let access = signed(Rights::ALL);
        for operation in Operation::ALL {
            assert!(may(&access, *operation, Some("own")), "{operation:?}");
            for other in ["readable", "writable", "missing", "", "OWN"] {
                assert!(!may(&access, *operation, Some(other)), "{operation:?} {other}");
            }
        }
        assert!(may(&access, Operation::ListBuckets, None));
    }

    #[test]
    fn rights_limit_a_credential() {
        let read = signed(Rights { read: true, write: false, delete: false });
        let write = signed(Rights { read: false, write: true, delete: false });
        assert!(may(&read, Operation::GetObject, Some("own")));
        assert!(!may(&read, Operation::PutObject, Some("own")));
        assert!(!may(&read, Operation::DeleteObject, Some("own")));
        assert!(may(&write, Operation::PutObject, Some("own")));
        assert!(!may(&write, Operation::GetObject, Some("own")));
        assert!(!may(&write, Operation::DeleteObjects, Some("own")));
        assert!(!may(&write, Operation::CopyObject, Some("own")));
        assert!(!may(
            &signed(Rights { read: false, write: false, delete: false }),
            Operation::HeadBucket,
            Some("own")
        ));
    }

    #[test]
    fn nobody_in_particular() {
        use Operation as Op;
        let may = |operation, name| may(&Access::Anonymous, operation, Some(name));
        for operation in Operation::ALL {
            assert!(!may(*operation, "own"), "{operation:?}");
            assert!(!may(*operation, "missing"), "{operation:?}");
        }
        let allowed = |name| Op::ALL.iter().copied().filter(|op| may(*op, name)).collect::<Vec<_>>();
        let (read, written) = (allowed("readable"), allowed("writable"));
        assert!(
            read.contains(&Op::GetObject)
                && read.contains(&Op::ListObjectsV2)
                && !read.contains(&Op::PutObject)
        );
        assert!(
            written.contains(&Op::PutObject)
                && written.contains(&Op::UploadPart)
                && !written.contains(&Op::GetObject)
        );
        for never in [Op::DeleteObject, Op::DeleteObjects, Op::CreateBucket, Op::ListBuckets] {
            assert!(!read.contains(&never) && !written.contains(&never), "{never:?}");
        }
    }

    #[test]
    fn chunked_bodies_are_for_uploads() {
        let Access::Signed(mut signed) = signed(Rights::ALL) else { unreachable!("made above") };
        signed.payload = Payload::UnsignedChunks;
        let access = Access::Signed(signed);
        let (head, ()) = Request::new(()).into_parts();
        assert!(check_head(Operation::PutObject, &access, &head).is_ok());
        let refused = check_head(Operation::DeleteObjects, &access, &head).unwrap_err();
        assert_eq!(refused.code, Code::InvalidRequest);
    }
}
