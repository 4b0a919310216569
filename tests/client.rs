//! The typed client against the real server.

use crate::fixture::{Options, Server};
use futures::TryStreamExt;
use switchy::ErrorCode;
use switchy::types;
use switchy::types::{InvitedRole, Visibility};
use switchy_server::auth::OrgRole;
use switchy_server::clock::{Clock, ManualClock};
use switchy_server::limits::Limits;

#[tokio::test]
async fn every_operation_has_a_method() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let client = org.owner.client();

    let me = client.me().await.expect("me");
    assert_eq!(
        (me.user.email.as_str(), me.organization.slug.as_str()),
        ("owner@acme.test", "acme")
    );
    assert_eq!(client.health().await.expect("health").status, "ok");
    assert!(client.ready().await.expect("ready").semantic_search);
    let served = client.openapi().await.expect("openapi");
    assert_eq!(served["openapi"], "3.1.0");
    let mcp = client.mcp_openapi().await.expect("the MCP endpoint's document");
    assert!(mcp["paths"]["/mcp/rpc"]["post"].is_object());

    let space = client.spaces().create("Platform").tags(["a"]).await.expect("space");
    assert_eq!(client.spaces().view(&space.id).await.expect("space"), space);
    assert_eq!(
        client.spaces().list().await.expect("spaces").projects,
        std::slice::from_ref(&space)
    );

    let sessions = client.sessions(&space.slug);
    let session = sessions.create("Upgrade").default_agent("claude").await.expect("session");
    let renamed = sessions.update(&session.id).title("Upgrade to 18").await.expect("session");
    assert_eq!(renamed.title, "Upgrade to 18");
    assert_eq!(sessions.list().await.expect("sessions").len(), 1);
    sessions.archive(&session.id).await.expect("archived");
    assert!(sessions.view(&session.id).await.expect("session").archived_at.is_some());
    assert!(sessions.list().await.expect("sessions").is_empty());

    let note = client
        .memory()
        .create("The release captain holds the lock.", Visibility::Space)
        .space(&space.id)
        .await
        .expect("note");
    let found = client.memory().search("who has the lock?").await.expect("results");
    assert_eq!(found.results.first().map(|hit| &hit.memory.id), Some(&note.id));
    client.memory().delete(&note.id).await.expect("deleted");
    assert_eq!(client.memory().list().await.expect("notes").total, 0);

    let invitations = client.invitations(&me.organization.id);
    let made = invitations.create("owner@else.test", InvitedRole::Member).await.expect("invited");
    assert_eq!(invitations.list().await.expect("invitations").len(), 1);
    let other = server.org("else").await.owner.client();
    let token = made.token.expect("a token");
    let joined = other.accept_invitation(token).await.expect("joined");
    let members = client.members(&me.organization.id);
    assert_eq!(members.list().await.expect("members").last(), Some(&joined));
    let admin = types::OrgRole::Admin;
    let promoted = members.update(&joined.user_id, admin.clone()).await.expect("promoted");
    assert_eq!(promoted.role, admin);
    members.remove(&joined.user_id).await.expect("removed");
    let again = invitations.create("owner@else.test", InvitedRole::Admin).await.expect("invited");
    invitations.revoke(&again.id).await.expect("revoked");
    assert!(invitations.list().await.expect("invitations").is_empty());
}

