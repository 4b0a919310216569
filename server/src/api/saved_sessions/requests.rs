//! What is asked in bodies.

use super::label::{LABEL_KEY_PATTERN, is_label_key};
use crate::api::sessions::MAX_TITLE;
use crate::http::openapi::KEY_PATTERN;
use crate::http::{Check, Issues};
use crate::store::saved_sessions::{Save, SavedChange};
use crate::store::session_kinds::{Labels, SessionOrigin, SessionVisibility};
use schemars::JsonSchema;
use schemars::schema::{
    ArrayValidation, InstanceType, Metadata, ObjectValidation, Schema, SchemaObject,
    StringValidation,
};
use serde::Deserialize;
use uuid::Uuid;

/// Longest name of a model or agent, in characters.
pub(super) const MAX_NAME: usize = 255;
/// Largest count of messages that a client may state.
pub(super) const MAX_MESSAGE_COUNT: i64 = 10_000_000;
/// Most keys of labels.
pub(super) const MAX_LABELS: usize = 32;
/// Most values of one label.
pub(super) const MAX_LABEL_VALUES: usize = 16;
/// Longest value of a label, in characters.
pub(super) const MAX_LABEL_VALUE: usize = 256;

/// A session to save.
#[derive(Deserialize, JsonSchema)]
pub(super) struct SessionCreateRequest {
    /// The session's UUID, made by the client; saving again under it changes the same session.
    #[schemars(example = "super::example_session")]
    id: Uuid,
    /// The model that was used.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"\S"), example = "example_model")]
    model: String,
    /// The agent that was used.
    #[schemars(length(max = 255), example = "example_agent")]
    agent: Option<String>,
    /// Its title. A blank one counts as absent.
    #[schemars(length(max = 255))]
    title: Option<String>,
    /// Messages that the session has; 0 unless given.
    #[schemars(range(min = 0, max = 10_000_000))]
    message_count: Option<i64>,
    /// What kind of work it comes from, `user` unless given. Heeded when the session is new.
    origin: Option<SessionOrigin>,
    /// Who sees it, `private` unless given. Heeded when the session is new; later it is shared by an
    /// update.
    visibility: Option<SessionVisibility>,
    /// Values by key: at most 32 keys like `env` or `team.name`, of up to 63 of `[a-z0-9_.-]`, each
    /// with at most 16 values of 1 to 256 characters.
    #[schemars(with = "Option<NewLabels>")]
    labels: Option<Labels>,
}

/// What to change; what is absent stays.
#[derive(Deserialize, JsonSchema)]
pub(super) struct SessionUpdateRequest {
    /// The agent that was used.
    #[schemars(length(max = 255), example = "example_agent")]
    agent: Option<String>,
    /// The model that was used.
    #[schemars(length(min = 1, max = 255), regex(pattern = r"\S"), example = "example_model")]
    model: Option<String>,
    /// The new title. A blank one counts as absent.
    #[schemars(length(max = 255))]
    title: Option<String>,
    /// Messages that the session has.
    #[schemars(range(min = 0, max = 10_000_000))]
    message_count: Option<i64>,
    /// Replaces every label but the reserved ones, `capability`, `capability_version` and `worker`,
    /// which are kept whatever is said of them here.
    #[schemars(with = "Option<NewLabels>")]
    labels: Option<Labels>,
    /// `workspace` shares the session, for good.
    visibility: Option<SessionVisibility>,
}

/// Documents [`Labels`] as they may be sent.
struct NewLabels;

impl JsonSchema for NewLabels {
    fn schema_name() -> String {
        "NewLabels".into()
    }
    fn json_schema(_: &mut schemars::r#gen::SchemaGenerator) -> Schema {
        let value = SchemaObject {
            instance_type: Some(InstanceType::String.into()),
            string: Some(Box::new(StringValidation {
                min_length: Some(1),
                max_length: u32::try_from(MAX_LABEL_VALUE).ok(),
                ..Default::default()
            })),
            ..Default::default()
        };
        let values = SchemaObject {
            instance_type: Some(InstanceType::Array.into()),
            array: Some(Box::new(ArrayValidation {
                items: Some(Schema::from(value).into()),
                max_items: u32::try_from(MAX_LABEL_VALUES).ok(),
                ..Default::default()
            })),
            ..Default::default()
        };
        SchemaObject {
            instance_type: Some(InstanceType::Object.into()),
            metadata: Some(Box::new(Metadata {
                description: Some("Values by key, of which there are at most 32.".into()),
                ..Default::default()
            })),
            object: Some(Box::new(ObjectValidation {
                additional_properties: Some(Box::new(values.into())),
                max_properties: u32::try_from(MAX_LABELS).ok(),
                ..Default::default()
            })),
            extensions: [(KEY_PATTERN.to_owned(), LABEL_KEY_PATTERN.into())].into(),
            ..Default::default()
        }
        .into()
    }
}

