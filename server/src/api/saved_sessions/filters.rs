//! What is asked in queries.

use super::label::label;
use super::requests::{MAX_LABEL_VALUE, MAX_NAME};
use crate::http::{Check, Issues, Repeated};
use crate::store::saved_sessions::{Archived, Filter, SortBy};
use crate::store::session_kinds::{Labels, SessionOrigin};
use schemars::JsonSchema;
use serde::Deserialize;

/// Most values that one filter may have.
const MAX_VALUES: usize = 20;
/// Longest search, in characters.
const MAX_SEARCH: usize = 200;
/// Sessions on a page, unless asked otherwise.
const DEFAULT_LIMIT: u32 = 20;
/// Most sessions on a page.
const MAX_LIMIT: u32 = 100;

/// Whether archived sessions are wanted.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum ArchivedFilter {
    /// Live ones alone.
    Active,
    /// Archived ones alone.
    Archived,
    /// Both.
    Any,
}

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum SessionSort {
    /// When they were last changed.
    UpdatedAt,
    /// When their newest messages were stored; sessions without any come last.
    LastMessageAt,
    /// When they were first saved.
    CreatedAt,
    /// How many messages they have.
    MessageCount,
}

/// In which direction a list is sorted.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum SortDirection {
    /// The smallest or oldest first.
    Asc,
    /// The largest or newest first.
    Desc,
}

/// The list and the facets have the same filters, and the decoder of queries cannot flatten.
macro_rules! with_filters {
    ($(#[$about:meta])* struct $name:ident { $($rest:tt)* }) => {
        $(#[$about])*
        #[derive(Deserialize, JsonSchema)]
        pub(super) struct $name {
            /// Only sessions that the user with this id saved.
            #[schemars(length(min = 1, max = 255))]
            user_id: Option<String>,
            /// Only sessions that this user saved: an id, an e-mail address, or the address up to
            /// its `@`. May be repeated up to 20 times.
            #[schemars(length(min = 1, max = 255))]
            user: Option<Repeated<MAX_VALUES>>,
            /// Only sessions of this agent. May be repeated up to 20 times.
            #[schemars(length(min = 1, max = 255))]
            agent: Option<Repeated<MAX_VALUES>>,
            /// Only sessions of this model. May be repeated up to 20 times.
            #[schemars(length(min = 1, max = 255))]
            model: Option<Repeated<MAX_VALUES>>,
            /// Only sessions of this origin: `user`, `eval` or `worker`. May be repeated up to 20
            /// times.
            #[schemars(regex(pattern = "^(user|eval|worker)$"))]
            origin: Option<Repeated<MAX_VALUES>>,
            /// Only sessions with this label, as `key:value`. May be repeated up to 20 times: of one
            /// key any of the values will do, and every key must be met.
            #[schemars(regex(pattern = r"^[a-z][a-z0-9_.-]{0,62}:[\s\S]"))]
            #[schemars(length(min = 3, max = 511))]
            label: Option<Repeated<MAX_VALUES>>,
            /// `active` (unless given), `archived` or `any`.
            archived: Option<ArchivedFilter>,
            /// Only sessions in whose title, model, agent, labels or preview every one of these
            /// words occurs, in upper or lower case, also as part of another word.
            #[schemars(length(min = 1, max = 200))]
            search: Option<String>,
            /// Also evaluation runs.
            include_workload_sessions: Option<bool>,
            $($rest)*
        }

        impl $name {
            pub(super) fn filter(&self) -> Filter {
                let given = |values: &Option<Repeated<MAX_VALUES>>| {
                    values.as_ref().map(|several| several.0.clone()).unwrap_or_default()
                };
                let mut users = given(&self.user);
                users.extend(self.user_id.clone());
                let search = self.search.as_deref().unwrap_or_default();
                Filter {
                    users,
                    agents: given(&self.agent),
                    models: given(&self.model),
                    origins: origins(
                        &given(&self.origin),
                        self.include_workload_sessions.unwrap_or(false),
                    ),
                    labels: labels(&given(&self.label)),
                    archived: match self.archived {
                        None | Some(ArchivedFilter::Active) => Archived::Active,
                        Some(ArchivedFilter::Archived) => Archived::Archived,
                        Some(ArchivedFilter::Any) => Archived::Any,
                    },
                    words: search.split_whitespace().map(str::to_owned).collect(),
                }
            }

            fn check_filters(&self, issues: &mut Issues) {
                let lists = [
                    ("user", &self.user, MAX_NAME),
                    ("agent", &self.agent, MAX_NAME),
                    ("model", &self.model, MAX_NAME),
                    ("origin", &self.origin, MAX_NAME),
                    ("label", &self.label, MAX_NAME + MAX_LABEL_VALUE),
                ];
                for (name, values, longest) in lists {
                    let Some(Repeated(values)) = values else { continue };
                    issues.count(name, values.len(), MAX_VALUES);
                    issues.within(name, |issues| {
                        for (i, value) in values.iter().enumerate() {
                            issues.length(i, value, 1..=longest);
                            let wrong = match name {
                                "origin" => SessionOrigin::named(value).is_none(),
                                "label" => label(value).is_none(),
                                _ => false,
                            };
                            if wrong && name == "origin" {
                                issues.add(i, "invalid", "must be `user`, `eval` or `worker`");
                            } else if wrong {
                                issues.add(i, "invalid", "must read `key:value`");
                            }
                        }
                    });
                }
                issues.length("user_id", self.user_id.as_deref().unwrap_or("-"), 1..=MAX_NAME);
                let search = self.search.as_deref().unwrap_or_default();
                issues.length("search", search.trim(), 0..=MAX_SEARCH);
            }
        }
    };
}

with_filters! {
    /// Which sessions, in which order, and which page of them.
    struct ListParams {
        /// What the list is sorted by: `updated_at` (unless given), `last_message_at`, `created_at`
        /// or `message_count`.
        sort_by: Option<SessionSort>,
        /// `desc` (unless given) or `asc`.
        sort_dir: Option<SortDirection>,
        /// The number of the page, from 1.
        #[schemars(range(min = 1, max = 1_000_000))]
        page: Option<u32>,
        /// Sessions on a page, 1 to 100; 20 unless given.
        #[schemars(range(min = 1, max = 100))]
        limit: Option<u32>,
    }
}

with_filters! {
    /// Which sessions are counted.
    struct FacetParams {}
}

/// Largest number of a page.
const MAX_PAGE: u32 = 1_000_000;

/// The parameters that may be repeated.
const REPEATED: &[&str] = &["user", "agent", "model", "origin", "label"];

impl Check for ListParams {
    const REPEATED: &'static [&'static str] = REPEATED;

    fn check(&self, issues: &mut Issues) {
        self.check_filters(issues);
        issues.range("page", self.page().into(), 1..=MAX_PAGE.into());
        issues.range("limit", self.limit().into(), 1..=MAX_LIMIT.into());
    }
}

impl Check for FacetParams {
    const REPEATED: &'static [&'static str] = REPEATED;

    fn check(&self, issues: &mut Issues) {
        self.check_filters(issues);
    }
}

