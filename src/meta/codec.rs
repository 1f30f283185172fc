//! How values are laid down in bytes. `FORMAT.md` is the specification.

use types::{Algorithm, Checksum, ChecksumKind, ETag, ObjectHeaders, Tags, Timestamp};

/// A stored value that this version cannot read: damaged, or from a newer version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DecodeError(pub &'static str);

pub type Decoded<T> = Result<T, DecodeError>;

/// Appends fields to a value.
pub struct Writer(Vec<u8>);

impl Writer {
    pub fn new(format: u8) -> Self {
        Self(vec![format])
    }

    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    pub fn u8(&mut self, value: u8) {
        self.0.push(value);
    }

    /// LEB128: seven bits a byte, lowest first.
    pub fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }

    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        self.varint(bytes.len() as u64);
        self.raw(bytes);
    }

    pub fn etag(&mut self, tag: &ETag) {
        self.raw(&tag.md5);
        self.varint(tag.parts.map_or(0, |n| u64::from(n) + 1));
    }

    pub fn checksum(&mut self, sum: Option<&Checksum>) {
        let Some(sum) = sum else { return self.u8(0) };
        self.u8(algorithm_code(sum.algorithm()));
        self.raw(sum.bytes());
        self.varint(sum.parts().map_or(0, |n| u64::from(n) + 1));
    }

    pub fn checksum_choice(&mut self, choice: Option<(Algorithm, ChecksumKind)>) {
        match choice {
            None => self.u8(0),
            Some((algorithm, kind)) => {
                self.u8(algorithm_code(algorithm));
                self.u8(u8::from(kind == ChecksumKind::Composite));
            }
        }
    }

    pub fn headers(&mut self, headers: &ObjectHeaders) {
        let fields = header_fields(headers);
        self.varint(fields.iter().filter(|f| f.is_some()).count() as u64);
        for (code, value) in fields.iter().enumerate() {
            if let Some(value) = value {
                self.u8(code as u8);
                self.bytes(value.as_bytes());
            }
        }
        self.pairs(&headers.user_metadata);
        self.pairs(headers.tags.pairs());
    }

    fn pairs(&mut self, pairs: &[(String, String)]) {
        self.varint(pairs.len() as u64);
        for (name, value) in pairs {
            self.bytes(name.as_bytes());
            self.bytes(value.as_bytes());
        }
    }
}

/// The order is the code in the record: append only.
fn header_fields(h: &ObjectHeaders) -> [&Option<String>; 8] {
    [
        &h.content_type,
        &h.cache_control,
        &h.content_disposition,
        &h.content_encoding,
        &h.content_language,
        &h.expires,
        &h.website_redirect_location,
        &h.storage_class,
    ]
}

fn header_field_mut(h: &mut ObjectHeaders, code: u8) -> Option<&mut Option<String>> {
    Some(match code {
        0 => &mut h.content_type,
        1 => &mut h.cache_control,
        2 => &mut h.content_disposition,
        3 => &mut h.content_encoding,
        4 => &mut h.content_language,
        5 => &mut h.expires,
        6 => &mut h.website_redirect_location,
        7 => &mut h.storage_class,
        _ => return None,
    })
}

fn algorithm_code(algorithm: Algorithm) -> u8 {
    match algorithm {
        Algorithm::Crc32 => 1,
        Algorithm::Crc32c => 2,
        Algorithm::Crc64Nvme => 3,
        Algorithm::Sha1 => 4,
        Algorithm::Sha256 => 5,
    }
}

fn algorithm(code: u8) -> Decoded<Algorithm> {
    Algorithm::ALL
        .into_iter()
        .find(|a| algorithm_code(*a) == code)
        .ok_or(DecodeError("unknown checksum algorithm"))
}

