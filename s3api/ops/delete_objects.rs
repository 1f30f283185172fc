//! DeleteObjects: up to 1,000 keys; what becomes of each is told one by one
//! (<https://docs.aws.amazon.com/AmazonS3/latest/API/API_DeleteObjects.html>).

use super::{Call, Reply, answer};
use crate::error::{Code, Result, S3Error};
use crate::xml::{self, Element, Writer};
use crate::{RequestBody, router};
use store::DeleteRequest;
use types::condition::ETagMatch;
use types::{ETag, Key};

const ROOT: &str = "DeleteResult";
const MAX_KEYS: usize = 1000;

pub struct Batch {
    quiet: bool,
    pub entries: Vec<Entry>,
}

pub struct Entry {
    /// As the client wrote it.
    pub name: String,
    /// What to do, or why not.
    pub request: Result<DeleteRequest>,
}

pub async fn delete_objects(call: &Call<'_>, body: RequestBody) -> Reply {
    call.require_body_digest()?;
    let batch = parse(&call.read_xml(body).await?)?;
    let requests = batch.entries.iter().filter_map(|entry| entry.request.as_ref().ok().cloned()).collect();
    let mut results = call.store.delete_many(call.bucket.id, requests).await.into_iter();
    let mut xml = Writer::new(ROOT, 64 + 96 * batch.entries.len());
    for entry in batch.entries {
        let outcome = match entry.request {
            Ok(_) => results.next().unwrap_or(Err(store::StoreError::Busy)).map_err(S3Error::from),
            Err(error) => Err(error),
        };
        write_outcome(&mut xml, &entry.name, outcome, batch.quiet);
    }
    Ok(answer::document(xml.finish(ROOT).into_bytes()))
}

fn write_outcome(xml: &mut Writer, name: &str, outcome: Result<bool>, quiet: bool) {
    match outcome {
        Ok(_) if quiet => {}
        Ok(_) => {
            xml.open("Deleted");
            xml.text("Key", name);
            xml.close("Deleted");
        }
        Err(error) => {
            xml.open("Error");
            xml.text("Key", name);
            xml.text("Code", error.code.name());
            xml.text("Message", &error.message);
            xml.close("Error");
        }
    }
}

pub fn parse(document: &[u8]) -> Result<Batch> {
    let root = xml::parse(document, "Delete")?;
    let quiet = match root.optional("Quiet")?.map(str::trim) {
        None | Some("" | "false" | "0") => false,
        Some("true" | "1") => true,
        Some(_) => return Err(xml::malformed()),
    };
    let entries = root.all("Object").map(entry).collect::<Result<Vec<_>>>()?;
    match entries.len() {
        1..=MAX_KEYS => Ok(Batch { quiet, entries }),
        _ => Err(xml::malformed()),
    }
}

fn entry(object: &Element) -> Result<Entry> {
    let name = object.text_of("Key")?.to_owned();
    let request = request(object, &name);
    Ok(Entry { name, request })
}

fn request(object: &Element, name: &str) -> Result<DeleteRequest> {
    match object.optional("VersionId")?.map(str::trim) {
        None | Some("" | "null") => {}
        Some(_) => return Err(S3Error::not_implemented("VersionId")),
    }
    // Conditions that only directory buckets have: not to be ignored.
    if object.all("LastModifiedTime").chain(object.all("Size")).next().is_some() {
        return Err(S3Error::new(Code::NotImplemented, "Deleting by size or time is not implemented."));
    }
    let key = Key::new(name).map_err(|error| router::name_error(&error))?;
    Ok(DeleteRequest { key, if_match: object.optional("ETag")?.map(etag_match) })
}

/// Text that no object of ours can have as ETag matches nothing.
fn etag_match(text: &str) -> ETagMatch {
    match text.trim() {
        "*" => ETagMatch::Any,
        text => ETagMatch::OneOf(ETag::parse(text).into_iter().collect()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn keys(document: &str) -> std::result::Result<Vec<String>, Code> {
        let batch = parse(document.as_bytes()).map_err(|e| e.code)?;
        Ok(batch.entries.into_iter().map(|e| e.name).collect())
    }

    #[test]
    fn forms_that_clients_send() {
        let document = "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Object><Key>a&#xA;b&#34;</Key></Object>\n <Object><VersionId/><Key> c </Key></Object><Quiet>true</Quiet></Delete>";
        let batch = parse(document.as_bytes()).unwrap();
        assert!(batch.quiet);
        assert_eq!(keys(document), Ok(vec!["a\nb\"".to_owned(), " c ".to_owned()]));
    }

    #[test]
    fn counts() {
        let many = |n: usize| format!("<Delete>{}</Delete>", "<Object><Key>k</Key></Object>".repeat(n));
        assert_eq!(keys(&many(1000)).map(|k| k.len()), Ok(1000));
        assert_eq!(keys(&many(1001)), Err(Code::MalformedXML));
        assert_eq!(keys(&many(0)), Err(Code::MalformedXML));
        assert_eq!(keys("<Delete><Object/></Delete>"), Err(Code::MalformedXML));
        assert_eq!(keys(""), Err(Code::MissingRequestBodyError));
    }

    #[test]
    fn one_bad_entry_spoils_only_itself() {
        let long = "k".repeat(1025);
        let document = format!(
            "<Delete><Object><Key>a</Key><ETag>\"x\"</ETag></Object><Object><Key>{long}</Key></Object><Object><Key>b</Key><VersionId>1</VersionId></Object><Object><Key>c</Key><Size>1</Size></Object><Object><Key></Key></Object></Delete>"
        );
        let batch = parse(document.as_bytes()).unwrap();
        let codes: Vec<_> = batch.entries.iter().map(|e| e.request.as_ref().err().map(|e| e.code)).collect();
        assert_eq!(
            codes,
            [
                None,
                Some(Code::KeyTooLongError),
                Some(Code::NotImplemented),
                Some(Code::NotImplemented),
                Some(Code::UserKeyMustBeSpecified)
            ]
        );
        assert_eq!(batch.entries[0].request.as_ref().unwrap().if_match, Some(ETagMatch::OneOf(vec![])));
    }
}
