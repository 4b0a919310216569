//! `message`.

use std::io::{self, Read};

use serde_json::{Value, json};
use switchy::{Client, EventKind, Messages, Request, operation, types};

use crate::{
    args::{InSession, Message, MessageList, MessageSearch, MessageSend},
    connection::space_slug,
    failure::{Exit, Failure},
    output::{Output, date},
};

/// The most messages that a page holds.
const FULL_PAGE: u32 = 100;

pub async fn run(client: &Client, command: Message, output: &Output) -> Result<(), Failure> {
    match command {
        Message::Send(options) => send(client, options, output).await,
        Message::List(options) => list(client, options, output).await,
        Message::Search(options) => search(client, options, output).await,
        Message::Watch { place, last } => watch(client, &place, last, output).await,
        Message::React { place, id, emoji } => {
            let slug = space_slug(client, &place.space).await?;
            let request = client.messages(&slug, "").react(id, emoji);
            if output.is_json() {
                return output.json(&request.raw().await?);
            }
            let reaction = request.await?;
            output.say(&format!("{} {}", reaction.emoji, reaction.count))
        }
        Message::Unreact { place, id, emoji } => {
            let slug = space_slug(client, &place.space).await?;
            client.messages(&slug, "").unreact(id, &emoji).await?;
            output.say(&format!("took {emoji} back"))
        }
    }
}

async fn send(client: &Client, options: MessageSend, output: &Output) -> Result<(), Failure> {
    let body = match options.text.as_str() {
        "-" => {
            let mut text = String::new();
            let read = io::stdin().read_to_string(&mut text);
            read.map_err(|cause| Failure::usage(format!("cannot read the message: {cause}")))?;
            text
        }
        _ => options.text,
    };
    let slug = space_slug(client, &options.place.space).await?;
    let mut request = client.messages(&slug, &options.place.session).send(body);
    if let Some(parent) = options.parent {
        request = request.parent(parent);
    }
    if let Some(agent) = options.agent {
        request = request.agent(agent);
    }
    if let Some(model) = options.model {
        request = request.model(model);
    }
    if output.is_json() {
        return output.json(&request.raw().await?);
    }
    let message = request.await?;
    output.say(&format!("sent {}", message.id))
}

async fn list(client: &Client, options: MessageList, output: &Output) -> Result<(), Failure> {
    let slug = space_slug(client, &options.place.space).await?;
    let mut request = client.messages(&slug, &options.place.session).list();
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
    let mut request = if options.all { request.limit(FULL_PAGE) } else { request };
    let mut shown = 0;
    loop {
        let page = request.clone().await?;
        for message in &page.messages {
            let aside = aside(&page, &message.id);
            show(message, &aside, &me, output)?;
        }
        shown += page.messages.len();
        let full = page.messages.len() >= FULL_PAGE as usize;
        match page.messages.last().filter(|_| options.all && full) {
            Some(last) => request = request.before(&last.id),
            None if shown == 0 => return output.say("there are no such messages"),
            None => {
                if !options.all && (shown as i64) < page.total {
                    eprintln!("{shown} of {}; --all shows every message", page.total);
                }
                return Ok(());
            }
        }
    }
}