/// Takes fields off a value; every length is checked before it is used.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(value: &'a [u8], format: u8) -> Decoded<Self> {
        match value.split_first() {
            Some((found, rest)) if *found == format => Ok(Self(rest)),
            Some(_) => Err(DecodeError("unknown format")),
            None => Err(DecodeError("empty value")),
        }
    }

    /// A value of any format up to `newest`, and which one it is.
    pub fn up_to(value: &'a [u8], newest: u8) -> Decoded<(u8, Self)> {
        match value.split_first() {
            Some((found, rest)) if (1..=newest).contains(found) => Ok((*found, Self(rest))),
            Some(_) => Err(DecodeError("unknown format")),
            None => Err(DecodeError("empty value")),
        }
    }

    /// Nothing may be left: what we do not understand, we must not drop on rewrite.
    pub fn end(self) -> Decoded<()> {
        if self.0.is_empty() { Ok(()) } else { Err(DecodeError("trailing bytes")) }
    }

    pub fn raw(&mut self, len: usize) -> Decoded<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len).ok_or(DecodeError("cut short"))?;
        self.0 = rest;
        Ok(taken)
    }

    pub fn rest(&mut self) -> &'a [u8] {
        std::mem::take(&mut self.0)
    }

    pub fn u8(&mut self) -> Decoded<u8> {
        self.raw(1)?.first().copied().ok_or(DecodeError("cut short"))
    }

    pub fn varint(&mut self) -> Decoded<u64> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                break;
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError("number too large"))
    }

    pub fn number<T: TryFrom<u64>>(&mut self) -> Decoded<T> {
        T::try_from(self.varint()?).map_err(|_| DecodeError("number out of range"))
    }

    pub fn array<const N: usize>(&mut self) -> Decoded<[u8; N]> {
        self.raw(N)?.try_into().map_err(|_| DecodeError("cut short"))
    }

    pub fn bytes(&mut self) -> Decoded<&'a [u8]> {
        let len = self.number()?;
        self.raw(len)
    }

    pub fn text(&mut self) -> Decoded<String> {
        let bytes = self.bytes()?;
        std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| DecodeError("not UTF-8"))
    }

    /// A count of things of at least one byte each: never more than there are bytes.
    pub fn count(&mut self) -> Decoded<usize> {
        let count = self.number()?;
        if count > self.0.len() { Err(DecodeError("count beyond the value")) } else { Ok(count) }
    }

    fn optional_u16(&mut self) -> Decoded<Option<u16>> {
        match self.varint()? {
            0 => Ok(None),
            n => u16::try_from(n - 1).map(Some).map_err(|_| DecodeError("number out of range")),
        }
    }

    pub fn timestamp(&mut self) -> Decoded<Timestamp> {
        self.varint().map(Timestamp)
    }

    pub fn etag(&mut self) -> Decoded<ETag> {
        Ok(ETag { md5: self.array()?, parts: self.optional_u16()? })
    }

    pub fn checksum(&mut self) -> Decoded<Option<Checksum>> {
        let code = self.u8()?;
        if code == 0 {
            return Ok(None);
        }
        let algorithm = algorithm(code)?;
        let sum =
            Checksum::new(algorithm, self.raw(algorithm.len())?).ok_or(DecodeError("checksum length"))?;
        Ok(Some(match self.optional_u16()? {
            Some(parts) => sum.composite_of(parts),
            None => sum,
        }))
    }

    pub fn checksum_choice(&mut self) -> Decoded<Option<(Algorithm, ChecksumKind)>> {
        let code = self.u8()?;
        if code == 0 {
            return Ok(None);
        }
        let kind = match self.u8()? {
            0 => ChecksumKind::FullObject,
            1 => ChecksumKind::Composite,
            _ => return Err(DecodeError("unknown checksum kind")),
        };
        Ok(Some((algorithm(code)?, kind)))
    }

    pub fn headers(&mut self) -> Decoded<ObjectHeaders> {
        let mut headers = ObjectHeaders::default();
        for _ in 0..self.count()? {
            let code = self.u8()?;
            let value = self.text()?;
            *header_field_mut(&mut headers, code).ok_or(DecodeError("unknown header"))? = Some(value);
        }
        headers.user_metadata = self.pairs()?;
        headers.tags = Tags::new(self.pairs()?).map_err(|_| DecodeError("bad tags"))?;
        Ok(headers)
    }

    fn pairs(&mut self) -> Decoded<Vec<(String, String)>> {
        (0..self.count()?).map(|_| Ok((self.text()?, self.text()?))).collect()
    }
}
