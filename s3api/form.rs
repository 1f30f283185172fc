//! `multipart/form-data` (RFC 7578) as it streams in: fields first, then one file.
//!
//! Pure but for the [`Pieces`] it reads from; what comes before the file is bounded.

use crate::error::{Code, Result, S3Error};
use bytes::{Buf as _, Bytes, BytesMut};
use memchr::memmem;
use std::future::Future;

/// Everything but the file
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/RESTObjectPOST.html>).
const MAX_FIELDS_BYTES: usize = 20 << 10;
/// RFC 2046 section 5.1.1.
const MAX_BOUNDARY: usize = 70;

/// A body, piece by piece.
pub trait Pieces: Send {
    fn next_piece(&mut self) -> impl Future<Output = Result<Option<Bytes>>> + Send;
}

/// A form of which the fields were read and the file comes next.
pub struct Form<P> {
    /// In order, `${filename}` replaced.
    pub fields: Vec<(String, String)>,
    pub file: File<P>,
}

/// The file's content on its way in.
pub struct File<P> {
    stream: Stream<P>,
    done: bool,
}

struct Stream<P> {
    pieces: P,
    buffer: BytesMut,
    /// CR LF, two hyphens and the boundary.
    delimiter: Vec<u8>,
}

/// The boundary in a `Content-Type`.
pub fn boundary(content_type: &str) -> Result<String> {
    let value =
        parameter(content_type, "boundary").filter(|value| !value.is_empty() && value.len() <= MAX_BOUNDARY);
    value.ok_or_else(malformed)
}

fn malformed() -> S3Error {
    S3Error::new(
        Code::MalformedPOSTRequest,
        "The body of your POST request is not well-formed multipart/form-data.",
    )
}

fn too_much() -> S3Error {
    S3Error::new(
        Code::MaxPostPreDataLengthExceeded,
        "Your POST request fields preceding the upload file were too large.",
    )
    .with("MaxPostPreDataLengthBytes", MAX_FIELDS_BYTES.to_string())
}

impl<P: Pieces> Form<P> {
    pub async fn read(pieces: P, boundary: &str) -> Result<Self> {
        // The first delimiter may stand at the very beginning, where no line end precedes it.
        let buffer = BytesMut::from(&b"\r\n"[..]);
        let delimiter = [b"\r\n--", boundary.as_bytes()].concat();
        let mut stream = Stream { pieces, buffer, delimiter };
        let mut room = MAX_FIELDS_BYTES;
        let mut fields = Vec::new();
        let first = stream.delimiter.clone();
        stream.take_until(&first, &mut room).await?;
        loop {
            let part = stream.part_head(&mut room).await?;
            if part.name.eq_ignore_ascii_case("file") {
                fill_in(&mut fields, &part.filename);
                return Ok(Self { fields, file: File { stream, done: false } });
            }
            let delimiter = stream.delimiter.clone();
            let value = stream.take_until(&delimiter, &mut room).await?;
            fields.push((part.name, String::from_utf8(value.to_vec()).map_err(|_| malformed())?));
        }
    }
}

/// Browsers once sent whole paths: only the last part is the name.
fn fill_in(fields: &mut [(String, String)], filename: &str) {
    let name = filename.rsplit(['/', '\\']).next().unwrap_or_default();
    for (_, value) in fields.iter_mut().filter(|(_, value)| value.contains("${filename}")) {
        *value = value.replace("${filename}", name);
    }
}

struct PartHead {
    name: String,
    filename: String,
}

impl<P: Pieces> Stream<P> {
    /// `false` at the end of the body.
    async fn fill(&mut self) -> Result<bool> {
        match self.pieces.next_piece().await? {
            Some(piece) => {
                self.buffer.extend_from_slice(&piece);
                Ok(true)
            }
            None => Ok(false),
        }
    }

