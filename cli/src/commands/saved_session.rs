//! `session save`, `share`, `unarchive`, `facets` and `transcript`: sessions as agents keep them.

mod turns;

use std::{
    fs,
    io::{self, Read},
    path::Path,
};

use futures::TryStreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use switchy::{Client, Request, SavedSessions, Uuid, operation, types};

use super::import::patience::patiently;
use crate::{
    args::{FacetFilters, SaveSession, Transcript},
    connection::{Connection, pick_space, space_slug},
    failure::{Exit, Failure, exit_of},
    output::{Output, date, printable},
};
use turns::Turn;

/// The most messages that a page of a transcript holds.
const FULL_PAGE: u32 = 100;

/// The organization of the key and the Space's slug: where saved sessions are.
async fn place(client: &Client, space: &str) -> Result<(String, String), Failure> {
    let slug = space_slug(client, space).await?;
    Ok((client.me().await?.organization.slug, slug))
}

/// The text of a file, or of standard input.
fn read(file: &Path) -> Result<String, Failure> {
    let read = if file == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        fs::read_to_string(file)
    };
    read.map_err(|cause| Failure::usage(format!("cannot read {}: {cause}", file.display())))
}

/// `KEY:VALUE`.
fn label(text: &str) -> Result<(&str, &str), Failure> {
    text.split_once(':')
        .filter(|(key, value)| !key.is_empty() && !value.is_empty())
        .ok_or_else(|| Failure::usage(format!("`{text}` is no label: it must read KEY:VALUE")))
}

/// What to save: what the file says, and what the options say instead.
fn body_of(options: SaveSession) -> Result<types::SessionCreateRequest, Failure> {
    let mut body = match &options.from {
        None => json!({}),
        Some(file) => serde_json::from_str(&read(file)?).map_err(|cause| {
            Failure::usage(format!("{} is not a session: {cause}", file.display()))
        })?,
    };
    let Some(fields) = body.as_object_mut() else {
        return Err(Failure::usage("a session is a JSON object"));
    };
    for (name, value) in [
        ("id", options.id.map(Value::from)),
        ("model", options.model.map(Value::from)),
        ("agent", options.agent.map(Value::from)),
        ("title", options.title.map(Value::from)),
        ("message_count", options.message_count.map(Value::from)),
        ("origin", options.origin.map(Value::from)),
        ("visibility", options.shared.then(|| Value::from("workspace"))),
    ] {
        if let Some(value) = value {
            fields.insert(name.into(), value);
        }
    }
    if !options.labels.is_empty() {
        let mut labels = serde_json::Map::new();
        for text in &options.labels {
            let (key, value) = label(text)?;
            let values = labels.entry(key).or_insert_with(|| json!([]));
            if let Some(values) = values.as_array_mut() {
                values.push(value.into());
            }
        }
        fields.insert("labels".into(), labels.into());
    }
    fields.entry("id").or_insert_with(|| Uuid::new_v4().to_string().into());
    serde_json::from_value(body).map_err(|cause| {
        Failure::usage(format!("this is not a session: {cause}"))
            .hint("a session needs a model, and its id is a UUID")
    })
}

pub async fn save(client: &Client, options: SaveSession, output: &Output) -> Result<(), Failure> {
    let space = options.place.space.clone();
    let body = body_of(options)?;
    let (org, workspace) = place(client, &space).await?;
    let request = client.saved_sessions(&org, &workspace).save_as(body);
    if output.is_json() {
        return output.json(&request.raw().await?);
    }
    view(&request.await?, output)
}

pub async fn share(
    client: &Client,
    space: &str,
    ids: Vec<String>,
    output: &Output,
) -> Result<(), Failure> {
    let (org, workspace) = place(client, space).await?;
    for id in ids {
        let request = client.saved_sessions(&org, &workspace).update(&id).share();
        let shared = request.await.map_err(|error| Failure::from(error).about(&id))?;
        output.say(&format!("shared {} with the Space", shared.id))?;
    }
    Ok(())
}

pub async fn unarchive(
    client: &Client,
    space: &str,
    ids: Vec<String>,
    output: &Output,
) -> Result<(), Failure> {
    let (org, workspace) = place(client, space).await?;
    for id in ids {
        let request = client.saved_sessions(&org, &workspace).unarchive(&id);
        let back = request.await.map_err(|error| Failure::from(error).about(&id))?;
        output.say(&format!("brought {} back", back.id))?;
    }
    Ok(())
}

