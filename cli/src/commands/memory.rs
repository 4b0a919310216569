//! `memory`, but for `memory import`.

use std::io::{self, Read};

use futures::TryStreamExt;
use serde_json::{Value, json};
use switchy::{Client, Request, operation, types};

use super::{confirm::confirmed, import};
use crate::{
    args::{Audience, Memory, MemoryAdd, MemoryList, MemorySearch, MemoryUpdate, Visibility},
    connection::{Connection, space_id},
    failure::{Exit, Failure},
    output::{Output, date},
};

/// Longest note that a search shows whole, in characters; of others the sentences that say why they
/// were found.
const SHOWN_WHOLE: usize = 1_000;
/// The most notes that a page holds.
const FULL_PAGE: u32 = 100;

pub async fn run(connection: &Connection, command: Memory, output: &Output) -> Result<(), Failure> {
    match command {
        Memory::List(options) => list(&connection.client()?, options, output).await,
        Memory::Add(options) => add(&connection.client()?, options, output).await,
        Memory::View { id } => view(&connection.client()?, id, output).await,
        Memory::Update(options) => update(&connection.client()?, options, output).await,
        Memory::Delete { yes, ids } => delete(&connection.client()?, yes, &ids, output).await,
        Memory::Search(options) => search(&connection.client()?, options, output).await,
        Memory::Import { file, audience } => {
            import::run(connection, &file, &audience, output).await
        }
    }
}

/// The visibility that is meant: `SPACE` where a Space is named, `PRIVATE` otherwise.
///
/// # Errors
///
/// When a Space and another visibility are named, or `space` without a Space.
pub fn visibility_of(audience: &Audience) -> Result<types::Visibility, Failure> {
    match (audience.visibility, &audience.space) {
        (None, None) => Ok(types::Visibility::Private),
        (None | Some(Visibility::Space), Some(_)) => Ok(types::Visibility::Space),
        (Some(Visibility::Space), None) => {
            Err(Failure::usage("--visibility space needs --space, to say which"))
        }
        (Some(_), Some(_)) => Err(Failure::usage("--space goes with --visibility space alone")),
        (Some(visibility), None) => Ok(visibility.into()),
    }
}

async fn list(client: &Client, options: MemoryList, output: &Output) -> Result<(), Failure> {
    let mut request = client.memory().list();
    if let Some(space) = &options.space {
        request = request.space(space_id(client, space).await?);
    }
    if let Some(visibility) = options.visibility {
        request = request.visibility(visibility.into());
    }
    if let Some(tag) = options.tag {
        request = request.tag(tag);
    }
    if let Some(before) = options.before {
        request = request.before(before);
    }
    if let Some(limit) = options.limit {
        request = request.limit(limit);
    }
    if output.is_json() {
        let data = if options.all { all(request).await? } else { request.raw().await? };
        return output.json(&data);
    }

    let me = client.me().await?;
    if options.all {
        let mut notes = request.stream();
        while let Some(note) = notes.try_next().await? {
            show(&note, None, &me, output)?;
        }
        return Ok(());
    }
    let page = request.await?;
    if page.memories.is_empty() {
        return output.say("there are no such notes");
    }
    for note in &page.memories {
        show(note, None, &me, output)?;
    }
    if (page.memories.len() as u64) < u64::from(page.total) {
        eprintln!("{} of {}; --all shows every note", page.memories.len(), page.total);
    }
    Ok(())
}

/// Every note of a list, as one page.
async fn all(request: Request<operation::MemoryList>) -> Result<Value, Failure> {
    let mut request = request.limit(FULL_PAGE);
    let mut notes = Vec::new();
    loop {
        let mut answer = request.clone().raw().await?;
        let Value::Array(found) = answer["memories"].take() else { break };
        let full = found.len() >= FULL_PAGE as usize;
        let last = found.last().and_then(|note| note["id"].as_str()).map(str::to_string);
        notes.extend(found);
        match last.filter(|_| full) {
            Some(id) => request = request.before(id),
            None => break,
        }
    }
    Ok(json!({ "total": notes.len(), "memories": notes }))
}

/// What a note is to say: the text itself, or standard input for `-`.
fn content(given: String) -> Result<String, Failure> {
    if given != "-" {
        return Ok(given);
    }
    let mut text = String::new();
    let read = io::stdin().read_to_string(&mut text);
    read.map_err(|cause| Failure::usage(format!("cannot read the note: {cause}")))?;
    Ok(text.trim_end_matches(['\n', '\r']).to_string())
}

async fn view(client: &Client, id: String, output: &Output) -> Result<(), Failure> {
    let request = client.memory().view(id);
    if output.is_json() {
        return output.json(&request.raw().await?);
    }
    let note = request.await?;
    show(&note, None, &client.me().await?, output)
}

async fn update(client: &Client, options: MemoryUpdate, output: &Output) -> Result<(), Failure> {
    let mut request = client.memory().update(&options.id);
    if let Some(text) = options.content {
        request = request.content(content(text)?);
    }
    if !options.tags.is_empty() || options.no_tags {
        request = request.tags(options.tags);
    }
    if let Some(url) = options.source_url {
        request = request.source_url(url);
    }
    match (options.visibility, &options.space) {
        (Some(Visibility::Private | Visibility::Org), Some(_)) => {
            return Err(Failure::usage("--space goes with --visibility space alone"));
        }
        // A Space is for those who are in it, whoever saw the note before.
        (None, Some(_)) => request = request.visibility(types::Visibility::Space),
        (Some(visibility), _) => request = request.visibility(visibility.into()),
        (None, None) => {}
    }
    if let Some(space) = &options.space {
        request = request.space(space_id(client, space).await?);
    }
    if output.is_json() {
        return output.json(&request.raw().await?);
    }
    let note = request.await?;
    output.say(&format!("changed {} ({})", note.id, note.visibility))
}