    /// What stands before `needle`, which is taken too.
    async fn take_until(&mut self, needle: &[u8], room: &mut usize) -> Result<Bytes> {
        let mut searched = 0usize;
        loop {
            let from = searched.saturating_sub(needle.len());
            let tail = self.buffer.get(from..).unwrap_or_default();
            if let Some(at) = memmem::find(tail, needle).map(|at| at + from) {
                *room = room.checked_sub(at + needle.len()).ok_or_else(too_much)?;
                let taken = self.buffer.split_to(at).freeze();
                self.buffer.advance(needle.len());
                return Ok(taken);
            }
            searched = self.buffer.len();
            if searched > *room {
                return Err(too_much());
            }
            if !self.fill().await? {
                return Err(malformed());
            }
        }
    }

    /// From behind a delimiter to the part's content.
    async fn part_head(&mut self, room: &mut usize) -> Result<PartHead> {
        let line = self.take_until(b"\r\n", room).await?;
        if line.starts_with(b"--") {
            return Err(S3Error::new(
                Code::InvalidArgument,
                "POST requires exactly one file upload per request.",
            )
            .with("ArgumentName", "file")
            .with("ArgumentValue", "0"));
        }
        if !line.trim_ascii().is_empty() {
            return Err(malformed());
        }
        let mut head = None;
        loop {
            let line = self.take_until(b"\r\n", room).await?;
            if line.is_empty() {
                return head.ok_or_else(malformed);
            }
            let text = std::str::from_utf8(&line).map_err(|_| malformed())?;
            let (name, value) = text.split_once(':').ok_or_else(malformed)?;
            if name.trim().eq_ignore_ascii_case("content-disposition") {
                head = Some(disposition(value)?);
            }
        }
    }
}

fn disposition(value: &str) -> Result<PartHead> {
    let kind = value.split(';').next().unwrap_or_default().trim();
    if !kind.eq_ignore_ascii_case("form-data") {
        return Err(malformed());
    }
    let name = parameter(value, "name").ok_or_else(malformed)?;
    Ok(PartHead { name, filename: parameter(value, "filename").unwrap_or_default() })
}

/// A parameter of a header's value, quoted or not; quotes and line ends inside are percent-encoded
/// by browsers (<https://html.spec.whatwg.org/multipage/form-control-infrastructure.html#multipart-form-data>).
fn parameter(header: &str, wanted: &str) -> Option<String> {
    let (_, mut rest) = header.split_once(';')?;
    loop {
        let (name, tail) = rest.split_once('=')?;
        let (value, tail) = parameter_value(tail.trim_start())?;
        if name.trim().eq_ignore_ascii_case(wanted) {
            return Some(value);
        }
        rest = tail.trim_start().strip_prefix(';')?;
    }
}

fn parameter_value(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find(';').unwrap_or(text.len());
        let (value, rest) = text.split_at(end);
        return Some((value.trim().to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((browser_decoded(&value), quoted.get(at + 1..)?)),
            // A backslash quotes a quote only: in a Windows path it stands for itself.
            '\\' if quoted.get(at + 1..).is_some_and(|rest| rest.starts_with('"')) => {
                chars.next();
                value.push('"');
            }
            other => value.push(other),
        }
    }
    None
}

fn browser_decoded(value: &str) -> String {
    value.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n")
}

impl<P: Pieces> File<P> {
    /// The next piece of the file; `None` when its end was seen and the rest of the body read.
    pub async fn next_piece(&mut self) -> Result<Option<Bytes>> {
        while !self.done {
            let stream = &mut self.stream;
            if let Some(at) = memmem::find(&stream.buffer, &stream.delimiter) {
                let piece = stream.buffer.split_to(at).freeze();
                stream.buffer.advance(stream.delimiter.len());
                self.finish().await?;
                self.done = true;
                return Ok(Some(piece).filter(|piece| !piece.is_empty()));
            }
            // The end of the buffer may be the beginning of the delimiter.
            let sure = (stream.buffer.len() + 1).saturating_sub(stream.delimiter.len());
            if sure > 0 {
                return Ok(Some(stream.buffer.split_to(sure).freeze()));
            }
            if !stream.fill().await? {
                return Err(malformed());
            }
        }
        Ok(None)
    }

