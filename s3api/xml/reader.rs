//! Requests: a small tree, bounded in depth and in the number of elements.
//!
//! Namespaces and attributes do not matter, nor does the order of elements; a document type or an
//! entity of its own makes a document malformed.

use crate::error::{Code, Result, S3Error};
use quick_xml::Reader;
use quick_xml::events::Event;

/// S3's deepest request is five deep.
const MAX_DEPTH: usize = 8;
/// 10,000 parts with number, ETag and every checksum.
const MAX_ELEMENTS: usize = 100_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of a child that may appear once.
    pub fn optional(&self, name: &str) -> Result<Option<&str>> {
        let mut found = self.children.iter().filter(|child| child.name == name);
        match (found.next(), found.next()) {
            (Some(child), None) if child.children.is_empty() => Ok(Some(&child.text)),
            (None, _) => Ok(None),
            _ => Err(malformed()),
        }
    }

    /// The text of a child that appears exactly once.
    pub fn text_of(&self, name: &str) -> Result<&str> {
        self.optional(name)?.ok_or_else(malformed)
    }
}

pub fn malformed() -> S3Error {
    S3Error::new(
        Code::MalformedXML,
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

/// The document's root, which must be called `root`.
pub fn parse(document: &[u8], root: &str) -> Result<Element> {
    if document.iter().all(u8::is_ascii_whitespace) {
        return Err(S3Error::new(Code::MissingRequestBodyError, "Request Body is empty"));
    }
    let text = std::str::from_utf8(document).map_err(|error| malformed().because(error))?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let element = Builder::default().run(text)?;
    if element.name == root { Ok(element) } else { Err(malformed()) }
}

#[derive(Default)]
struct Builder {
    open: Vec<Element>,
    root: Option<Element>,
    elements: usize,
}

impl Builder {
    fn run(mut self, text: &str) -> Result<Element> {
        let mut reader = Reader::from_str(text);
        loop {
            match reader.read_event().map_err(|error| malformed().because(error))? {
                Event::Start(start) => self.start(start.local_name().as_ref())?,
                Event::Empty(start) => {
                    self.start(start.local_name().as_ref())?;
                    self.end()?;
                }
                Event::End(_) => self.end()?,
                Event::Text(text) => self.text(&text.xml10_content())?,
                Event::CData(data) => self.text(&data.xml10_content())?,
                Event::GeneralRef(reference) => {
                    let mut buffer = [0; 4];
                    self.reference(resolve(&reference)?.encode_utf8(&mut buffer))?;
                }
                Event::Comment(_) | Event::PI(_) | Event::Decl(_) => {}
                Event::DocType(_) => return Err(malformed().because("a document type")),
                Event::Eof => return self.finish(),
            }
        }
    }

    fn start(&mut self, name: &str) -> Result<()> {
        self.elements += 1;
        let second_root = self.open.is_empty() && self.root.is_some();
        if second_root || self.open.len() >= MAX_DEPTH || self.elements > MAX_ELEMENTS {
            return Err(malformed());
        }
        self.open.push(Element { name: name.to_owned(), text: String::new(), children: Vec::new() });
        Ok(())
    }

    fn end(&mut self) -> Result<()> {
        let mut done = self.open.pop().ok_or_else(malformed)?;
        if !done.children.is_empty() {
            // White space between elements was let through as text.
            if !done.text.trim().is_empty() {
                return Err(malformed());
            }
            done.text.clear();
        }
        match self.open.last_mut() {
            Some(parent) => parent.children.push(done),
            None => self.root = Some(done),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<()> {
        if !text.chars().all(is_xml_char) {
            return Err(malformed().because("a character that XML 1.0 does not have"));
        }
        match self.open.last_mut() {
            Some(element) => element.text.push_str(text),
            None if text.trim().is_empty() => {}
            None => return Err(malformed()),
        }
        Ok(())
    }

    fn reference(&mut self, text: &str) -> Result<()> {
        self.open.last().ok_or_else(malformed)?;
        self.text(text)
    }

    fn finish(self) -> Result<Element> {
        if self.open.is_empty() { self.root.ok_or_else(malformed) } else { Err(malformed()) }
    }
}

/// A character reference, or one of the five entities that XML itself has.
fn resolve(reference: &quick_xml::events::BytesRef<'_>) -> Result<char> {
    if let Some(c) = reference.resolve_char_ref().map_err(|error| malformed().because(error))? {
        return Ok(c);
    }
    match &**reference {
        "amp" => Ok('&'),
        "lt" => Ok('<'),
        "gt" => Ok('>'),
        "quot" => Ok('"'),
        "apos" => Ok('\''),
        _ => Err(malformed().because("an entity")),
    }
}

/// <https://www.w3.org/TR/xml/#charsets>
fn is_xml_char(c: char) -> bool {
    matches!(c, '\t' | '\n' | '\r' | '\u{20}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}' | '\u{10000}'..)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(document: &str) -> std::result::Result<String, Code> {
        let root = parse(document.as_bytes(), "D").map_err(|e| e.code)?;
        root.text_of("Key").map(str::to_owned).map_err(|e| e.code)
    }

    #[test]
    fn forms_that_clients_send() {
        for (document, expected) in [
            ("<D><Key>k</Key></D>", "k"),
            (
                "\u{feff}<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<D xmlns=\"urn:x\">\n <Key>k</Key>\n</D>\n",
                "k",
            ),
            ("<x:D xmlns:x=\"urn:x\"><x:Key>k</x:Key></x:D>", "k"),
            ("<D><!-- c --><Key> a&#xA;&#13;b </Key></D>", " a\n\rb "),
            ("<D><Key>&quot;&#34;&amp;&lt;&gt;&apos;</Key></D>", "\"\"&<>'"),
            ("<D><Key><![CDATA[<&>]]>x</Key></D>", "<&>x"),
            ("<D><Key/></D>", ""),
            ("<D><Key>\u{1F600}</Key></D>", "\u{1F600}"),
            ("<D><Key>a\r\nb</Key></D>", "a\nb"),
        ] {
            assert_eq!(key(document).as_deref(), Ok(expected), "{document}");
        }
    }

    #[test]
    fn malformed_ones() {
        let deep = format!("{}{}", "<D>".repeat(9), "</D>".repeat(9));
        for document in [
            "<D>",
            "<D></E>",
            "</D>",
            "<E/>",
            "<D/><D/>",
            "<D><Key>k</Key></D>x",
            "x<D/>",
            "<D><Key>&e;</Key></D>",
            "<!DOCTYPE D [<!ENTITY e \"x\">]><D><Key>&e;</Key></D>",
            "<!DOCTYPE D><D><Key>k</Key></D>",
            "<D><Key>\u{1}</Key></D>",
            "<D><Key>&#1;</Key></D>",
            "<D><Key>&#0;</Key></D>",
            "<D><Key>&#xD800;</Key></D>",
            "<D><Key>a</Key><Key>b</Key></D>",
            "<D>text<Key>a</Key></D>",
            "<D><Key><X/></Key></D>",
            "<D/>",
            "&amp;<D/>",
            "<D><Key>a & b</Key></D>",
            "{\"json\": true}",
            &deep,
        ] {
            assert_eq!(key(document), Err(Code::MalformedXML), "{document}");
        }
        assert!(parse(b"<D>\xff</D>", "D").is_err());
        assert_eq!(key(" \n"), Err(Code::MissingRequestBodyError));
    }

    #[test]
    fn the_number_of_elements_is_bounded() {
        let document = format!("<D>{}</D>", "<a/>".repeat(MAX_ELEMENTS));
        assert_eq!(key(&document), Err(Code::MalformedXML));
    }

    #[test]
    fn nothing_panics_when_cut() {
        let document = "<?xml version=\"1.0\"?><D a=\"b\"><Key>&amp;<![CDATA[x]]></Key><!-- x --></D>";
        for end in 0..document.len() {
            let _ = parse(&document.as_bytes()[..end], "D");
        }
    }
}