#[tokio::test]
async fn spaces_people_notes_and_keys_are_changed() {
    use secrecy::ExposeSecret;
    use switchy::types::{MemoryCreate, SpaceRole};
    let server = Server::start().await;
    let org = server.org("acme").await;
    let eve = server.member(&org, "eve", OrgRole::Member).await;
    let client = org.owner.client();

    let space = client.spaces().create("Platform").description("d").await.expect("space");
    let update = client.spaces().update(&space.id).name("New").default_model("opus");
    let space = update.description("").tags(["a"]).await.expect("space");
    assert_eq!((space.name.as_str(), space.description.as_deref()), ("New", None));
    assert_eq!((space.default_model.as_deref(), &*space.tags), (Some("opus"), &["a".into()][..]));

    let members = client.space_members(&space.id);
    let user = eve.user_id.as_str();
    let member = members.add(user, SpaceRole::Viewer).await.expect("member");
    assert_eq!(member.email, "eve@acme.test");
    let member = members.update(user, SpaceRole::Editor).await.expect("member");
    assert_eq!(members.list().await.expect("members").last(), Some(&member));
    members.remove(user).await.expect("removed");
    assert_eq!(members.list().await.expect("members").len(), 1);

    let note = |content: &str| MemoryCreate {
        content: content.into(),
        visibility: Visibility::Private,
        space_id: None,
        tags: None,
        source_url: None,
    };
    let batch = [note("one"), note("two")];
    let written = client.memory().create_batch(batch).idempotency_key("b").await.expect("notes");
    let contents: Vec<_> = written.iter().map(|note| note.content.as_str()).collect();
    assert_eq!(contents, ["one", "two"]);
    let refused = client.memory().create_batch([note("x"), note("")]).await.expect_err("refused");
    assert_eq!(refused.field_errors()[0].to_string(), "memories[1].content: must not be empty");
    let id = &written[0].id;
    let moved = client.memory().update(id).visibility(Visibility::Space).space(&space.id);
    let moved = moved.content("three").tags(["t"]).source_url("https://a.example/");
    let moved = moved.await.expect("note");
    assert_eq!(client.memory().view(id).await.expect("note"), moved);
    client.spaces().archive(&space.id).await.expect("archived");
    let gone = client.memory().view(id).await.expect_err("gone");
    assert_eq!(gone.code(), &ErrorCode::NotFound);

    let expiry = chrono::Utc::now() + chrono::TimeDelta::hours(1);
    let create = client.keys().create("bot", ["memory:read"]).idempotency_key("k");
    let minted = create.expires_at(expiry).await.expect("key");
    let secret = minted.secret.clone().expect("a secret");
    assert!(!format!("{minted:?}").contains(&secret.expose_secret()[12..]));
    assert!(secret.expose_secret().starts_with(&minted.prefix));
    let bot = |secret| switchy::Client::new(&server.url, secret).expect("a client");
    assert_eq!(bot(secret.clone()).me().await.expect("me").scopes, ["memory:read"]);
    let rotated = client.keys().rotate(&minted.id).idempotency_key("r").await.expect("key");
    assert!(bot(secret).me().await.is_err());
    let again = client.keys().rotate(&minted.id).idempotency_key("r").await.expect("key");
    assert!(again.secret.is_none(), "shown once");
    let secret = rotated.secret.expect("a secret");
    assert!(bot(secret.clone()).me().await.is_ok());
    assert!(client.keys().list().await.expect("keys").iter().any(|key| key.id == minted.id));
    assert_eq!(client.me().await.expect("me").key.prefix.len(), minted.prefix.len());
    let zoe = server.member(&org, "zoe", OrgRole::Member).await.client();
    let acts = client.keys().create("chat", ["act_on_behalf"]).await.expect("key");
    let given = zoe.delegations().allow(&acts.id).await.expect("delegation");
    assert_eq!((&given.key_id, &given.key_user_id), (&acts.id, &acts.user_id));
    assert_eq!(zoe.delegations().list().await.expect("delegations"), [given]);
    zoe.delegations().end(&acts.id).await.expect("ended");
    assert!(zoe.delegations().list().await.expect("delegations").is_empty());
    client.keys().revoke(&minted.id).await.expect("revoked");
    client.keys().revoke(&minted.id).await.expect("no error");
    assert!(bot(secret).me().await.is_err());
}

#[tokio::test]
async fn streams_yield_every_element_once_in_the_order_of_the_list() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let client = org.owner.client();
    let mut names = Vec::new();
    for i in 0..7 {
        names.push(client.spaces().create(format!("Space {i}")).await.expect("space").name);
    }
    names.reverse();
    let streamed: Vec<_> =
        client.spaces().list().limit(3).stream().try_collect().await.expect("spaces");
    assert_eq!(
        streamed.iter().map(|space| &space.name).collect::<Vec<_>>(),
        names.iter().collect::<Vec<_>>()
    );

    let mut contents = Vec::new();
    for i in 0..7 {
        let note = client.memory().create(format!("Note {i}"), Visibility::Private).await;
        contents.push(note.expect("note").content);
    }
    contents.reverse();
    let streamed: Vec<_> =
        client.memory().list().limit(3).stream().try_collect().await.expect("notes");
    assert_eq!(
        streamed.iter().map(|note| &note.content).collect::<Vec<_>>(),
        contents.iter().collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn an_error_tells_its_code_its_request_and_every_field() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let client = org.owner.client();
    let tags = (0..21).map(|i| format!("tag {i}")).collect::<Vec<_>>();
    let error = client.spaces().create("").tags(tags).await.expect_err("refused");
    assert_eq!(error.code(), &ErrorCode::Validation);
    assert_eq!(error.status().map(|s| s.as_u16()), Some(400));
    assert!(error.request_id().is_some());
    let fields = error.field_errors().iter().map(ToString::to_string).collect::<Vec<_>>();
    assert!(fields.iter().any(|f| f.starts_with("name")), "{fields:?}");
    assert!(fields.iter().any(|f| f.starts_with("tags")), "{fields:?}");

    let eve = server.member(&org, "eve", OrgRole::Member).await.client();
    let space = client.spaces().create("Secret").await.expect("space");
    let error = eve.spaces().view(&space.id).await.expect_err("refused");
    assert_eq!(error.code(), &ErrorCode::Forbidden);
    let error = server.nobody().client().me().await.expect_err("refused");
    assert_eq!(error.code(), &ErrorCode::Auth);
}

