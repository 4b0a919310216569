//! Extractors that name the offending field, and that fail late.
//!
//! Dropshot extracts before the handler runs, that is before anybody was authenticated; so these
//! keep what they found, good or bad, and the handler asks for it after it knows the caller. A
//! stranger then learns nothing about what a valid body looks like, and a bad body costs its sender
//! one request of the limit. In the OpenAPI document they look like Dropshot's own.

use super::inspect::{MAX_ISSUES, completed, inspect};
use super::several::grouped;
use crate::error::{Error, Issue, Result, Step};
use async_trait::async_trait;
use dropshot::{
    ApiEndpointBodyContentType, Body, ExclusiveExtractor, ExtractorMetadata, Header, HttpError,
    Query, RequestContext, ServerContext, SharedExtractor, TypedBody,
};
use http_body_util::BodyExt;
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_path_to_error::Segment;
use sha2::{Digest, Sha256};
use std::borrow::Cow;
use std::marker::PhantomData;

/// Shortest and longest `Idempotency-Key`, in visible ASCII characters.
pub const IDEMPOTENCY_KEY_LENGTH: std::ops::RangeInclusive<usize> = 1..=255;

/// How deeply a JSON body may be nested; serde_json refuses more by itself.
pub const MAX_JSON_DEPTH: usize = 127;

/// Collects everything that is wrong with a value.
#[derive(Debug, Default)]
pub struct Issues {
    at: Vec<Step>,
    found: Vec<Issue>,
    /// Where something is wrong already, before the check.
    known: Vec<Vec<Step>>,
}

impl Issues {
    /// Something is wrong with `field` (of the value that is being checked).
    pub fn add(&mut self, field: impl Into<Step>, code: &'static str, message: impl Into<String>) {
        if self.found.len() >= MAX_ISSUES {
            return;
        }
        let mut path = self.at.clone();
        path.push(field.into());
        self.found.push(Issue { path, code, message: message.into() });
    }

    /// Whether `field` could not be read at all, and is absent for that reason alone.
    pub fn is_unreadable(&self, field: &'static str) -> bool {
        let mut path = self.at.clone();
        path.push(field.into());
        self.known.iter().any(|known| known.starts_with(&path))
    }

    /// Checks what lies below `field`.
    pub fn within(&mut self, field: impl Into<Step>, check: impl FnOnce(&mut Self)) {
        self.at.push(field.into());
        check(self);
        self.at.pop();
    }

    /// The length of a text in characters.
    pub fn length(
        &mut self,
        field: impl Into<Step>,
        text: &str,
        allowed: std::ops::RangeInclusive<usize>,
    ) {
        let count = text.chars().count();
        if count < *allowed.start() {
            let message = match allowed.start() {
                1 => "must not be empty".to_owned(),
                n => format!("must be at least {n} characters"),
            };
            self.add(field, "too_short", message);
        } else if count > *allowed.end() {
            let message = format!("must be at most {} characters", allowed.end());
            self.add(field, "too_long", message);
        }
    }

    /// The number of elements of a list.
    pub fn count(&mut self, field: impl Into<Step>, count: usize, most: usize) {
        if count > most {
            self.add(field, "too_many", format!("must have at most {most} elements"));
        }
    }

    /// A number's range.
    pub fn range(
        &mut self,
        field: impl Into<Step>,
        value: i64,
        allowed: std::ops::RangeInclusive<i64>,
    ) {
        if !allowed.contains(&value) {
            let message = format!("must be between {} and {}", allowed.start(), allowed.end());
            self.add(field, "out_of_range", message);
        }
    }
}

/// Types that can check what a schema cannot express, or Dropshot does not enforce.
pub trait Check {
    /// Query parameters that may be repeated: the fields that are [`Several`](super::Several).
    const REPEATED: &'static [&'static str] = &[];

    /// Whether a request without a body is one without fields; it then needs no content type.
    const MAY_BE_ABSENT: bool = false;

    /// Adds everything that is wrong with `self`.
    fn check(&self, issues: &mut Issues) {
        let _ = issues;
    }
}

/// Adds what `value` violates, except where something else is wrong already.
fn check_rest<T: Check>(value: &T, at: &[Step], issues: &mut Vec<Issue>) {
    let at_fault = issues.iter().map(|issue| issue.path.clone()).collect();
    let mut more = Issues { at: at.to_vec(), found: Vec::new(), known: at_fault };
    value.check(&mut more);
    let known = issues.len();
    for issue in more.found {
        if !issues[..known].iter().any(|other| issue.path.starts_with(&other.path)) {
            issues.push(issue);
        }
    }
}

