//! Extractors that name the offending field, and that fail late.
//!
//! Dropshot extracts before the handler runs, that is before anybody was authenticated; so these
//! keep what they found, good or bad, and the handler asks for it after it knows the caller. A
//! stranger then learns nothing about what a valid request looks like, and a bad one costs its
//! sender one request of the limit. In the OpenAPI document they look like Dropshot's own. Bodies
//! are in [`super::body`].

use super::inspect::MAX_ISSUES;
use super::issues::{Check, accepted, check_rest, located};
use super::repeated::grouped;
use crate::error::{Error, Issue, Result, Step};
use async_trait::async_trait;
use dropshot::{
    ApiEndpointBodyContentType, ExtractorMetadata, Header, HttpError, Query, RequestContext,
    ServerContext, SharedExtractor,
};
use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;

/// Shortest and longest `Idempotency-Key`, in visible ASCII characters.
pub const IDEMPOTENCY_KEY_LENGTH: std::ops::RangeInclusive<usize> = 1..=255;

/// Most query parameters of a request.
pub const MAX_PARAMETERS: usize = 200;

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
        // looked at before the caller is known, so there must not be many
        let pairs: Vec<_> =
            form_urlencoded::parse(query.as_bytes()).take(MAX_PARAMETERS + 1).collect();
        if pairs.len() > MAX_PARAMETERS {
            let message = format!("there are more than {MAX_PARAMETERS} query parameters");
            return Ok(Params(Err(Error::Malformed(message.into()))));
        }
        Ok(Params(parameters(pairs, &at)))
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
pub struct IdempotencyKey {
    /// The key, or why it is none.
    pub key: Result<Option<String>>,
    /// The path under which the answer is kept; `None`: the request's own.
    pub kept_under: Option<String>,
}

impl IdempotencyKey {
    /// The same for an answer that is kept under another path than the request's, which may hold
    /// something that must not be stored.
    pub fn under(self, path: String) -> Self {
        IdempotencyKey { kept_under: Some(path), ..self }
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
        let key = match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(value), None)
                if IDEMPOTENCY_KEY_LENGTH.contains(&value.len())
                    && value.as_bytes().iter().all(u8::is_ascii_graphic) =>
            {
                value.to_str().map(|v| Some(v.to_owned())).map_err(|_| refused())
            }
            _ => Err(refused()),
        };
        Ok(IdempotencyKey { key, kept_under: None })
    }

    fn metadata(content_type: ApiEndpointBodyContentType) -> ExtractorMetadata {
        <Header<IdempotencyHeader> as SharedExtractor>::metadata(content_type)
    }
}