#[tokio::test]
async fn a_spent_limit_is_waited_for_and_nothing_is_written_twice() {
    let clock = ManualClock::starting_at(chrono::Utc::now());
    let server = Server::with(Options {
        limits: Limits { reads: 0, writes: 1, failures: 0 },
        clock: Clock::Manual(clock.clone()),
        ..Options::default()
    })
    .await;
    let org = server.org("acme").await;
    let client = switchy::Client::builder()
        .base_url(&server.url)
        .api_key(org.owner.key.clone().expect("a key"))
        // sleeping moves the server's clock: a minute passes at once
        .sleep_with(move |wait| {
            clock.advance(chrono::TimeDelta::from_std(wait).expect("short"));
            std::future::ready(())
        })
        .build()
        .expect("a client");
    for i in 0..3 {
        client.memory().create(format!("Note {i}"), Visibility::Org).await.expect("written");
    }
    assert_eq!(client.memory().list().await.expect("notes").total, 3);
}

#[tokio::test]
async fn messages_reactions_and_events_have_methods() {
    let server = Server::start().await;
    let org = server.org("acme").await;
    let client = org.owner.client();
    let space = client.spaces().create("Team").await.expect("space");
    let session = client.sessions(&space.slug).create("Upgrade").await.expect("session");
    let messages = client.messages(&space.slug, &session.id);
    let mut events = messages.events();
    events.connect().await.expect("connected");

    let root = messages.send("Shall we? @claude").await.expect("sent");
    let reply = messages.send("Yes.").parent(&root.id).await.expect("sent");
    assert_eq!(reply.parent_message_id.as_ref(), Some(&root.id));
    assert_eq!(messages.react(&root.id, "❤").await.expect("reacted").emoji, "❤️");
    messages.unreact(&root.id, "❤️").await.expect("taken back");
    messages.react(&root.id, "👍").await.expect("reacted");
    let page = messages.list().await.expect("messages");
    assert_eq!(page.messages, [reply.clone(), root.clone()]);
    let hits = client.search_messages(&space.slug, "yes").session(&session.id).context(1).limit(1);
    let hits = hits.await.expect("found");
    assert_eq!((&hits[0].message, &*hits[0].before), (&reply, &[root.clone()][..]));
    assert_eq!(page.reply_count[&root.id], 1);
    assert_eq!(page.reactions[&root.id]["👍"], 1);
    let error = messages.send("x").agent("claude").await.expect_err("refused");
    assert_eq!(error.code(), &ErrorCode::Forbidden);
    let agent = server.key_for(&org.owner, &["messages:write", "messages:agent"]).await.client();
    let usage = types::MessageUsageCreate {
        input_tokens: Some(3),
        output_tokens: None,
        cache_read_input_tokens: None,
        cache_creation_input_tokens: None,
        tool_call_count: None,
        cost_usd: Some(0.5),
    };
    let answer = agent.messages(&space.slug, &session.id).send("Sure.").agent("claude");
    let answer = answer.model("opus").usage(usage).await.expect("sent");
    assert_eq!(answer.usage.as_ref().map(|u| (u.input_tokens, u.cost_usd)), Some((3, Some(0.5))));

    let mut sent = vec![root, reply, answer];
    for i in 0..5 {
        sent.push(messages.send(format!("m{i}")).await.expect("sent"));
    }
    let mut heard = Vec::new();
    let mut reactions = 0;
    while heard.len() < sent.len() {
        let event = events.next().await.expect("an event").expect("not the end");
        match event.kind {
            switchy::EventKind::MessageCreated(message) => heard.push(*message),
            switchy::EventKind::ReactionAdded(_) | switchy::EventKind::ReactionRemoved(_) => {
                reactions += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((&heard, reactions), (&sent, 3));
    sent.reverse();
    let streamed: Vec<_> = messages.list().limit(3).stream().try_collect().await.expect("messages");
    assert_eq!(streamed, sent);

    client.sessions(&space.slug).archive(&session.id).await.expect("archived");
    let event = events.next().await.expect("an event").expect("not the end");
    assert!(matches!(event.kind, switchy::EventKind::SessionArchived(_)), "{event:?}");
    server.dismiss(&space.id, &org.owner).await;
    let event = events.next().await.expect("an event").expect("the end");
    assert_eq!(event.kind, switchy::EventKind::End(types::EndReason::NotAMember));
    assert_eq!(events.next().await.expect("no failure"), None);
}
