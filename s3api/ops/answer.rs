//! Shapes that many answers have.

use super::{Call, Reply};
use crate::error::Result;
use crate::response::LateAnswer;
use crate::{ResponseBody, S3Error, xml};
use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode, header};
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// Work that takes longer answers 200 first and tells how it ended in the document.
const PATIENCE: Duration = Duration::from_secs(1);

pub fn empty(status: StatusCode) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Empty);
    *response.status_mut() = status;
    response
}

pub fn document(bytes: Bytes) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::Full(bytes));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    response
}

/// Work that makes a document. It keeps a connection alive that it takes long to answer, as S3
/// does (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html>).
pub async fn slow(
    call: &Call<'_>,
    work: impl Future<Output = Result<xml::Writer>> + Send + 'static,
) -> Reply {
    let mut work: Pin<Box<dyn Future<Output = Result<xml::Writer>> + Send>> = Box::pin(work);
    if let Ok(done) = tokio::time::timeout(PATIENCE, &mut work).await {
        return Ok(document(done?.into_bytes()));
    }
    let (id, resource) = (call.id.clone(), call.path.to_owned());
    let late = async move {
        match work.await {
            Ok(writer) => LateAnswer { document: writer.headless(), error: None },
            Err(error) => LateAnswer { document: late_error(&error, &resource, &id), error: Some(error) },
        }
    };
    let mut response = document(Bytes::new());
    *response.body_mut() = ResponseBody::keep_alive(late);
    Ok(response)
}

fn late_error(error: &S3Error, resource: &str, id: &crate::RequestId) -> Bytes {
    let document = crate::refusal::document(error, resource, id);
    // The declaration is out already.
    let start = document.find("<Error>").unwrap_or_default();
    Bytes::from(document).slice(start..)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Code, RequestId};

    #[test]
    fn a_late_error_has_no_second_declaration() {
        let document = late_error(&S3Error::new(Code::SlowDown, "x"), "/b/k", &RequestId::generate());
        assert!(document.starts_with(b"<Error><Code>SlowDown</Code>"));
    }
}
