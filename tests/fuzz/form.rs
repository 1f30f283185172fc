//! A browser's form: its framing, wherever it is cut, and who signed it.
//!
//! Input: a line with the `Content-Type`, then the body. A field `x-amz-signature` that is empty is
//! filled in with the right one.

use crate::pieces::{self, Cut};
use crate::text::first_line;
use s3api::Code;
use s3api::auth::{SigningKeys, authenticate_form, form_is_anonymous};
use s3api::form::{self, Form};
use s3api::fuzz::auth as known;

type Fields = Vec<(String, String)>;

pub fn run(data: &[u8]) {
    let (content_type, body) = first_line(data);
    let Ok(content_type) = std::str::from_utf8(content_type) else { return };
    let Ok(boundary) = form::boundary(content_type.trim_end()) else { return };
    let whole = pieces::run(read(body, 0, &boundary));
    // What is behind the file is counted piece by piece, so a large body may be refused later.
    if body.len() < 10_000 {
        assert_eq!(whole, pieces::run(read(body, 1, &boundary)));
        assert_eq!(whole, pieces::run(read(body, 13, &boundary)));
    }
    if let Ok((fields, _)) = whole {
        signed(fields);
    }
}

async fn read(body: &[u8], size: usize, boundary: &str) -> Result<(Fields, Vec<u8>), Code> {
    let form = Form::read(Cut::into_pieces_of(size, body), boundary).await.map_err(|error| error.code)?;
    let (fields, mut file, mut content) = (form.fields, form.file, Vec::new());
    while let Some(piece) = file.next_piece().await.map_err(|error| error.code)? {
        assert!(!piece.is_empty());
        content.extend_from_slice(&piece);
    }
    Ok((fields, content))
}

fn signed(mut fields: Fields) {
    let _ = form_is_anonymous(&fields);
    let value = |fields: &Fields, name: &str| {
        fields.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.clone())
    };
    let policy = value(&fields, "policy").unwrap_or_default();
    let scope = value(&fields, "x-amz-credential").unwrap_or_default();
    if let Some(signature) = known::sign_policy(&policy, &scope) {
        let empty = |(name, value): &&mut (String, String)| name == "x-amz-signature" && value.is_empty();
        fields.iter_mut().filter(|field| empty(field)).for_each(|(_, value)| value.clone_from(&signature));
    }
    let who = authenticate_form(&fields, "app1-files", &known::options(), &SigningKeys::new(), known::NOW);
    if let Ok(who) = who {
        let checked = known::check_policy(&policy, &fields, "app1-files", known::NOW);
        assert_eq!(checked.ok(), Some(who.length_range), "a form that its policy does not allow");
    }
}
