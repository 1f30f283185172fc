//! Pages of other origins (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/ManageCorsUsing.html>).
//!
//! Rules permit nothing that a signature does not: they tell a browser whether it may show an answer
//! to a page.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_HEADERS, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response};

use crate::ResponseBody;
use crate::error::{Code, Result, S3Error};

/// The methods that a rule may allow.
pub const METHODS: [&str; 5] = ["GET", "PUT", "POST", "DELETE", "HEAD"];

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CorsRule {
    /// Exact, or with one `*` for any text.
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    /// Request headers, lower case, likewise.
    pub headers: Vec<String>,
    /// Headers of answers that pages may read.
    pub expose: Vec<String>,
    pub max_age_seconds: Option<u64>,
}

impl CorsRule {
    fn allows(&self, origin: &str, method: &str) -> bool {
        self.origins.iter().any(|pattern| matches(pattern, origin))
            && self.methods.iter().any(|m| m == method)
    }

    fn allows_headers(&self, headers: &[String]) -> bool {
        headers.iter().all(|header| self.headers.iter().any(|pattern| matches(pattern, header)))
    }
}

/// Whether `text` is `pattern`, in which one `*` may stand for anything.
fn matches(pattern: &str, text: &str) -> bool {
    match pattern.split_once('*') {
        None => pattern == text,
        Some((before, after)) => {
            text.len() >= before.len() + after.len() && text.starts_with(before) && text.ends_with(after)
        }
    }
}

/// The answer to `OPTIONS`. AWS gives it without a signature, by the bucket's name alone
/// (<https://docs.aws.amazon.com/AmazonS3/latest/API/RESTOPTIONSobject.html>).
pub(crate) fn preflight(rules: &[CorsRule], request: &HeaderMap) -> Result<Response<ResponseBody>> {
    if rules.is_empty() {
        return Err(not_enabled());
    }
    let origin = text(request, &ORIGIN).ok_or_else(|| {
        S3Error::new(Code::BadRequest, "Insufficient information. Origin request header needed.")
    })?;
    let method = text(request, &ACCESS_CONTROL_REQUEST_METHOD).filter(|method| METHODS.contains(method));
    let method = method.ok_or_else(|| {
        S3Error::new(Code::BadRequest, "Invalid Access-Control-Request-Method: it is missing or unknown.")
    })?;
    let asked = asked_headers(request)?;
    let rule = rules.iter().find(|rule| rule.allows(origin, method) && rule.allows_headers(&asked));
    let rule = rule.ok_or_else(not_allowed)?;
    let mut response = Response::new(ResponseBody::Empty);
    let headers = response.headers_mut();
    say(headers, rule, origin);
    if !asked.is_empty() {
        set(headers, ACCESS_CONTROL_ALLOW_HEADERS, &asked.join(", "));
    }
    if let Some(seconds) = rule.max_age_seconds {
        set(headers, ACCESS_CONTROL_MAX_AGE, &seconds.to_string());
    }
    Ok(response)
}

/// What an answer says to the page that asked, be it an error.
pub(crate) fn decorate(rules: &[CorsRule], origin: Option<&str>, method: &str, answer: &mut HeaderMap) {
    if rules.is_empty() {
        return;
    }
    // Caches must not give one page the answer to another.
    answer.insert(VARY, VARY_ON);
    let Some(origin) = origin else { return };
    if let Some(rule) = rules.iter().find(|rule| rule.allows(origin, method)) {
        say(answer, rule, origin);
    }
}

const VARY_ON: HeaderValue =
    HeaderValue::from_static("Origin, Access-Control-Request-Headers, Access-Control-Request-Method");