impl ListParams {
    pub(super) fn page(&self) -> u32 {
        self.page.unwrap_or(1)
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit.unwrap_or(DEFAULT_LIMIT)
    }

    /// By what, and whether the smallest comes first.
    pub(super) fn order(&self) -> (SortBy, bool) {
        let by = match self.sort_by {
            None | Some(SessionSort::UpdatedAt) => SortBy::UpdatedAt,
            Some(SessionSort::LastMessageAt) => SortBy::LastMessageAt,
            Some(SessionSort::CreatedAt) => SortBy::CreatedAt,
            Some(SessionSort::MessageCount) => SortBy::MessageCount,
        };
        (by, self.sort_dir == Some(SortDirection::Asc))
    }
}

/// Those that are asked for; without any, all but evaluation runs. Who names `eval` wants it.
fn origins(asked: &[String], with_workloads: bool) -> Vec<SessionOrigin> {
    let all = SessionOrigin::ALL.iter().copied();
    all.filter(|origin| match asked {
        [] => with_workloads || *origin != SessionOrigin::Eval,
        asked => asked.iter().any(|text| text == origin.as_str()),
    })
    .collect()
}

fn labels(asked: &[String]) -> Labels {
    let mut labels = Labels::default();
    for (key, value) in asked.iter().filter_map(|text| label(text)) {
        labels.0.entry(key.to_owned()).or_default().push(value.to_owned());
    }
    labels
}