/// The value, unless something is wrong with it.
fn accepted<T>(value: T, mut issues: Vec<Issue>) -> Result<T> {
    issues.truncate(MAX_ISSUES);
    if issues.is_empty() { Ok(value) } else { Err(Error::Invalid(issues)) }
}

/// Longest message that quotes what the client sent, in characters.
const MAX_MESSAGE: usize = 200;

/// The name between backticks after `prefix`, if `message` begins so.
fn quoted<'a>(message: &'a str, prefix: &str) -> Option<&'a str> {
    message.strip_prefix(prefix)?.strip_prefix('`')?.split('`').next()
}

/// Code and message of what serde says.
pub(super) fn described(message: &str) -> (&'static str, String) {
    if quoted(message, "missing field ").is_some() {
        return ("required", "is required".to_owned());
    }
    if quoted(message, "duplicate field ").is_some() {
        return ("duplicate", "must be given only once".to_owned());
    }
    let message = match message.split(" at line ").next().unwrap_or_default() {
        // how the standard library says it of a text
        "invalid digit found in string" => "must be a whole number",
        "number too large to fit in target type" => "is too large",
        other => other,
    };
    ("invalid", message.chars().take(MAX_MESSAGE).collect())
}

/// Turns serde's message into an issue with the path it is about.
fn located<E: std::fmt::Display>(error: &serde_path_to_error::Error<E>, at: &[Step]) -> Issue {
    let mut path = at.to_vec();
    for segment in error.path().iter() {
        match segment {
            Segment::Seq { index } => path.push(Step::Index(*index)),
            Segment::Map { key } => path.push(Step::from(key.clone())),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    let message = error.inner().to_string();
    // these are reported at the parent
    let field = quoted(&message, "missing field ").or(quoted(&message, "duplicate field "));
    path.extend(field.map(|field| Step::from(field.to_owned())));
    let (code, message) = described(&message);
    Issue { path, code, message }
}

/// PostgreSQL's text cannot hold a NUL, so no text of a request may.
fn find_nul(value: &Value, path: &mut Vec<Step>, issues: &mut Vec<Issue>) {
    if issues.len() >= MAX_ISSUES {
        return;
    }
    match value {
        Value::String(text) if text.contains('\0') => issues.push(Issue {
            path: path.clone(),
            code: "invalid_character",
            message: "must not contain the character U+0000".into(),
        }),
        Value::Array(elements) => {
            for (i, element) in elements.iter().enumerate() {
                path.push(Step::Index(i));
                find_nul(element, path, issues);
                path.pop();
            }
        }
        Value::Object(fields) => {
            for (name, field) in fields {
                path.push(Step::from(name.clone()));
                if name.contains('\0') {
                    issues.push(Issue {
                        path: path.clone(),
                        code: "invalid_character",
                        message: "must not have the character U+0000 in its name".into(),
                    });
                }
                find_nul(field, path, issues);
                path.pop();
            }
        }
        _ => {}
    }
}

/// Writes numbers without a fraction as integers; whether there were any that were not.
fn make_whole(value: &mut Value) -> bool {
    /// Above this, not every integer has a float of its own.
    const MOST: f64 = 9_007_199_254_740_992.0;
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() <= MOST);
            // what is a whole number of this size can be converted
            whole.is_some_and(|whole| {
                *value = Value::from(whole as i64);
                true
            })
        }
        Value::Array(elements) => all_whole(elements.iter_mut()),
        Value::Object(fields) => all_whole(fields.values_mut()),
        _ => false,
    }
}

/// Does so with every one of them.
fn all_whole<'a>(values: impl Iterator<Item = &'a mut Value>) -> bool {
    let mut changed = false;
    for value in values {
        changed |= make_whole(value);
    }
    changed
}

