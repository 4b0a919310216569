//! Reactions to messages (contract B3, E3).

use super::sessions::checked_slug;
use super::{Call, Ctx, Kept};
use crate::auth::{Scope, SpaceRole};
use crate::error::{Error, Result};
use crate::http::{Answer, Check, Created, IdempotencyKey, Issues, NoContent, Reply, Unread};
use crate::store::ids::MessageId;
use crate::store::rights::Right;
use crate::store::{reactions as store, spaces};
use dropshot::{Path, endpoint};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The emoji that there are, as they are kept.
pub const EMOJI: [&str; 8] = ["👍", "👎", "😄", "🎉", "😕", "❤️", "🚀", "👀"];

/// Asks for an emoji where a text could stand as well; many keyboards leave it out.
const VARIATION_SELECTOR: char = '\u{fe0f}';

/// The emoji as it is kept, if it is one of them.
fn canonical(given: &str) -> Option<&'static str> {
    let plain = |text: &str| text.trim_end_matches(VARIATION_SELECTOR).to_owned();
    EMOJI.into_iter().find(|emoji| plain(emoji) == plain(given))
}

/// A reaction to add.
#[derive(Deserialize, JsonSchema)]
struct ReactionCreate {
    /// One of 👍 👎 😄 🎉 😕 ❤️ 🚀 👀.
    #[schemars(regex(pattern = "^(👍|👎|😄|🎉|😕|❤|🚀|👀)\u{fe0f}?$"))]
    #[schemars(length(min = 1, max = 8), example = "example_emoji")]
    emoji: String,
}

fn example_emoji() -> &'static str {
    "👍"
}

impl Check for ReactionCreate {
    fn check(&self, issues: &mut Issues) {
        if canonical(&self.emoji).is_none() {
            let message = format!("must be one of {}", EMOJI.join(" "));
            issues.add("emoji", "unknown_emoji", message);
        }
    }
}

/// How a message was reacted to.
#[derive(Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct Reaction {
    /// The message.
    message_id: MessageId,
    /// The emoji.
    #[schemars(example = "example_emoji")]
    emoji: String,
    /// How many have reacted so, the caller included.
    count: i64,
}

/// One reaction.
#[derive(Serialize, JsonSchema)]
struct ReactionData {
    /// The reaction.
    reaction: Reaction,
}

/// A message of a Space.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct MessagePath {
    /// The Space's slug.
    #[schemars(length(min = 1, max = 100), example = "example_slug")]
    slug: String,
    /// The message's id.
    #[schemars(with = "MessageId")]
    message_id: String,
}

/// A reaction to a message of a Space.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
struct ReactionPath {
    /// The Space's slug.
    #[schemars(length(min = 1, max = 100), example = "example_slug")]
    slug: String,
    /// The message's id.
    #[schemars(with = "MessageId")]
    message_id: String,
    /// The emoji, percent-encoded.
    #[schemars(length(min = 1, max = 8), example = "example_emoji")]
    emoji: String,
}

fn example_slug() -> &'static str {
    "platform-team"
}

fn parsed(message_id: &str) -> Result<MessageId> {
    message_id.parse().map_err(|_| Error::not_found("message"))
}

/// React to a message
///
/// Members of the Space may, except its VIEWERs. Once more is no error, and changes nothing. In an
/// archived session: 409.
#[endpoint { method = POST, path = "/api/spaces/{slug}/messages/{messageId}/reactions", tags = ["Messages"], operation_id = "reaction_add" }]
pub(super) async fn reaction_add(
    ctx: Ctx,
    path: Path<MessagePath>,
    key: IdempotencyKey,
    body: Unread<ReactionCreate>,
) -> Answer<Created<ReactionData>> {
    let mut call = Call::writing(&ctx, Scope::MessagesWrite).await?;
    let body = call.body(body).await?;
    call.create(key, body, async |tx, body| {
        let given = body.emoji;
        let emoji = canonical(&given).ok_or_else(|| Error::not_found("emoji"))?;
        let path = path.into_inner();
        let (slug, message_id) = (checked_slug(path.slug)?, parsed(&path.message_id)?);
        let space = spaces::view_by_slug(tx, &slug).await?;
        let count = store::add(tx, &space, &message_id, emoji).await?;
        let encoded = form_urlencoded::byte_serialize(emoji.as_bytes()).collect::<String>();
        let location =
            format!("{}/spaces/{slug}/messages/{message_id}/reactions/{encoded}", super::PREFIX);
        let right = Right::Message(space.0.id, message_id.clone(), SpaceRole::Member);
        let reaction = Reaction { message_id, emoji: emoji.to_owned(), count };
        let data = ReactionData { reaction };
        Ok(Kept::new(&data, right)?.at(location))
    })
    .await
}

/// Take a reaction back
///
/// One's own alone. Where there is none, nothing happens: 204 all the same. An emoji that is none
/// of the eight: 404. In an archived session: 409.
#[endpoint { method = DELETE, path = "/api/spaces/{slug}/messages/{messageId}/reactions/{emoji}", tags = ["Messages"], operation_id = "reaction_remove" }]
pub(super) async fn reaction_remove(ctx: Ctx, path: Path<ReactionPath>) -> Answer<NoContent> {
    let call = Call::writing(&ctx, Scope::MessagesWrite).await?;
    let path = path.into_inner();
    let (slug, message_id) = (checked_slug(path.slug)?, parsed(&path.message_id)?);
    call.write(async |tx| {
        let space = spaces::view_by_slug(tx, &slug).await?;
        let emoji = canonical(&path.emoji).ok_or_else(|| Error::not_found("emoji"))?;
        store::remove(tx, &space, &message_id, emoji).await
    })
    .await?;
    Reply::no_content()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_emoji_is_the_same_with_and_without_its_variation_selector() {
        for emoji in EMOJI {
            assert_eq!(canonical(emoji), Some(emoji));
        }
        assert_eq!(canonical("❤"), Some("❤️"));
        assert_eq!(canonical("👍\u{fe0f}"), Some("👍"));
        for other in ["", "\u{fe0f}", "x", ":+1:", "👍👍", "👍🏽", "🍕"] {
            assert_eq!(canonical(other), None, "{other}");
        }
    }
}