pub async fn facets(
    client: &Client,
    space: &str,
    filters: FacetFilters,
    output: &Output,
) -> Result<(), Failure> {
    let (org, workspace) = place(client, space).await?;
    let mut request = client.saved_sessions(&org, &workspace).facets();
    for user in filters.users {
        request = request.user(user);
    }
    for agent in filters.agents {
        request = request.agent(agent);
    }
    for model in filters.models {
        request = request.model(model);
    }
    for text in &filters.labels {
        let (key, value) = label(text)?;
        request = request.label(key, value);
    }
    if let Some(words) = filters.search {
        request = request.search(words);
    }
    if filters.evals {
        request = request.include_workload_sessions();
    }
    if output.is_json() {
        return output.json(&request.raw().await?);
    }
    let facets = request.await?;
    let mut rows = Vec::new();
    let row =
        |facet: &str, value: String, count: i64| vec![facet.to_string(), value, count.to_string()];
    rows.extend(facets.agents.into_iter().map(|f| row("agent", f.value, f.count)));
    rows.extend(facets.models.into_iter().map(|f| row("model", f.value, f.count)));
    rows.extend(facets.users.into_iter().map(|f| row("user", f.email.unwrap_or(f.value), f.count)));
    let mut labels: Vec<_> = facets.labels.into_iter().collect();
    labels.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (key, values) in labels {
        rows.extend(values.into_iter().map(|f| row(&format!("label {key}"), f.value, f.count)));
    }
    if rows.is_empty() {
        return output.say("there are no such sessions");
    }
    output.table(&["FACET", "VALUE", "SESSIONS"], rows)
}

pub async fn transcript(
    connection: &Connection,
    command: Transcript,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        Transcript::Append { place: space, id, file } => {
            let client = connection.client_without_retries()?;
            append(&client, &space.space, &id, &file, output).await
        }
        Transcript::Show { place: space, id, page, limit, all } => {
            let client = connection.client()?;
            let (org, workspace) = place(&client, &space.space).await?;
            let mut request = client.saved_sessions(&org, &workspace).transcript(id);
            if let Some(page) = page {
                request = request.page(page);
            }
            if let Some(limit) = limit {
                request = request.limit(limit);
            }
            show(request, all, output).await
        }
    }
}

/// Appends the turns of a file, some at once, and tells how far it is.
async fn append(
    client: &Client,
    space: &str,
    id: &str,
    file: &Path,
    output: &Output,
) -> Result<(), Failure> {
    let turns = turns::read(&read(file)?)?;
    let bar = ProgressBar::new(turns.len() as u64);
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    let me = patiently(&bar, || client.me()).await?;
    let slug = pick_space(&me.spaces, space)?.slug.clone();
    let sessions = client.saved_sessions(&me.organization.slug, &slug);
    // the whole id: turns that name none get theirs from it
    let session = patiently(&bar, || sessions.view(id)).await?;
    let turns = turns::identified(turns, session.id);
    let (mut appended, mut there) = (0, 0);
    for batch in turns::batches(&turns) {
        match patiently(&bar, || request(&sessions, session.id, batch)).await {
            Ok(answer) => {
                appended += answer.appended as usize;
                there += batch.len() - answer.appended as usize;
                bar.inc(batch.len() as u64);
            }
            Err(error) => {
                bar.finish_and_clear();
                let left = turns.len() - appended - there;
                let said = format!(
                    "{appended} appended, {there} were there already, {left} left: once the \
                     reason is gone, run it again"
                );
                eprintln!("{said}");
                return Err(located(error, batch));
            }
        }
    }
    bar.finish_and_clear();
    if output.is_json() {
        let data = json!({ "appended": appended, "skipped": there, "session_id": session.id });
        return output.json(&data);
    }
    output.say(&format!("{appended} appended, {there} were there already"))
}

/// Safe to repeat, as every turn has an id.
fn request(
    sessions: &SavedSessions<'_>,
    id: Uuid,
    batch: &[Turn],
) -> Request<operation::TranscriptAppend> {
    sessions.append(id, batch.iter().map(|turn| turn.message.clone()))
}

