//! What is done: by anybody, to anything, through any of the three doors.

use crate::fixture::Answer;
use crate::model::{Me, Note, Role, Ruling, Session, Sight, Space, over_mcp};
use crate::run::{Run, USERS, Verdict, each};
use http::Method;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use switchy_server::auth::OrgRole;

/// A deed, and the numbers that choose who does it to what: each is taken modulo what there is, so
/// that a run stays one when steps are taken out of it.
#[derive(Clone, Debug)]
pub struct Step {
    pub deed: Deed,
    pub who: u16,
    pub what: u16,
    pub whom: u16,
    pub how: u8,
}

macro_rules! deeds {
    ($($name:ident * $weight:literal,)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Deed { $($name,)* }
        impl Deed {
            /// Every deed, as often as it is to be chosen.
            pub const WEIGHED: &'static [(u32, Deed)] = &[$(($weight, Deed::$name),)*];
        }
    };
}

deeds! {
    SpaceCreate * 7,
    SpaceUpdate * 2,
    SpaceArchive * 1,
    SpaceMemberAdd * 14,
    SpaceMemberUpdate * 4,
    SpaceMemberRemove * 7,
    MemberUpdate * 3,
    MemberRemove * 1,
    Invite * 2,
    SessionCreate * 7,
    SessionUpdate * 3,
    SessionArchive * 1,
    MessageSend * 5,
    React * 3,
    NoteCreate * 8,
    NoteUpdate * 5,
    NoteDelete * 3,
    Save * 8,
    SavedUpdate * 3,
    SavedArchive * 2,
    Append * 4,
    AddMemory * 5,
    PostMessage * 4,
    Delegate * 6,
    EndDelegation * 2,
    Look * 45,
}

/// So many are listed by one request, and found by one search.
const MOST_NOTES: usize = 90;

/// One of `count`; nothing when there is none.
pub fn pick(n: u16, count: usize) -> Option<usize> {
    (count > 0).then(|| usize::from(n) % count)
}

fn text(answer: &Answer, pointer: &str) -> String {
    let value = answer.body.pointer(pointer).and_then(Value::as_str);
    value.unwrap_or_else(|| panic!("{pointer} in {}", answer.text)).to_owned()
}

