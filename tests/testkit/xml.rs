//! A micro-reader for the XML of answers: elements and text, nothing else.
//!
//! It is for what the node writes, not for what clients send: no attributes, no namespaces, no DTD.

#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Element {
    pub name: String,
    pub text: String,
    pub children: Vec<Element>,
}

impl Element {
    pub fn child(&self, name: &str) -> Option<&Element> {
        self.children.iter().find(|child| child.name == name)
    }

    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of a child, `""` where there is none.
    pub fn text_of(&self, name: &str) -> &str {
        self.child(name).map_or("", |child| child.text.as_str())
    }
}

/// The root element, or why this is not the XML of an answer.
pub fn parse(text: &str) -> Result<Element, String> {
    let mut open = vec![Element::default()];
    let mut rest = text;
    while let Some(at) = rest.find('<') {
        let (before, tagged) = rest.split_at(at);
        top(&mut open)?.text.push_str(&unescape(before));
        let end = tagged.find('>').ok_or("a tag without an end")?;
        let tag = tagged.get(1..end).ok_or("an empty tag")?;
        rest = tagged.get(end + 1..).unwrap_or_default();
        take_tag(&mut open, tag)?;
    }
    match open.as_slice() {
        [root] => root.children.first().cloned().ok_or_else(|| "no element".to_owned()),
        _ => Err("an element without an end".to_owned()),
    }
}

fn top(open: &mut [Element]) -> Result<&mut Element, String> {
    open.last_mut().ok_or_else(|| "an end without a beginning".to_owned())
}

fn take_tag(open: &mut Vec<Element>, tag: &str) -> Result<(), String> {
    if tag.starts_with('?') || tag.starts_with('!') {
        return Ok(());
    }
    if let Some(name) = tag.strip_prefix('/') {
        return close(open, name.trim());
    }
    let (tag, empty) = match tag.strip_suffix('/') {
        Some(tag) => (tag, true),
        None => (tag, false),
    };
    let name = tag.split_whitespace().next().unwrap_or_default().to_owned();
    open.push(Element { name: name.clone(), ..Element::default() });
    if empty { close(open, &name) } else { Ok(()) }
}

fn close(open: &mut Vec<Element>, name: &str) -> Result<(), String> {
    let mut element = open.pop().ok_or("an end without a beginning")?;
    if element.name != name {
        return Err(format!("</{name}> ends <{}>", element.name));
    }
    if !element.children.is_empty() {
        element.text.clear();
    }
    top(open)?.children.push(element);
    Ok(())
}

fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('&') {
        out.push_str(before);
        let (entity, tail) = after.split_once(';').unwrap_or((after, ""));
        out.push(character(entity).unwrap_or('\u{FFFD}'));
        rest = tail;
    }
    out.push_str(rest);
    out
}

fn character(entity: &str) -> Option<char> {
    match entity {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "quot" => Some('"'),
        "apos" => Some('\''),
        _ => {
            let digits = entity.strip_prefix('#')?;
            let code = match digits.strip_prefix(['x', 'X']) {
                Some(hex) => u32::from_str_radix(hex, 16).ok()?,
                None => digits.parse().ok()?,
            };
            char::from_u32(code)
        }
    }
}

/// Escapes text for a request's body.
pub fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn reads_an_answer() {
        let text = "<?xml version=\"1.0\"?>\n<R xmlns=\"x\"><A>1</A><B/><A>a &amp; &#x62;&#99;\n</A></R>";
        let root = parse(text).unwrap();
        assert_eq!(root.name, "R");
        assert_eq!(root.all("A").map(|a| a.text.as_str()).collect::<Vec<_>>(), ["1", "a & bc\n"]);
        assert_eq!(root.text_of("B"), "");
        assert_eq!(root.text_of("C"), "");
    }

    #[test]
    fn refuses_what_is_broken() {
        for text in ["", "<A>", "<A></B>", "</A>", "<A", "text"] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