fn say(headers: &mut HeaderMap, rule: &CorsRule, origin: &str) {
    // Anybody may see it: then no page is named, and none may add its cookies.
    if rule.origins.iter().any(|pattern| pattern == "*") {
        set(headers, ACCESS_CONTROL_ALLOW_ORIGIN, "*");
    } else {
        set(headers, ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        set(headers, ACCESS_CONTROL_ALLOW_CREDENTIALS, "true");
    }
    set(headers, ACCESS_CONTROL_ALLOW_METHODS, &rule.methods.join(", "));
    if !rule.expose.is_empty() {
        set(headers, ACCESS_CONTROL_EXPOSE_HEADERS, &rule.expose.join(", "));
    }
    headers.insert(VARY, VARY_ON);
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

pub(crate) fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

fn asked_headers(request: &HeaderMap) -> Result<Vec<String>> {
    let Some(value) = request.get(ACCESS_CONTROL_REQUEST_HEADERS) else { return Ok(Vec::new()) };
    let unfit = || S3Error::new(Code::BadRequest, "Invalid Access-Control-Request-Headers.");
    let list = value.to_str().map_err(|_| unfit())?;
    let names = list.split(',').map(|name| name.trim().to_ascii_lowercase()).filter(|name| !name.is_empty());
    names.map(|name| name.parse::<HeaderName>().map(|_| name).map_err(|_| unfit())).collect()
}

fn not_enabled() -> S3Error {
    S3Error::new(Code::AccessForbidden, "CORSResponse: CORS is not enabled for this bucket.")
}

fn not_allowed() -> S3Error {
    S3Error::new(
        Code::AccessForbidden,
        "CORSResponse: This CORS request is not allowed. This is usually because the evaluation of Origin, request \
         method / Access-Control-Request-Method or Access-Control-Request-Headers are not whitelisted by the \
         resource's CORS spec.",
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn rule() -> CorsRule {
        let list = |items: &[&str]| items.iter().map(|item| (*item).to_owned()).collect();
        CorsRule {
            origins: list(&["https://app.example.org", "https://*.example.com"]),
            methods: list(&["GET", "PUT"]),
            headers: list(&["content-type", "x-amz-*"]),
            expose: list(&["ETag"]),
            max_age_seconds: Some(600),
        }
    }

    fn ask(origin: &str, method: &str, headers: &str) -> Result<Response<ResponseBody>> {
        let mut request = HeaderMap::new();
        let pairs = [
            (ORIGIN, origin),
            (ACCESS_CONTROL_REQUEST_METHOD, method),
            (ACCESS_CONTROL_REQUEST_HEADERS, headers),
        ];
        for (name, value) in pairs.into_iter().filter(|(_, value)| !value.is_empty()) {
            request.insert(name, value.parse().unwrap());
        }
        preflight(&[rule()], &request)
    }

    #[test]
    fn a_preflight_that_a_rule_allows() {
        let answer = ask("https://a.example.com", "PUT", "Content-Type, X-Amz-Date").unwrap();
        let header = |name: HeaderName| text(answer.headers(), &name).unwrap_or_default().to_owned();
        assert_eq!(header(ACCESS_CONTROL_ALLOW_ORIGIN), "https://a.example.com");
        assert_eq!(header(ACCESS_CONTROL_ALLOW_METHODS), "GET, PUT");
        assert_eq!(header(ACCESS_CONTROL_ALLOW_HEADERS), "content-type, x-amz-date");
        assert_eq!(header(ACCESS_CONTROL_EXPOSE_HEADERS), "ETag");
        assert_eq!(header(ACCESS_CONTROL_MAX_AGE), "600");
        assert!(header(VARY).starts_with("Origin"));
    }

    #[test]
    fn everything_else_is_refused() {
        let code = |origin, method, headers| ask(origin, method, headers).err().map(|error| error.code);
        assert_eq!(code("https://app.example.org", "GET", ""), None);
        let refused = Some(Code::AccessForbidden);
        assert_eq!(code("http://app.example.org", "GET", ""), refused);
        assert_eq!(code("https://app.example.org.evil.net", "GET", ""), refused);
        assert_eq!(code("https://app.example.org", "DELETE", ""), refused);
        assert_eq!(code("https://app.example.org", "GET", "x-other"), refused);
        assert_eq!(code("", "GET", ""), Some(Code::BadRequest));
        assert_eq!(code("https://app.example.org", "", ""), Some(Code::BadRequest));
        assert_eq!(code("https://app.example.org", "PATCH", ""), Some(Code::BadRequest));
        assert_eq!(preflight(&[], &HeaderMap::new()).err().unwrap().code, Code::AccessForbidden);
    }

    #[test]
    fn answers_are_decorated_for_the_pages_that_may_see_them() {
        let decorated = |rule: CorsRule, origin: Option<&str>, method: &str| {
            let mut answer = HeaderMap::new();
            decorate(&[rule], origin, method, &mut answer);
            (text(&answer, &ACCESS_CONTROL_ALLOW_ORIGIN).map(str::to_owned), answer.contains_key(VARY))
        };
        let own = "https://app.example.org";
        assert_eq!(decorated(rule(), Some(own), "GET"), (Some(own.to_owned()), true));
        assert_eq!(decorated(rule(), Some(own), "DELETE"), (None, true));
        assert_eq!(decorated(rule(), None, "GET"), (None, true));
        let anybody = CorsRule { origins: vec!["*".to_owned()], ..rule() };
        assert_eq!(decorated(anybody, Some(own), "GET"), (Some("*".to_owned()), true));
        let mut untouched = HeaderMap::new();
        decorate(&[], Some(own), "GET", &mut untouched);
        assert!(untouched.is_empty());
    }
}