impl Run<'_> {
    /// Does one step, and compares what came of it.
    pub async fn step(&mut self, step: &Step) -> Verdict {
        self.stepped();
        let key = self.somebody(step);
        let me = self.me(key);
        match step.deed {
            Deed::SpaceCreate => self.space_create(key, me).await,
            Deed::SpaceUpdate | Deed::SpaceArchive => self.space_change(key, me, step).await,
            Deed::SpaceMemberAdd | Deed::SpaceMemberUpdate | Deed::SpaceMemberRemove => {
                self.space_member(key, me, step).await
            }
            Deed::MemberUpdate => self.member_update(key, me, step).await,
            Deed::MemberRemove => self.member_remove(key, me, step).await,
            Deed::Invite => self.invite(key, me, step).await,
            Deed::SessionCreate => self.session_create(key, me, step).await,
            Deed::SessionUpdate | Deed::SessionArchive => self.session_change(key, me, step).await,
            Deed::MessageSend | Deed::React => self.speak(key, me, step).await,
            Deed::NoteCreate => self.note_create(key, me, step).await,
            Deed::NoteUpdate => self.note_update(key, me, step).await,
            Deed::NoteDelete => self.note_delete(key, me, step).await,
            Deed::Save => self.save(key, me, step).await,
            Deed::SavedUpdate | Deed::SavedArchive | Deed::Append => {
                self.saved_change(key, me, step).await
            }
            Deed::AddMemory => self.add_memory(key, me, step).await,
            Deed::PostMessage => self.post_message(key, me, step).await,
            Deed::Delegate | Deed::EndDelegation => self.delegate(key, me, step).await,
            Deed::Look => self.look(key, step).await,
        }
    }

    /// Who does it: three times out of four somebody to whom it is not strange, or the world would
    /// stay empty.
    fn somebody(&self, step: &Step) -> usize {
        use Deed::*;
        let model = &self.model;
        let of_session =
            || pick(step.what, model.sessions.len()).map(|session| model.sessions[session].space);
        let of_note = || pick(step.what, model.notes.len()).map(|note| &model.notes[note]);
        let in_sight = |sight| match sight {
            Sight::Space(space) => Some(space),
            Sight::Private | Sight::Org => None,
        };
        let place = match step.deed {
            SpaceUpdate | SpaceArchive | SpaceMemberAdd | SpaceMemberUpdate | SpaceMemberRemove
            | SessionCreate | Save => pick(step.what, model.spaces.len()),
            SessionUpdate | SessionArchive | MessageSend | React | SavedUpdate | SavedArchive
            | Append | PostMessage => of_session(),
            NoteCreate | AddMemory => in_sight(self.some_sight(step.how, step.what)),
            NoteUpdate | NoteDelete => of_note().and_then(|note| in_sight(note.sight)),
            Look => match step.how % 10 {
                3 | 8 => pick(step.what, model.spaces.len()),
                4 | 5 | 9 => of_session(),
                6 => of_note().and_then(|note| in_sight(note.sight)),
                _ => None,
            },
            SpaceCreate | MemberUpdate | MemberRemove | Invite | Delegate | EndDelegation => None,
        };
        let owner = matches!(step.deed, SpaceMemberAdd | SpaceMemberUpdate | SpaceMemberRemove);
        let author = match step.deed {
            NoteUpdate => of_note().map(|note| note.author),
            _ => None,
        };
        let fits = |key: &usize| {
            let me = self.me(*key);
            let there = place.is_none_or(|place| match model.role_in(me, place) {
                Some(role) => role == Role::Owner || !owner,
                None => false,
            });
            there && !model.keys[*key].dead && author.is_none_or(|author| author == me.user)
        };
        let fitting: Vec<usize> = (0..model.keys.len()).filter(fits).collect();
        match pick(step.who / 4, fitting.len()).filter(|_| !step.who.is_multiple_of(4)) {
            Some(n) => fitting[n],
            None => usize::from(step.who / 4) % model.keys.len(),
        }
    }

    async fn space_create(&mut self, key: usize, me: Me) -> Verdict {
        let name = self.fresh();
        let answer = self.ask(key, Method::POST, "/projects", Some(json!({ "name": name }))).await;
        if self.ruled(key, 201, Ok(()), &answer)?.is_some() {
            let (id, slug) =
                (text(&answer, "/data/project/id"), text(&answer, "/data/project/slug"));
            let (members, once) = (BTreeMap::new(), BTreeSet::new());
            let space = Space { id, slug, org: me.org, archived: false, members, once };
            self.model.spaces.push(space);
            self.model.join_space(self.model.spaces.len() - 1, me.user, Role::Owner);
        }
        Ok(())
    }

    async fn space_change(&mut self, key: usize, me: Me, step: &Step) -> Verdict {
        let Some(space) = pick(step.what, self.model.spaces.len()) else { return Ok(()) };
        let path = format!("/projects/{}", self.model.spaces[space].id);
        if step.deed == Deed::SpaceUpdate {
            let ruling = match self.model.enter(me, space) {
                Ok(role) if role <= Role::Editor => Ok(()),
                Ok(_) => Err(403),
                Err(status) => Err(status),
            };
            let body = json!({ "description": self.fresh() });
            let answer = self.ask(key, Method::PATCH, &path, Some(body)).await;
            return self.ruled(key, 200, ruling, &answer).map(drop);
        }
        let ruling = self.model.archive_space(me, space);
        let answer = self.ask(key, Method::DELETE, &path, None).await;
        if self.ruled(key, 204, ruling, &answer)?.is_some() {
            self.model.spaces[space].archived = true;
        }
        Ok(())
    }

    async fn space_member(&mut self, key: usize, me: Me, step: &Step) -> Verdict {
        let Some(space) = pick(step.what, self.model.spaces.len()) else { return Ok(()) };
        let user = usize::from(step.whom) % USERS;
        let role = Role::ALL[usize::from(step.how) % 4];
        let list = format!("/projects/{}/members", self.model.spaces[space].id);
        let id = self.model.users[user].id.clone();
        let one = format!("{list}/{id}");
        match step.deed {
            Deed::SpaceMemberAdd => {
                let ruling = self.model.add_to_space(me, space, user);
                let body = json!({ "userId": id, "role": role.name() });
                let answer = self.ask(key, Method::POST, &list, Some(body)).await;
                if self.ruled(key, 201, ruling, &answer)?.is_some() {
                    self.model.join_space(space, user, role);
                }
            }
            Deed::SpaceMemberUpdate => {
                let ruling = self.model.change_in_space(me, space, user, role);
                let body = json!({ "role": role.name() });
                let answer = self.ask(key, Method::PATCH, &one, Some(body)).await;
                if self.ruled(key, 200, ruling, &answer)?.is_some()
                    && let Some(member) = self.model.spaces[space].members.get_mut(&user)
                {
                    member.0 = role;
                }
            }
            _ => {
                let ruling = self.model.remove_from_space(me, space, user);
                let answer = self.ask(key, Method::DELETE, &one, None).await;
                if self.ruled(key, 204, ruling, &answer)?.is_some() {
                    self.model.spaces[space].members.remove(&user);
                }
            }
        }
        Ok(())
    }

    async fn member_update(&mut self, key: usize, me: Me, step: &Step) -> Verdict {
        let user = usize::from(step.whom) % USERS;
        let role = [OrgRole::Member, OrgRole::Admin, OrgRole::Owner][usize::from(step.how) % 3];
        let ruling = self.model.change_role(me, user, role);
        let org = &self.model.orgs[me.org].id;
        let path = format!("/org/{org}/members/{}", self.model.users[user].id);
        let body = json!({ "role": role.as_str() });
        let answer = self.ask(key, Method::PATCH, &path, Some(body)).await;
        if self.ruled(key, 200, ruling, &answer)?.is_some() {
            self.model.orgs[me.org].members.insert(user, role);
        }
        Ok(())
    }

    async fn member_remove(&mut self, key: usize, me: Me, step: &Step) -> Verdict {
        let user = usize::from(step.whom) % USERS;
        let ruling = self.model.remove(me, user);
        let org = &self.model.orgs[me.org].id;
        let path = format!("/org/{org}/members/{}", self.model.users[user].id);
        let answer = self.ask(key, Method::DELETE, &path, None).await;
        if self.ruled(key, 204, ruling, &answer)?.is_some() {
            self.model.leave(me.org, user);
        }
        Ok(())
    }

    /// Invites somebody of the other organization, who accepts at once.
    async fn invite(&mut self, key: usize, me: Me, step: &Step) -> Verdict {
        let user = usize::from(step.whom) % USERS;
        let other = |k: &crate::model::Key| k.user == user && k.org != me.org && !k.dead;
        let Some(his) = self.model.keys.iter().position(other) else { return Ok(()) };
        let ruling = self.model.invite(me, user);
        let path = format!("/org/{}/invitations", self.model.orgs[me.org].id);
        let role = [OrgRole::Member, OrgRole::Admin][usize::from(step.how) % 2];
        let body = json!({ "email": self.model.users[user].email, "role": role.as_str() });
        let answer = self.ask(key, Method::POST, &path, Some(body)).await;
        if self.ruled(key, 201, ruling, &answer)?.is_none() {
            return Ok(());
        }
        let accept = format!("/invitations/{}/accept", text(&answer, "/data/invitation/token"));
        // it is for nobody else
        let another = usize::from(step.what) % self.model.keys.len();
        if self.model.keys[another].user != user {
            let answer = self.ask(another, Method::POST, &accept, None).await;
            self.ruled(another, 200, Err::<(), u16>(403), &answer)?;
        }
        let answer = self.ask(his, Method::POST, &accept, None).await;
        self.ruled(his, 200, Ok(()), &answer)?;
        self.model.orgs[me.org].members.insert(user, role);
        let http = self.http();
        self.mint(&http, user, me.org).await;
        Ok(())
    }

    fn native(&mut self, answer: &Answer, space: usize, creator: usize) {
        let session = Session {
            id: text(answer, "/data/session/id"),
            uuid: text(answer, "/data/session/externalId"),
            space,
            creator,
            private: false,
            archived: false,
            eval: false,
            messages: Vec::new(),
        };
        self.model.sessions.push(session);
    }

    async fn session_create(&mut self, key: usize, me: Me, step: &Step) -> Verdict {
        let Some(space) = pick(step.what, self.model.spaces.len()) else { return Ok(()) };
        let ruling = self.model.enter_to_write(me, space);
        let path = format!("/spaces/{}/sessions", self.model.spaces[space].slug);
        let answer = self.ask(key, Method::POST, &path, Some(json!({ "name": "s" }))).await;
        if self.ruled(key, 201, ruling, &answer)?.is_some() {
            self.native(&answer, space, me.user);
        }
        Ok(())
    }

    /// A session, most often below its own Space.
    fn some_session(&self, step: &Step) -> Option<(usize, usize)> {
        let session = pick(step.what, self.model.sessions.len())?;
        let space = match step.how % 16 {
            15 => pick(step.whom, self.model.spaces.len())?,
            _ => self.model.sessions[session].space,
        };
        Some((space, session))
    }

    /// The path of a session below a Space, in either dialect. The Space is looked up in the
    /// caller's organization, whatever else has its slug.
    fn session_path(&self, (space, session): (usize, usize)) -> String {
        let (space, session) = (&self.model.spaces[space], &self.model.sessions[session]);
        format!("/spaces/{}/sessions/{}", space.slug, session.id)
    }

    async fn session_change(&mut self, key: usize, me: Me, step: &Step) -> Verdict {
        let Some((space, session)) = self.some_session(step) else { return Ok(()) };
        let path = self.session_path((space, session));
        let ruling = self.model.reach_to_change(me, space, session);
        if step.deed == Deed::SessionArchive {
            let answer = self.ask(key, Method::DELETE, &path, None).await;
            if self.ruled(key, 204, ruling, &answer)?.is_some() {
                self.model.sessions[session].archived = true;
            }
            return Ok(());
        }
        let (body, ruling) = match step.how % 3 {
            0 => (json!({ "title": "t" }), ruling),
            1 => (json!({ "visibility": "workspace" }), ruling),
            _ => {
                // private stays private, and what was shared stays so
                let private = self.model.sessions[session].private;
                let once_more = ruling.and(if private { Ok(()) } else { Err(403) });
                (json!({ "visibility": "private" }), once_more)
            }
        };
        let answer = self.ask(key, Method::PATCH, &path, Some(body)).await;
        if self.ruled(key, 200, ruling, &answer)?.is_some() && step.how % 3 == 1 {
            self.model.sessions[session].private = false;
        }
        Ok(())
    }

    async fn speak(&mut self, key: usize, me: Me, step: &Step) -> Verdict {
        let Some((space, session)) = self.some_session(step) else { return Ok(()) };
        let ruling = self.model.reach_to_speak(me, space, session);
        if step.deed == Deed::MessageSend {
            let path = format!("{}/messages", self.session_path((space, session)));
            let answer = self.ask(key, Method::POST, &path, Some(json!({ "body": "m" }))).await;
            if self.ruled(key, 201, ruling, &answer)?.is_some() {
                let id = text(&answer, "/data/message/id");
                self.model.sessions[session].messages.push(id);
            }
            return Ok(());
        }
        let messages = &self.model.sessions[session].messages;
        let Some(message) = pick(step.whom, messages.len()) else { return Ok(()) };
        let slug = &self.model.spaces[space].slug;
        let path = format!("/spaces/{slug}/messages/{}/reactions", messages[message]);
        let (done, answer) = match step.how % 2 {
            0 => (201, self.ask(key, Method::POST, &path, Some(json!({ "emoji": "🚀" }))).await),
            _ => {
                let path = format!("{path}/%F0%9F%9A%80");
                (204, self.ask(key, Method::DELETE, &path, None).await)
            }
        };
        self.ruled(key, done, ruling, &answer).map(drop)
    }

    /// Who is to see a note; `n` chooses the Space.
    fn some_sight(&self, how: u8, n: u16) -> Sight {
        match (how % 4, pick(n, self.model.spaces.len())) {
            (0, _) | (_, None) => Sight::Private,
            (1, _) => Sight::Org,
            (_, Some(space)) => Sight::Space(space),
        }
    }

    fn as_body(&self, sight: Sight) -> Value {
        match sight {
            Sight::Private => json!({ "visibility": "PRIVATE" }),
            Sight::Org => json!({ "visibility": "ORG" }),
            Sight::Space(space) => {
                json!({ "visibility": "SPACE", "spaceId": self.model.spaces[space].id })
            }
        }
    }

    fn new_note(&mut self, sight: Sight) -> Value {
        let mut body = self.as_body(sight);
        body["content"] = format!("zulu {}", self.fresh()).into();
        body
    }

    async fn note_create(&mut self, key: usize, me: Me, step: &Step) -> Verdict {
        let sight = self.some_sight(step.how, step.what);
        let ruling = self.model.place_note(me, sight);
        // one, or several at once
        let count = if step.how >= 128 { 2 + usize::from(step.how) % 7 } else { 1 };
        if self.model.notes.len() + count > MOST_NOTES {
            return Ok(());
        }
        let answer = if count > 1 {
            let notes: Vec<Value> = (0..count).map(|_| self.new_note(sight)).collect();
            let body = json!({ "memories": notes });
            self.ask(key, Method::POST, "/memory/batch", Some(body)).await
        } else {
            let body = self.new_note(sight);
            self.ask(key, Method::POST, "/memory", Some(body)).await
        };
        if self.ruled(key, 201, ruling, &answer)?.is_some() {
            let data = &answer.body["data"];
            let ids = match count {
                1 => vec![text(&answer, "/data/memory/id")],
                _ => each(&data["memories"], "id").into_iter().collect(),
            };
            if ids.len() != count {
                return Err(format!("{} notes were written of {count}", ids.len()));
            }
            for id in ids {
                self.model.notes.push(Note { id, org: me.org, author: me.user, sight });
            }
        }
        Ok(())
    }

    async fn note_update(&mut self, key: usize, me: Me, step: &Step) -> Verdict {
        let Some(note) = pick(step.what, self.model.notes.len()) else { return Ok(()) };
        let before = self.model.notes[note].sight;
        let (sight, body) = if step.how >= 192 {
            (before, json!({ "content": format!("zulu {}", self.fresh()) }))
        } else {
            let sight = self.some_sight(step.how, step.whom);
            (sight, self.as_body(sight))
        };
        let ruling = self.model.change_note(me, note, sight);
        let path = format!("/memory/{}", self.model.notes[note].id);
        let answer = self.ask(key, Method::PATCH, &path, Some(body)).await;
        if self.ruled(key, 200, ruling, &answer)?.is_some() {
            self.model.notes[note].sight = sight;
        }
        Ok(())
    }

    async fn note_delete(&mut self, key: usize, me: Me, step: &Step) -> Verdict {
        let Some(note) = pick(step.what, self.model.notes.len()) else { return Ok(()) };
        let ruling = self.model.delete_note(me, note);
        let path = format!("/memory/{}", self.model.notes[note].id);
        let answer = self.ask(key, Method::DELETE, &path, None).await;
        if self.ruled(key, 204, ruling, &answer)?.is_some() {
            self.model.notes.remove(note);
        }
        Ok(())
    }

    /// Where the sessions of a Space are in the Save Session dialect, as the caller has to say it.
    pub fn dialect(&self, me: Me, space: usize) -> String {
        let (org, space) = (&self.model.orgs[me.org].slug, &self.model.spaces[space].slug);
        format!("/v1/org/{org}/ws/{space}/sessions")
    }

    async fn save(&mut self, key: usize, me: Me, step: &Step) -> Verdict {
        let Some(space) = pick(step.what, self.model.spaces.len()) else { return Ok(()) };
        // a new one, or one that is somebody's already
        let known =
            pick(step.whom, self.model.sessions.len()).filter(|_| step.how.is_multiple_of(3));
        let uuid = match known {
            Some(session) => self.model.sessions[session].uuid.clone(),
            None => self.uuid(),
        };
        let private = step.how.is_multiple_of(2);
        let ruling = self.model.save(me, space, &uuid);
        let visibility = if private { "private" } else { "workspace" };
        let origin = ["user", "eval", "worker"][usize::from(step.how / 8) % 3];
        let body = json!({ "id": uuid, "model": "m", "visibility": visibility, "origin": origin });
        let path = self.dialect(me, space);
        let answer = self.ask(key, Method::POST, &path, Some(body)).await;
        if let Some(None) = self.ruled(key, 200, ruling, &answer)? {
            // the dialect shows no CUID
            let find = "SELECT id FROM sessions WHERE org_id = $1 AND external_id = $2::text::uuid";
            let row = self.sql.query_one(find, &[&self.model.orgs[me.org].id, &uuid]).await;
            let id = row.expect("the session").get(0);
            let (creator, archived, messages) = (me.user, false, Vec::new());
            let eval = origin == "eval";
            let session = Session { id, uuid, space, creator, private, archived, eval, messages };
            self.model.sessions.push(session);
        }
        Ok(())
    }

    async fn saved_change(&mut self, key: usize, me: Me, step: &Step) -> Verdict {
        let Some((space, session)) = self.some_session(step) else { return Ok(()) };
        let path = format!("{}/{}", self.dialect(me, space), self.model.sessions[session].uuid);
        // the same UUID may be another session in the caller's own organization
        let here = |s: &Session| s.uuid == self.model.sessions[session].uuid;
        let org_of = |s: &Session| self.model.spaces[s.space].org;
        let own = |s: &Session| here(s) && org_of(s) == me.org;
        let session = self.model.sessions.iter().position(own).unwrap_or(session);
        let ruling: Ruling = self.model.reach_to_change(me, space, session);
        let archived = self.model.sessions[session].archived;
        match step.deed {
            Deed::SavedUpdate => {
                let share = step.how.is_multiple_of(2);
                let body = match share {
                    true => json!({ "visibility": "workspace" }),
                    false => json!({ "labels": { "env": ["x"] } }),
                };
                let answer = self.ask(key, Method::PATCH, &path, Some(body)).await;
                if self.ruled(key, 200, ruling, &answer)?.is_some() && share {
                    self.model.sessions[session].private = false;
                }
            }
            Deed::SavedArchive => {
                let archive = step.how.is_multiple_of(2);
                let path = format!("{path}/{}", if archive { "archive" } else { "unarchive" });
                let answer = self.ask(key, Method::POST, &path, None).await;
                if self.ruled(key, 200, ruling, &answer)?.is_some() {
                    self.model.sessions[session].archived = archive;
                }
            }
            _ => {
                let ruling = ruling.and(if archived { Err(409) } else { Ok(()) });
                let id = self.uuid();
                let body = json!({ "messages": [{ "id": id, "role": "user", "content": "m" }] });
                let path = format!("{path}/transcript");
                let answer = self.ask(key, Method::POST, &path, Some(body)).await;
                if self.ruled(key, 200, ruling, &answer)?.is_some() {
                    let find = "SELECT m.id FROM messages m WHERE m.session_id = $1 \
                                AND m.external_id = $2::text::uuid";
                    let row =
                        self.sql.query_one(find, &[&self.model.sessions[session].id, &id]).await;
                    let id = row.expect("the message").get(0);
                    self.model.sessions[session].messages.push(id);
                }
            }
        }
        Ok(())
    }

    /// For whom an MCP call is made: most often for its key's user.
    pub fn some_actor(&self, me: Me, n: u16) -> Option<usize> {
        match n % 4 {
            0 => None,
            1 => Some(usize::from(n / 4) % USERS),
            _ => Some(me.user),
        }
    }

    async fn add_memory(&mut self, key: usize, me: Me, step: &Step) -> Verdict {
        let actor = self.some_actor(me, step.whom);
        let sight = self.some_sight(step.how, step.what);
        let ruling = self.model.act(key, actor).and_then(|as_whom| match sight {
            Sight::Private if !as_whom.private => Err(403),
            sight => over_mcp(self.model.place_note(as_whom, sight)).map(|()| as_whom),
        });
        let mut arguments = self.as_body(sight);
        if let Sight::Space(space) = sight {
            arguments = json!({
                "visibility": "SPACE", "spaceSlug": self.model.spaces[space].slug
            });
        }
        arguments["content"] = format!("zulu {}", self.fresh()).into();
        let answer = self.tool(key, actor, "add_memory", arguments).await;
        if let Some(as_whom) = self.ruled(key, 200, ruling, &answer)? {
            let id = text(&answer, "/result/structuredContent/memory/id");
            self.model.notes.push(Note { id, org: me.org, author: as_whom.user, sight });
        }
        Ok(())
    }

    async fn post_message(&mut self, key: usize, me: Me, step: &Step) -> Verdict {
        let Some(session) = pick(step.what, self.model.sessions.len()) else { return Ok(()) };
        let actor = self.some_actor(me, step.whom);
        let ruling = self.model.act(key, actor).and_then(|as_whom| {
            if actor.is_none() {
                return Err(403);
            }
            let space = self.model.sessions[session].space;
            self.model.reach(as_whom, space, session).map_err(|_| 404u16)?;
            over_mcp(self.model.reach_to_speak(as_whom, space, session))
        });
        let arguments = json!({ "sessionId": self.model.sessions[session].id, "content": "m" });
        let answer = self.tool(key, actor, "post_message", arguments).await;
        if self.ruled(key, 200, ruling, &answer)?.is_some() {
            let id = text(&answer, "/result/structuredContent/message/id");
            self.model.sessions[session].messages.push(id);
        }
        Ok(())
    }

    /// Lets somebody's key act, or does so no longer.
    async fn delegate(&mut self, key: usize, me: Me, step: &Step) -> Verdict {
        let Some(other) = pick(step.what, self.model.keys.len()) else { return Ok(()) };
        let path = format!("/me/delegations/{}", self.model.keys[other].id);
        let given = (me.user, other);
        let may = self.model.may_be_let_act(me, other);
        if step.deed == Deed::Delegate {
            let own = self.model.keys[other].user == me.user;
            let ruling = may.and(if own { Err(409) } else { Ok(()) });
            let answer = self.ask(key, Method::PUT, &path, None).await;
            if self.ruled(key, 200, ruling, &answer)?.is_some() {
                self.model.consents.insert(given);
            }
            return Ok(());
        }
        let answer = self.ask(key, Method::DELETE, &path, None).await;
        if self.ruled(key, 204, may, &answer)?.is_some() {
            self.model.consents.remove(&given);
        }
        Ok(())
    }
}
