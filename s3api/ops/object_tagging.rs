//! GetObjectTagging, PutObjectTagging, DeleteObjectTagging.

use super::{Call, Reply, answer};
use crate::error::Result;
use crate::xml::{self, Writer};
use crate::{RequestBody, headers};
use http::StatusCode;
use types::Tags;

const ROOT: &str = "Tagging";

/// An object without tags has an empty set: the AWS CLI asks before it copies.
pub async fn get_object_tagging(call: &Call<'_>) -> Reply {
    let object = call.store.head(call.bucket.id, call.key()?).await?;
    let mut xml = Writer::new(ROOT, 256);
    xml.open("TagSet");
    for (key, value) in object.headers.tags.pairs() {
        xml.open("Tag");
        xml.text("Key", key);
        xml.text("Value", value);
        xml.close("Tag");
    }
    xml.close("TagSet");
    Ok(answer::document(xml.finish(ROOT).into_bytes()))
}

pub async fn put_object_tagging(call: &Call<'_>, body: RequestBody) -> Reply {
    call.require_body_digest()?;
    let tags = parse(&call.read_xml(body).await?)?;
    call.store.set_tags(call.bucket.id, call.key()?, tags).await?;
    Ok(answer::empty(StatusCode::OK))
}

pub async fn delete_object_tagging(call: &Call<'_>) -> Reply {
    call.store.set_tags(call.bucket.id, call.key()?, Tags::default()).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// `<Tagging><TagSet><Tag><Key/><Value/></Tag>...`; a form's field `tagging` has the same.
pub fn parse(document: &[u8]) -> Result<Tags> {
    let root = xml::parse(document, ROOT)?;
    let mut sets = root.all("TagSet");
    let (Some(set), None) = (sets.next(), sets.next()) else {
        return Err(xml::malformed());
    };
    let pairs =
        set.all("Tag").map(|tag| Ok((tag.text_of("Key")?.to_owned(), tag.text_of("Value")?.to_owned())));
    Tags::new(pairs.collect::<Result<Vec<_>>>()?).map_err(headers::tag_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Code;

    fn tags(set: &str) -> std::result::Result<usize, Code> {
        parse(format!("<Tagging>{set}</Tagging>").as_bytes()).map(|tags| tags.len()).map_err(|e| e.code)
    }

    #[test]
    fn bodies() {
        let tag = |key: &str| format!("<Tag><Key>{key}</Key><Value>v</Value></Tag>");
        let set = |tags: String| format!("<TagSet>{tags}</TagSet>");
        assert_eq!(tags("<TagSet/>"), Ok(0));
        assert_eq!(tags(&set(tag("a") + &tag("b"))), Ok(2));
        assert_eq!(tags(&set(tag("a") + &tag("a"))), Err(Code::InvalidTag));
        assert_eq!(tags(&set(tag("a&amp;b"))), Err(Code::InvalidTag));
        assert_eq!(tags(&set((0..11).map(|i| tag(&i.to_string())).collect())), Err(Code::BadRequest));
        assert_eq!(tags(""), Err(Code::MalformedXML));
        assert_eq!(tags("<TagSet><Tag><Key>a</Key></Tag></TagSet>"), Err(Code::MalformedXML));
    }
}