async fn add(client: &Client, options: MemoryAdd, output: &Output) -> Result<(), Failure> {
    let visibility = visibility_of(&options.audience)?;
    let content = content(options.content)?;
    let mut request = client.memory().create(content, visibility);
    if let Some(space) = &options.audience.space {
        request = request.space(space_id(client, space).await?);
    }
    if !options.tags.is_empty() {
        request = request.tags(options.tags);
    }
    if let Some(url) = options.source_url {
        request = request.source_url(url);
    }
    if output.is_json() {
        return output.json(&request.raw().await?);
    }
    let note = request.await?;
    output.say(&format!("wrote {} ({})", note.id, note.visibility))
}

async fn delete(
    client: &Client,
    yes: bool,
    ids: &[String],
    output: &Output,
) -> Result<(), Failure> {
    let question = match ids {
        [id] => format!("Delete {id} for good?"),
        _ => format!("Delete {} notes for good?", ids.len()),
    };
    if !confirmed(yes, &question)? {
        return output.say("nothing was deleted");
    }
    // One note that cannot be deleted is no reason to keep the others.
    let mut first_failure = None;
    for id in ids {
        match client.memory().delete(id).await {
            Ok(()) => output.say(&format!("deleted {id}"))?,
            Err(error) => {
                let failure = Failure::from(error).about(id);
                match failure.exit() {
                    Exit::NotFound | Exit::Forbidden => {
                        let exit = failure.report();
                        first_failure.get_or_insert(exit);
                    }
                    _ => return Err(failure),
                }
            }
        }
    }
    first_failure.map_or(Ok(()), |exit| Err(Failure::told(exit)))
}

async fn search(client: &Client, options: MemorySearch, output: &Output) -> Result<(), Failure> {
    let mut request = client.memory().search(options.query);
    if let Some(space) = options.space {
        request = request.space(space_id(client, &space).await?);
    }
    if let Some(visibility) = options.visibility {
        request = request.visibility(visibility.into());
    }
    if let Some(author) = options.author {
        request = request.author(author);
    }
    if !options.tags.is_empty() {
        request = request.tags(options.tags);
    }
    if let Some(at) = options.after {
        request = request.created_after(at);
    }
    if let Some(at) = options.before {
        request = request.created_before(at);
    }
    if let Some(score) = options.min_score {
        request = request.min_score(score);
    }
    if let Some(limit) = options.limit {
        request = request.limit(limit);
    }
    if output.is_json() {
        return output.json(&request.raw().await?);
    }
    let found = request.await?;
    if found.degraded {
        eprintln!("the server's embedding model is not available: found by words alone");
    }
    if found.results.is_empty() {
        return output.say("nothing was found");
    }
    let me = client.me().await?;
    for hit in &found.results {
        let mut note = hit.memory.clone();
        if note.content.chars().count() > SHOWN_WHOLE && !hit.highlights.is_empty() {
            let parts: Vec<_> = hit.highlights.iter().map(|part| part.text.as_str()).collect();
            note.content = format!("… {} …", parts.join(" … "));
        }
        show(&note, Some(hit.score), &me, output)?;
    }
    Ok(())
}

/// Prints one note: how well it fits, who sees it, who wrote it and when, and what it says.
fn show(
    note: &types::Memory,
    score: Option<f64>,
    me: &types::Me,
    output: &Output,
) -> Result<(), Failure> {
    let space = note.space_id.as_ref().map(|id| {
        let known = me.spaces.iter().find(|space| space.id == *id);
        known.map_or_else(|| id.clone(), |space| space.slug.clone())
    });
    let author = match note.author_user_id == me.user.id {
        true => "you".to_string(),
        false => note.author_user_id.clone(),
    };
    let tags: Vec<_> = note.tags.iter().map(|tag| format!("#{tag}")).collect();
    let headline = [
        score.map(|score| format!("{score:.2}")).unwrap_or_default(),
        note.visibility.to_string(),
        space.unwrap_or_default(),
        author,
        note.written_by_user_id.as_ref().map(|by| format!("written by {by}")).unwrap_or_default(),
        date(&note.created_at),
        tags.join(" "),
        note.source_url.clone().unwrap_or_default(),
        note.id.clone(),
    ];
    output.record(&headline, &note.content)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meant(visibility: Option<Visibility>, space: Option<&str>) -> Option<types::Visibility> {
        visibility_of(&Audience { visibility, space: space.map(str::to_string) }).ok()
    }

    #[test]
    fn a_space_means_that_its_members_see_it() {
        assert_eq!(meant(None, None), Some(types::Visibility::Private));
        assert_eq!(meant(None, Some("a")), Some(types::Visibility::Space));
        assert_eq!(meant(Some(Visibility::Space), Some("a")), Some(types::Visibility::Space));
        assert_eq!(meant(Some(Visibility::Org), None), Some(types::Visibility::Org));
        assert_eq!(meant(Some(Visibility::Space), None), None);
        assert_eq!(meant(Some(Visibility::Org), Some("a")), None);
    }
}