/// Takes out what `path` leads to, so that the rest can be read: the field that it is or is in,
/// whose path it returns. An element of a list of objects is emptied instead, for the others to
/// keep their places.
fn take_out<'a>(value: &mut Value, path: &'a [Step]) -> Option<&'a [Step]> {
    let last = path.iter().rposition(|step| matches!(step, Step::Field(_)))?;
    let mut place = value;
    for step in &path[..last] {
        place = match step {
            Step::Field(name) => place.get_mut(name.as_ref())?,
            Step::Index(i) => place.get_mut(*i)?,
        };
    }
    let (Step::Field(name), Some(fields)) = (&path[last], place.as_object_mut()) else {
        return None;
    };
    match (fields.get_mut(name.as_ref()), &path[last + 1..]) {
        (Some(Value::Array(list)), [Step::Index(i)]) if list.iter().any(Value::is_object) => {
            *list.get_mut(*i)? = Value::Object(serde_json::Map::new());
            None
        }
        _ => {
            fields.remove(name.as_ref());
            path.get(..=last)
        }
    }
}

fn parse<T: DeserializeOwned + JsonSchema + Check>(bytes: &[u8]) -> Result<T> {
    let value: Value = serde_json::from_slice(bytes).map_err(|e| {
        let message = e.to_string();
        Error::Malformed(format!("the request body is not valid JSON: {message}").into())
    })?;
    if !value.is_object() {
        return Err(Error::Malformed("the request body must be a JSON object".into()));
    }
    checked(value)
}

/// A `T` out of a JSON object, or everything that is wrong with it.
pub fn checked<T: DeserializeOwned + JsonSchema + Check>(value: Value) -> Result<T> {
    let mut value = value;
    // Explicit null for an optional field means absent (contract E2); for a required one it is
    // reported as missing.
    if let Some(object) = value.as_object_mut() {
        object.retain(|_, field| !field.is_null());
    }
    let mut issues = Vec::new();
    find_nul(&value, &mut Vec::new(), &mut issues);
    let mut is_whole = false;
    let refusal = loop {
        match serde_path_to_error::deserialize::<_, T>(&value) {
            Ok(parsed) => {
                check_rest(&parsed, &[], &mut issues);
                return accepted(parsed, issues);
            }
            // `5.0` is a whole number in JSON, but no integer to serde
            Err(_) if !std::mem::replace(&mut is_whole, true) && make_whole(&mut value) => {}
            Err(refusal) => break refusal,
        }
    };
    let mut unreadable = inspect::<T>(&value);
    if unreadable.is_empty() {
        unreadable.push(located(&refusal, &[]));
    }
    // what can be read without the unreadable is checked all the same
    let taken: Vec<&[Step]> =
        unreadable.iter().filter_map(|issue| take_out(&mut value, &issue.path)).collect();
    issues.extend(unreadable.iter().cloned());
    let mut always: Option<Vec<Issue>> = None;
    for rest in completed::<T>(&value).iter().filter_map(|whole| T::deserialize(whole).ok()) {
        let mut all = issues.clone();
        check_rest(&rest, &[], &mut all);
        // what is wrong with a stand-in is nobody's fault
        let stands_in = |issue: &Issue| taken.iter().any(|field| issue.path.starts_with(field));
        all.retain(|issue| issues.contains(issue) || !stands_in(issue));
        match &mut always {
            None => always = Some(all),
            Some(always) => always.retain(|issue| all.contains(issue)),
        }
    }
    let mut issues = always.unwrap_or(issues);
    issues.truncate(MAX_ISSUES);
    Err(Error::Invalid(issues))
}

/// A JSON body.
pub struct Json<T> {
    value: Result<T>,
    digest: [u8; 32],
}

impl<T> Json<T> {
    /// The body, or everything that is wrong with it.
    pub fn into_inner(self) -> Result<T> {
        self.value
    }

    /// Takes the error out, if there is one and it is such a one.
    fn error(&mut self, which: impl Fn(&Error) -> bool) -> Result<()> {
        match &self.value {
            Err(error) if which(error) => {
                let gone = Err(Error::Malformed("the body was read already".into()));
                match std::mem::replace(&mut self.value, gone) {
                    Err(error) => Err(error),
                    Ok(_) => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    /// What is wrong with the body, if anything.
    pub fn take_error(&mut self) -> Result<()> {
        self.error(|_| true)
    }

    /// What is wrong with the body in a way that another attempt may well repair.
    pub fn take_fleeting_error(&mut self) -> Result<()> {
        self.error(|error| !error.is_deterministic())
    }

    /// The body if it is acceptable, without consuming it.
    pub fn peek(&self) -> Option<&T> {
        self.value.as_ref().ok()
    }

    /// SHA-256 of the bytes as they came.
    pub fn digest(&self) -> [u8; 32] {
        self.digest
    }
}

/// Whether the body is announced as JSON.
pub(crate) fn is_json(headers: &http::HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|v| v.to_str().ok())
        .and_then(|v| v.split(';').next())
        .is_some_and(|v| v.trim().eq_ignore_ascii_case("application/json"))
}

/// Reads at most `limit` bytes; `None` when there are more.
pub(crate) async fn read_limited(mut body: Body, limit: usize) -> Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|_| Error::Malformed("the request body could not be read".into()))?;
        if let Some(data) = frame.data_ref() {
            if bytes.len() + data.len() > limit {
                return Ok(None);
            }
            bytes.extend_from_slice(data);
        }
    }
    Ok(Some(bytes))
}