/// The same failure, with the lines of the file instead of places in the request.
fn located(error: switchy::Error, batch: &[Turn]) -> Failure {
    use switchy::PathStep::{Field, Index};
    if exit_of(&error) != Exit::Invalid {
        return error.into();
    }
    for issue in error.field_errors() {
        let (line, field) = match issue.path.as_slice() {
            [Field(list), Index(i), rest @ ..] if list == "messages" => {
                let turn = usize::try_from(*i).ok().and_then(|i| batch.get(i));
                let mut field = issue.clone();
                field.path = rest.to_vec();
                (turn.map(|turn| turn.line), field)
            }
            _ => (None, issue.clone()),
        };
        match line {
            Some(line) => eprintln!("line {line}: {}", printable(&field.to_string())),
            None => eprintln!("{}", printable(&field.to_string())),
        }
    }
    Failure::new(Exit::Invalid, "the server does not accept these messages")
}

async fn show(
    request: Request<operation::Transcript>,
    all: bool,
    output: &Output,
) -> Result<(), Failure> {
    if output.is_json() {
        if !all {
            return output.json(&request.raw().await?);
        }
        let mut messages = Vec::new();
        let mut request = request.limit(FULL_PAGE).page(1);
        for page in 1.. {
            request = request.page(page);
            let mut answer = request.clone().raw().await?;
            if let Value::Array(found) = answer["messages"].take() {
                messages.extend(found);
            }
            if answer["has_next"] != true {
                break;
            }
        }
        return output.json(&json!({ "total": messages.len(), "messages": messages }));
    }
    if all {
        let mut messages = request.limit(FULL_PAGE).stream();
        while let Some(message) = messages.try_next().await? {
            say(&message, output)?;
        }
        return Ok(());
    }
    let page = request.await?;
    if page.messages.is_empty() {
        return output.say("there are no such messages");
    }
    for message in &page.messages {
        say(message, output)?;
    }
    if page.has_next {
        eprintln!("page {} of {}; --all shows every message", page.page, page.total_pages);
    }
    Ok(())
}

/// Prints one message: who speaks, when, what it took, and what it says.
fn say(message: &types::TranscriptMessage, output: &Output) -> Result<(), Failure> {
    let usage = message.usage.as_ref().map(|usage| {
        let cost = usage.cost_usd.map(|cost| format!(", ${cost}")).unwrap_or_default();
        format!("{} in, {} out{cost}", usage.input_tokens, usage.output_tokens)
    });
    let calls = message.tool_calls.as_ref().and_then(Value::as_array).map(|calls| {
        let name = |call: &Value| {
            let name = call["function"]["name"].as_str().or(call["name"].as_str());
            name.unwrap_or("a tool").to_string()
        };
        format!("calls {}", calls.iter().map(name).collect::<Vec<_>>().join(", "))
    });
    let headline = [
        message.role.to_string(),
        message.agent.clone().unwrap_or_default(),
        date(&message.created_at),
        usage.unwrap_or_default(),
        calls.unwrap_or_default(),
        message.id.to_string(),
    ];
    output.record(&headline, &message.content)
}

fn view(session: &types::SessionResponse, output: &Output) -> Result<(), Failure> {
    let mut labels: Vec<_> = session
        .labels
        .iter()
        .flat_map(|(key, values)| values.iter().map(move |value| format!("{key}:{value}")))
        .collect();
    labels.sort();
    let usage = &session.usage;
    let tokens = format!("{} in, {} out", usage.total_input_tokens, usage.total_output_tokens);
    let cost = usage.total_cost_usd.map_or_else(|| "not known".into(), |cost| format!("${cost}"));
    output.fields(&[
        ("id", Some(session.id.to_string())),
        ("title", session.title.clone()),
        ("model", session.model.clone()),
        ("agent", session.agent.clone()),
        ("visibility", Some(session.visibility.to_string())),
        ("origin", Some(session.origin.to_string())),
        ("labels", Some(labels.join(" ")).filter(|labels| !labels.is_empty())),
        ("messages", Some(session.message_count.to_string())),
        ("tokens", Some(tokens)),
        ("cost", Some(cost)),
        ("saved by", session.created_by.as_ref().map(|user| user.email.clone())),
        ("created", Some(date(&session.created_at))),
        ("changed", Some(date(&session.updated_at))),
        ("archived", session.archived_at.as_ref().map(date)),
    ])
}