    /// Fields behind the file do not count (same page), but they are read, so that the connection
    /// can be used again.
    async fn finish(&mut self) -> Result<()> {
        let mut behind = self.stream.buffer.len();
        while let Some(piece) = self.stream.pieces.next_piece().await? {
            behind += piece.len();
            if behind > MAX_FIELDS_BYTES {
                return Err(too_much());
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    struct Cut(Vec<Bytes>);

    impl Pieces for Cut {
        async fn next_piece(&mut self) -> Result<Option<Bytes>> {
            Ok((!self.0.is_empty()).then(|| self.0.remove(0)))
        }
    }

    type Read = (Vec<(String, String)>, Vec<u8>);

    async fn read(body: &[u8], size: usize) -> std::result::Result<Read, Code> {
        let pieces = body.chunks(size).map(Bytes::copy_from_slice).collect();
        let form = Form::read(Cut(pieces), "xx").await.map_err(|e| e.code)?;
        let (fields, mut file) = (form.fields, form.file);
        let mut content = Vec::new();
        while let Some(piece) = file.next_piece().await.map_err(|e| e.code)? {
            assert!(!piece.is_empty());
            content.extend_from_slice(&piece);
        }
        Ok((fields, content))
    }

    const FORM: &[u8] = b"--xx\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nuser/${filename}\r\n\
        --xx\r\nContent-Type: text/plain\r\ncontent-disposition: form-data; name=acl\r\n\r\nprivate\r\n\
        --xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"C:\\dir\\a;b.txt\"\r\nContent-Type: text/plain\r\n\r\n\
        line\r\n--x\r\n--xy\r\n\r\n--xx\r\nContent-Disposition: form-data; name=\"submit\"\r\n\r\nGo\r\n--xx--\r\n";

    #[tokio::test]
    async fn wherever_it_is_cut() {
        for size in 1..=FORM.len() {
            let (fields, content) = read(FORM, size).await.unwrap();
            let expected =
                [("key", "user/a;b.txt"), ("acl", "private")].map(|(n, v)| (n.to_owned(), v.to_owned()));
            assert_eq!(fields, expected, "{size}");
            assert_eq!(content, b"line\r\n--x\r\n--xy\r\n", "{size}");
        }
    }

    #[tokio::test]
    async fn an_end_too_early_is_no_form() {
        let end_of_file =
            memmem::find(FORM, b"--xx\r\nContent-Disposition: form-data; name=\"submit\"").unwrap();
        for end in 0..end_of_file {
            assert_eq!(read(&FORM[..end], 7).await.err(), Some(Code::MalformedPOSTRequest), "{end}");
        }
    }

    #[tokio::test]
    async fn empty_file_and_no_file() {
        let empty =
            b"--xx\r\nContent-Disposition: form-data; name=\"file\"; filename=\"\"\r\n\r\n\r\n--xx--\r\n";
        assert_eq!(read(empty, 5).await, Ok((vec![], vec![])));
        let none = b"--xx\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nk\r\n--xx--\r\n";
        assert_eq!(read(none, 5).await.err(), Some(Code::InvalidArgument));
    }

    #[tokio::test]
    async fn fields_are_bounded() {
        let mut form = b"--xx\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n".to_vec();
        form.extend(std::iter::repeat_n(b'a', MAX_FIELDS_BYTES));
        assert_eq!(read(&form, 1000).await.err(), Some(Code::MaxPostPreDataLengthExceeded));
    }

    #[test]
    fn boundaries() {
        let of = |text| boundary(text).map_err(|e| e.code);
        assert_eq!(of("multipart/form-data; boundary=xx"), Ok("xx".to_owned()));
        assert_eq!(of("multipart/form-data; charset=x; Boundary=\"a b\""), Ok("a b".to_owned()));
        for bad in
            ["multipart/form-data", "multipart/form-data; boundary=", "multipart/form-data; boundary=\"x"]
        {
            assert_eq!(of(bad), Err(Code::MalformedPOSTRequest), "{bad}");
        }
    }
}