#[async_trait]
impl<T> ExclusiveExtractor for Json<T>
where
    T: DeserializeOwned + JsonSchema + Check + Send + Sync + 'static,
{
    async fn from_request<C: ServerContext>(
        rqctx: &RequestContext<C>,
        request: http::Request<Body>,
    ) -> Result<Self, HttpError> {
        let limit = rqctx.request_body_max_bytes();
        let json = is_json(request.headers());
        let read = read_limited(request.into_body(), limit).await;
        let (value, digest) = match read {
            Ok(Some(bytes)) if json && !(T::MAY_BE_ABSENT && bytes.is_empty()) => {
                (parse(&bytes), Sha256::digest(&bytes).into())
            }
            Ok(Some(bytes)) if T::MAY_BE_ABSENT && bytes.is_empty() => {
                (parse(b"{}"), Sha256::digest(&bytes).into())
            }
            Ok(Some(_)) => (Err(Error::UnsupportedMediaType), [0; 32]),
            Ok(None) => (Err(Error::TooLarge { limit }), [0; 32]),
            Err(error) => (Err(error), [0; 32]),
        };
        Ok(Json { value, digest })
    }

    fn metadata(content_type: ApiEndpointBodyContentType) -> ExtractorMetadata {
        TypedBody::<T>::metadata(content_type)
    }
}

/// A body as it came, of which `T` documents the form: for what is signed byte by byte.
pub struct Raw<T> {
    bytes: Result<Vec<u8>>,
    documented: PhantomData<T>,
}

impl<T> Raw<T> {
    /// The bytes, or why there are none.
    pub fn into_inner(self) -> Result<Vec<u8>> {
        self.bytes
    }
}

#[async_trait]
impl<T> ExclusiveExtractor for Raw<T>
where
    T: DeserializeOwned + JsonSchema + Send + Sync + 'static,
{
    async fn from_request<C: ServerContext>(
        rqctx: &RequestContext<C>,
        request: http::Request<Body>,
    ) -> Result<Self, HttpError> {
        let limit = rqctx.request_body_max_bytes();
        let read = read_limited(request.into_body(), limit).await;
        let bytes = read.and_then(|bytes| bytes.ok_or(Error::TooLarge { limit }));
        Ok(Raw { bytes, documented: PhantomData })
    }

    fn metadata(content_type: ApiEndpointBodyContentType) -> ExtractorMetadata {
        TypedBody::<T>::metadata(content_type)
    }
}

type Pair<'a> = (Cow<'a, str>, Cow<'a, str>);