async fn search(client: &Client, options: MessageSearch, output: &Output) -> Result<(), Failure> {
    let slug = space_slug(client, &options.place.space).await?;
    let mut request = client.search_messages(&slug, options.query);
    if let Some(session) = options.session {
        request = request.session(session);
    }
    if let Some(author) = options.author {
        request = request.author(author);
    }
    if let Some(agent) = options.agent {
        request = request.agent(agent);
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
    if let Some(turns) = options.context {
        request = request.context(turns);
    }
    if let Some(limit) = options.limit {
        request = request.limit(limit);
    }
    if output.is_json() {
        return output.json(&request.raw().await?);
    }
    let found = request.await?;
    if found.is_empty() {
        return output.say("nothing was found");
    }
    let me = client.me().await?;
    for hit in &found {
        let session = hit.session_name.as_deref().unwrap_or("a session without a title");
        output.say(&format!("── {:.2}  {session}  {}", hit.score, hit.message.session_id))?;
        for message in &hit.before {
            show(message, &[], &me, output)?;
        }
        show(&hit.message, &["found".to_string()], &me, output)?;
        for message in &hit.after {
            show(message, &[], &me, output)?;
        }
    }
    Ok(())
}

/// Every message of a list, as one page.
async fn all(request: Request<operation::MessageList>) -> Result<Value, Failure> {
    let mut request = request.limit(FULL_PAGE);
    let (mut messages, mut replies, mut reactions) = (Vec::new(), json!({}), json!({}));
    loop {
        let mut answer = request.clone().raw().await?;
        for (whole, field) in [(&mut replies, "replyCount"), (&mut reactions, "reactions")] {
            if let (Some(whole), Value::Object(part)) =
                (whole.as_object_mut(), answer[field].take())
            {
                whole.extend(part);
            }
        }
        let Value::Array(found) = answer["messages"].take() else { break };
        let full = found.len() >= FULL_PAGE as usize;
        let last = found.last().and_then(|message| message["id"].as_str()).map(str::to_string);
        messages.extend(found);
        match last.filter(|_| full) {
            Some(id) => request = request.before(id),
            None => break,
        }
    }
    let total = messages.len();
    Ok(json!({
        "messages": messages, "replyCount": replies, "reactions": reactions, "total": total
    }))
}

async fn watch(
    client: &Client,
    place: &InSession,
    last: u32,
    output: &Output,
) -> Result<(), Failure> {
    let slug = space_slug(client, &place.space).await?;
    let messages = client.messages(&slug, &place.session);
    tokio::select! {
        outcome = follow(client, messages, last, output) => outcome,
        // who presses Ctrl-C has seen enough
        pressed = tokio::signal::ctrl_c() => Ok(pressed?),
    }
}

async fn follow(
    client: &Client,
    messages: Messages<'_>,
    last: u32,
    output: &Output,
) -> Result<(), Failure> {
    let me = match output.is_json() {
        true => None,
        false => Some(client.me().await?),
    };
    let mut events = messages.events();
    // first this, then the list: so nothing is missed in between
    events.connect().await?;
    let mut shown = Vec::new();
    if last > 0 {
        if let Some(me) = &me {
            let page = messages.list().limit(last).await?;
            for message in page.messages.iter().rev() {
                show(message, &[], me, output)?;
            }
            shown.extend(page.messages.into_iter().map(|message| message.id));
        } else {
            let mut page = messages.list().limit(last).raw().await?;
            let Value::Array(found) = page["messages"].take() else { return Ok(()) };
            for message in found.into_iter().rev() {
                shown.extend(message["id"].as_str().map(str::to_string));
                let data = json!({ "message": message });
                output.line(&json!({ "id": null, "event": "message.created", "data": data }))?;
            }
        }
    }
    while let Some(event) = events.next().await? {
        if let EventKind::MessageCreated(message) = &event.kind
            && shown.contains(&message.id)
        {
            continue;
        }
        match &me {
            None => {
                let line = json!({ "id": event.id, "event": event.name, "data": event.data });
                output.line(&line)?;
            }
            Some(me) => match &event.kind {
                EventKind::MessageCreated(message) => show(message, &[], me, output)?,
                EventKind::SessionArchived(_) => eprintln!("the session was archived"),
                EventKind::Reset => {
                    eprintln!("some messages were missed; `switchy message list` shows them");
                }
                _ => {}
            },
        }
        if let EventKind::End(reason) = &event.kind {
            return Err(ended(reason, event.data["message"].as_str().unwrap_or_default()));
        }
    }
    Ok(())
}

/// The server showed us out: why, and with which code the process ends.
fn ended(reason: &types::EndReason, message: &str) -> Failure {
    let exit = match reason {
        types::EndReason::KeyInvalid => Exit::Authentication,
        types::EndReason::NotAMember => Exit::Forbidden,
        types::EndReason::SpaceArchived | types::EndReason::SessionHidden => Exit::NotFound,
        _ => Exit::Unavailable,
    };
    let said = if message.is_empty() { reason.as_str() } else { message };
    Failure::new(exit, said)
}

/// What others said to a message: replies and reactions.
fn aside(page: &types::MessagePage, id: &str) -> Vec<String> {
    let replies = page.reply_count.get(id).copied().unwrap_or_default();
    let replies = match replies {
        0 => None,
        1 => Some("1 reply".to_string()),
        n => Some(format!("{n} replies")),
    };
    let mut reactions: Vec<_> = page.reactions.get(id).into_iter().flatten().collect();
    reactions.sort();
    let reactions = reactions.into_iter().map(|(emoji, count)| format!("{emoji} {count}"));
    replies.into_iter().chain(reactions).collect()
}

/// Prints one message: who said it and when, to what, and what it says.
fn show(
    message: &types::Message,
    aside: &[String],
    me: &types::Me,
    output: &Output,
) -> Result<(), Failure> {
    let user = match &message.author_user_id {
        Some(id) if *id == me.user.id => "you".to_string(),
        Some(id) => id.clone(),
        None => String::new(),
    };
    let author = match &message.author_agent {
        Some(agent) if user.is_empty() => format!("@{agent}"),
        Some(agent) => format!("@{agent} for {user}"),
        None if user.is_empty() => message.author_type.to_string(),
        None => user,
    };
    let mut headline = vec![author, date(&message.created_at)];
    headline.extend(message.written_by_user_id.as_ref().map(|by| format!("written by {by}")));
    headline.extend(message.model.clone());
    headline.extend(message.parent_message_id.as_ref().map(|id| format!("reply to {id}")));
    headline.extend(aside.iter().cloned());
    headline.push(message.id.clone());
    output.record(&headline, &message.body)
}