fn example_model() -> &'static str {
    "claude-sonnet-4-5"
}

fn example_agent() -> &'static str {
    "release-bot"
}

/// Without blanks around it; nothing when it is blank.
fn trimmed(text: Option<String>) -> Option<String> {
    text.map(|text| text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// The values of each key once, without keys that have none.
fn tidy(labels: Labels) -> Labels {
    let once = |values: Vec<String>| {
        let mut kept = Vec::with_capacity(values.len());
        for value in values {
            if !kept.contains(&value) {
                kept.push(value);
            }
        }
        kept
    };
    let tidied = labels.0.into_iter().map(|(key, values)| (key, once(values)));
    Labels(tidied.filter(|(_, values)| !values.is_empty()).collect())
}

fn check_labels(issues: &mut Issues, labels: &Labels) {
    issues.count("labels", labels.0.len(), MAX_LABELS);
    issues.within("labels", |issues| {
        for (key, values) in &labels.0 {
            if !is_label_key(key) {
                let message = "must be a letter and up to 62 of a-z, 0-9, `_`, `.` and `-`";
                issues.add(key.clone(), "invalid_key", message);
            }
            issues.count(key.clone(), values.len(), MAX_LABEL_VALUES);
            issues.within(key.clone(), |issues| {
                for (i, value) in values.iter().enumerate() {
                    issues.length(i, value, 1..=MAX_LABEL_VALUE);
                }
            });
        }
    });
}

/// The fields that saving and updating have in common.
fn check_common(
    issues: &mut Issues,
    agent: Option<&str>,
    title: Option<&str>,
    message_count: Option<i64>,
    labels: Option<&Labels>,
) {
    issues.length("agent", agent.unwrap_or_default().trim(), 0..=MAX_NAME);
    issues.length("title", title.unwrap_or_default().trim(), 0..=MAX_TITLE);
    if let Some(count) = message_count {
        issues.range("message_count", count, 0..=MAX_MESSAGE_COUNT);
    }
    if let Some(labels) = labels {
        check_labels(issues, labels);
    }
}

impl Check for SessionCreateRequest {
    fn check(&self, issues: &mut Issues) {
        if self.id.is_nil() {
            issues.add("id", "invalid", "must not be the nil UUID");
        }
        issues.length("model", self.model.trim(), 1..=MAX_NAME);
        let Self { agent, title, message_count, labels, .. } = self;
        check_common(issues, agent.as_deref(), title.as_deref(), *message_count, labels.as_ref());
    }
}

impl Check for SessionUpdateRequest {
    fn check(&self, issues: &mut Issues) {
        if let Some(model) = &self.model {
            issues.length("model", model.trim(), 1..=MAX_NAME);
        }
        let Self { agent, title, message_count, labels, .. } = self;
        check_common(issues, agent.as_deref(), title.as_deref(), *message_count, labels.as_ref());
    }
}

/// `Check` has seen that it fits.
fn count(stated: Option<i64>) -> Option<i32> {
    stated.map(|count| i32::try_from(count).unwrap_or(i32::MAX))
}

impl From<SessionCreateRequest> for Save {
    fn from(request: SessionCreateRequest) -> Self {
        Save {
            external_id: request.id,
            model: request.model.trim().to_owned(),
            agent: trimmed(request.agent),
            title: trimmed(request.title),
            message_count: count(request.message_count),
            labels: request.labels.map(tidy),
            origin: request.origin.unwrap_or(SessionOrigin::User),
            visibility: request.visibility.unwrap_or(SessionVisibility::Private),
        }
    }
}

impl From<SessionUpdateRequest> for SavedChange {
    fn from(request: SessionUpdateRequest) -> Self {
        SavedChange {
            agent: trimmed(request.agent),
            model: trimmed(request.model),
            title: trimmed(request.title),
            message_count: count(request.message_count),
            labels: request.labels.map(tidy),
            visibility: request.visibility,
        }
    }
}