fn read_pairs<T: DeserializeOwned>(pairs: &[Pair<'_>], at: &[Step]) -> Result<T, Issue> {
    let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
    let de = serde_urlencoded::Deserializer::new(form_urlencoded::parse(query.as_bytes()));
    serde_path_to_error::deserialize(de).map_err(|refusal| located(&refusal, at))
}

/// The parameters, or everything that is wrong with them; like [`parse`].
fn parameters<T: DeserializeOwned + JsonSchema + Check>(
    mut pairs: Vec<Pair<'_>>,
    at: &[Step],
) -> Result<T> {
    let path = |name: &str| {
        let mut path = at.to_vec();
        path.push(Step::from(name.to_owned()));
        path
    };
    let mut issues: Vec<Issue> = pairs
        .iter()
        .filter(|(_, value)| value.contains('\0'))
        .map(|(name, _)| Issue {
            path: path(name),
            code: "invalid_character",
            message: "must not contain the character U+0000".into(),
        })
        .collect();
    if pairs.iter().any(|(_, value)| value.is_empty()) {
        let known = fields::<T>();
        issues.extend(pairs.iter().filter(|(name, value)| value.is_empty() && known(name)).map(
            |(name, _)| Issue {
                path: path(name),
                code: "too_short",
                message: "must not be empty".into(),
            },
        ));
        pairs.retain(|(_, value)| !value.is_empty());
    }
    let pairs = &*grouped(pairs, T::REPEATED);
    let refusal = match read_pairs::<T>(pairs, at) {
        Ok(parsed) => {
            check_rest(&parsed, at, &mut issues);
            return accepted(parsed, issues);
        }
        Err(refusal) => refusal,
    };
    let alone = pairs.iter().filter_map(|pair| {
        let issue = read_pairs::<T>(std::slice::from_ref(pair), at).err()?;
        (issue.path == path(&pair.0) && issue.code != "required").then_some(issue)
    });
    for issue in alone.chain([refusal]) {
        if !issues.iter().any(|known| known.path == issue.path) {
            issues.push(issue);
        }
    }
    let rest: Vec<Pair<'_>> = pairs
        .iter()
        .filter(|(name, _)| !issues.iter().any(|issue| issue.path == path(name)))
        .cloned()
        .collect();
    if let Ok(rest) = read_pairs::<T>(&rest, at) {
        check_rest(&rest, at, &mut issues);
    }
    issues.truncate(MAX_ISSUES);
    Err(Error::Invalid(issues))
}

/// Whether a name is one of `T`'s fields.
fn fields<T: JsonSchema>() -> impl Fn(&str) -> bool {
    let schema = schemars::r#gen::SchemaGenerator::default().into_root_schema_for::<T>().schema;
    move |name| schema.object.as_ref().is_some_and(|object| object.properties.contains_key(name))
}

/// Query parameters.
pub struct Params<T>(Result<T>);

impl<T> Params<T> {
    /// The parameters, or everything that is wrong with them.
    pub fn into_inner(self) -> Result<T> {
        self.0
    }
}

#[async_trait]
impl<T> SharedExtractor for Params<T>
where
    T: DeserializeOwned + JsonSchema + Check + Send + Sync + 'static,
{
    async fn from_request<C: ServerContext>(rqctx: &RequestContext<C>) -> Result<Self, HttpError> {
        let at = [Step::from("query")];
        let query = rqctx.request.uri().query().unwrap_or_default();
        let pairs = form_urlencoded::parse(query.as_bytes());
        Ok(Params(parameters(pairs.collect(), &at)))
    }

    fn metadata(content_type: ApiEndpointBodyContentType) -> ExtractorMetadata {
        <Query<T> as SharedExtractor>::metadata(content_type)
    }
}

/// Documents the header; the value is read from the request itself.
#[derive(Deserialize, JsonSchema)]
struct IdempotencyHeader {
    /// Makes the request safe to repeat: for 24 hours, a request with the same key and the same
    /// body is answered as the first one was, and nothing is done twice. 1 to 255 visible ASCII
    /// characters, best a UUID made for this request.
    #[serde(rename = "Idempotency-Key")]
    #[schemars(length(min = 1, max = 255), regex(pattern = r"^[!-~]+$"))]
    #[schemars(example = "example_idempotency_key")]
    #[expect(dead_code, reason = "read from the request, documented from here")]
    idempotency_key: Option<String>,
}

fn example_idempotency_key() -> &'static str {
    "8e03978e-40d5-43e8-bc93-6894a57f9324"
}

/// The `Idempotency-Key` header, if the request has one.
pub struct IdempotencyKey(Result<Option<String>>);

impl IdempotencyKey {
    /// The key, or why it is none.
    pub fn into_inner(self) -> Result<Option<String>> {
        self.0
    }
}

#[async_trait]
impl SharedExtractor for IdempotencyKey {
    async fn from_request<C: ServerContext>(rqctx: &RequestContext<C>) -> Result<Self, HttpError> {
        let mut values = rqctx.request.headers().get_all("idempotency-key").iter();
        let refused = || {
            Error::invalid(
                ["headers", "Idempotency-Key"],
                "invalid",
                "must be sent once, as 1 to 255 visible ASCII characters",
            )
        };
        let value = match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None)
                if IDEMPOTENCY_KEY_LENGTH.contains(&value.len())
                    && value.as_bytes().iter().all(u8::is_ascii_graphic) =>
            {
                value.to_str().map(|v| Some(v.to_owned())).map_err(|_| refused())
            }
            _ => Err(refused()),
        };
        Ok(IdempotencyKey(value))
    }

    fn metadata(content_type: ApiEndpointBodyContentType) -> ExtractorMetadata {
        <Header<IdempotencyHeader> as SharedExtractor>::metadata(content_type)
    }
}
