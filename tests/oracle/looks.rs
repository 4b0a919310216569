//! What is seen: lists, single things, searches and streams, through any of the three doors.

use crate::deeds::{Step, pick};
use crate::model::{Me, Ruling, Sight, over_mcp};
use crate::run::{Run, USERS, Verdict, each};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;

/// How long an event may take.
const PATIENCE: Duration = Duration::from_secs(20);

type Set = BTreeSet<String>;

impl Run<'_> {
    /// One look at something.
    pub async fn look(&mut self, key: usize, step: &Step) -> Verdict {
        let actor = self.some_actor(self.me(key), step.whom);
        match step.how % 10 {
            0 => self.look_at_notes(key).await,
            1 => self.look_for_notes(key).await,
            2 => self.look_at_org(key).await,
            3 => match pick(step.what, self.model.spaces.len()) {
                Some(space) => self.look_at_space(key, space).await,
                None => Ok(()),
            },
            4 => match pick(step.what, self.model.sessions.len()) {
                Some(session) => self.look_at_session(key, session).await,
                None => Ok(()),
            },
            5 => match pick(step.what, self.model.sessions.len()) {
                Some(session) => self.follow(key, session).await,
                None => Ok(()),
            },
            6 => match pick(step.what, self.model.notes.len()) {
                Some(note) => self.look_at_note(key, note, actor).await,
                None => Ok(()),
            },
            7 => self.look_over_mcp(key, actor).await,
            8 => match pick(step.what, self.model.spaces.len()) {
                Some(space) => self.look_at_space_over_mcp(key, space, actor).await,
                None => Ok(()),
            },
            _ => match pick(step.what, self.model.sessions.len()) {
                Some(session) => self.look_at_session_over_mcp(key, session, actor).await,
                None => Ok(()),
            },
        }
    }

    /// Everything, as one key sees it.
    pub async fn sweep(&mut self, key: usize) -> Verdict {
        self.look_at_notes(key).await?;
        self.look_for_notes(key).await?;
        self.look_at_org(key).await?;
        if !self.model.lives(key) {
            return Ok(()); // 401 for everything
        }
        let user = self.me(key).user;
        for actor in [None, Some(user), Some((user + 1) % USERS)] {
            self.look_over_mcp(key, actor).await?;
        }
        for space in 0..self.model.spaces.len() {
            self.look_at_space(key, space).await?;
            self.look_at_space_over_mcp(key, space, Some(user)).await?;
        }
        for session in 0..self.model.sessions.len() {
            self.look_at_session(key, session).await?;
            self.look_at_session_over_mcp(key, session, None).await?;
        }
        for note in 0..self.model.notes.len() {
            self.look_at_note(key, note, None).await?;
        }
        Ok(())
    }

    fn notes(&self, me: Me, only: impl Fn(usize) -> bool) -> Set {
        let all = 0..self.model.notes.len();
        let seen = all.filter(|n| only(*n) && self.model.sees_note(me, *n));
        seen.map(|n| self.model.notes[n].id.clone()).collect()
    }

    fn in_space(&self, space: usize) -> impl Fn(usize) -> bool + '_ {
        move |note| self.model.notes[note].sight == Sight::Space(space)
    }

    async fn look_at_notes(&mut self, key: usize) -> Verdict {
        let (me, all) = (self.me(key), self.model.notes.len());
        let answer = self.get(key, "/memory?limit=100").await;
        if self.ruled(key, 200, Ok(()), &answer)?.is_none() {
            return Ok(());
        }
        let data = &answer.body["data"];
        let should = self.notes(me, |_| true);
        if data["total"] != should.len() {
            return Err(format!("{} notes are counted of {}", data["total"], should.len()));
        }
        self.shows("notes", &each(&data["memories"], "id"), &should, all)?;
        for (level, sight) in [("PRIVATE", Sight::Private), ("ORG", Sight::Org)] {
            let path = format!("/memory?limit=100&visibility={level}");
            let answer = self.get(key, &path).await;
            let shown = each(&answer.body["data"]["memories"], "id");
            let should = self.notes(me, |n| self.model.notes[n].sight == sight);
            self.shows(level, &shown, &should, all)?;
        }
        Ok(())
    }

    /// By words, by a piece of one, and (what these have in common) by vectors.
    async fn look_for_notes(&mut self, key: usize) -> Verdict {
        let (me, all) = (self.me(key), self.model.notes.len());
        for query in ["zulu", "ulu"] {
            let body = json!({ "query": query, "limit": 100 });
            let answer = self.ask(key, http::Method::POST, "/memory/search", Some(body)).await;
            if self.ruled(key, 200, Ok(()), &answer)?.is_none() {
                return Ok(());
            }
            let results = answer.body["data"]["results"].as_array().into_iter().flatten();
            let shown = results.map(|r| r["memory"]["id"].as_str().unwrap_or("?").to_owned());
            self.shows("search", &shown.collect(), &self.notes(me, |_| true), all)?;
        }
        Ok(())
    }

    fn spaces(&self, me: Me) -> Set {
        let all = 0..self.model.spaces.len();
        let mine = all.filter(|s| self.model.role_in(me, *s).is_some());
        mine.map(|s| self.model.spaces[s].id.clone()).collect()
    }

    /// Members, Spaces, and what the key is.
    async fn look_at_org(&mut self, key: usize) -> Verdict {
        let (me, all) = (self.me(key), self.model.spaces.len());
        let answer = self.get(key, "/projects?limit=100").await;
        if self.ruled(key, 200, Ok(()), &answer)?.is_none() {
            return Ok(());
        }
        let should = self.spaces(me);
        self.shows("Spaces", &each(&answer.body["data"]["projects"], "id"), &should, all)?;
        let answer = self.get(key, "/me").await;
        self.ruled(key, 200, Ok(()), &answer)?;
        self.shows("own Spaces", &each(&answer.body["data"]["spaces"], "id"), &should, all)?;
        let answer = self.get(key, "/me/delegations").await;
        self.ruled(key, 200, Ok(()), &answer)?;
        let given = self.model.consents.iter().filter(|(giver, k)| {
            let it = &self.model.keys[*k];
            *giver == me.user && it.org == me.org && !it.dead
        });
        let should = given.map(|(_, k)| self.model.keys[*k].id.clone()).collect();
        let shown = each(&answer.body["data"]["delegations"], "keyId");
        self.shows("delegations", &shown, &should, self.model.keys.len())?;
        for org in 0..2 {
            let path = format!("/org/{}/members", self.model.orgs[org].id);
            let answer = self.get(key, &path).await;
            let ruling = if org == me.org { Ok(()) } else { Err(403) };
            if self.ruled(key, 200, ruling, &answer)?.is_some() {
                let members = self.model.orgs[org].members.keys();
                let should = members.map(|u| self.model.users[*u].id.clone()).collect();
                let shown = each(&answer.body["data"]["members"], "userId");
                self.shows("members", &shown, &should, USERS)?;
            }
        }
        Ok(())
    }

    fn sessions(&self, me: Me, space: usize) -> Vec<usize> {
        let all = 0..self.model.sessions.len();
        all.filter(|s| self.model.sessions[*s].space == space && self.model.sees_session(me, *s))
            .collect()
    }

    async fn look_at_space(&mut self, key: usize, space: usize) -> Verdict {
        let me = self.me(key);
        let ruling: Ruling = self.model.enter(me, space).map(drop);
        let (id, slug) = {
            let there = &self.model.spaces[space];
            (there.id.clone(), there.slug.clone())
        };
        let answer = self.get(key, &format!("/projects/{id}")).await;
        self.ruled(key, 200, ruling, &answer)?;

        let answer = self.get(key, &format!("/projects/{id}/members")).await;
        if self.ruled(key, 200, ruling, &answer)?.is_some() {
            let members = self.model.spaces[space].members.keys();
            let should = members.map(|u| self.model.users[*u].id.clone()).collect();
            let shown = each(&answer.body["data"]["members"], "userId");
            self.shows("members of the Space", &shown, &should, USERS)?;
        }

        let answer = self.get(key, &format!("/memory?limit=100&spaceId={id}")).await;
        if self.ruled(key, 200, ruling, &answer)?.is_some() {
            let should = self.notes(me, self.in_space(space));
            let shown = each(&answer.body["data"]["memories"], "id");
            self.shows("notes of the Space", &shown, &should, self.model.notes.len())?;
        }
        let body = json!({ "query": "zulu", "limit": 100, "spaceId": id });
        let answer = self.ask(key, http::Method::POST, "/memory/search", Some(body)).await;
        if self.ruled(key, 200, ruling, &answer)?.is_some() {
            let should = self.notes(me, self.in_space(space));
            let results = answer.body["data"]["results"].as_array().into_iter().flatten();
            let shown = results.map(|r| r["memory"]["id"].as_str().unwrap_or("?").to_owned());
            self.shows("search in the Space", &shown.collect(), &should, self.model.notes.len())?;
        }

        let all = self.model.sessions.len();
        let path = format!("/spaces/{slug}/sessions?includeEval=true");
        let answer = self.get(key, &path).await;
        if self.ruled(key, 200, ruling, &answer)?.is_some() {
            let live = self.sessions(me, space).into_iter();
            let live = live.map(|s| &self.model.sessions[s]).filter(|s| !s.archived);
            let should = live.map(|s| s.id.clone()).collect();
            self.shows("sessions", &each(&answer.body["data"]["sessions"], "id"), &should, all)?;
        }
        let path = format!(
            "{}?archived=any&include_workload_sessions=true&limit=100",
            self.dialect(me, space)
        );
        let answer = self.get(key, &path).await;
        if self.ruled(key, 200, ruling, &answer)?.is_some() {
            let seen = self.sessions(me, space).into_iter();
            let should = seen.map(|s| self.model.sessions[s].uuid.clone()).collect();
            self.shows("saved sessions", &each(&answer.body["sessions"], "id"), &should, all)?;
        }
        Ok(())
    }

    async fn look_at_session(&mut self, key: usize, session: usize) -> Verdict {
        let me = self.me(key);
        let space = self.model.sessions[session].space;
        let ruling: Ruling = self.model.reach(me, space, session).map(drop);
        let (slug, id, uuid) = {
            let it = &self.model.sessions[session];
            (self.model.spaces[space].slug.clone(), it.id.clone(), it.uuid.clone())
        };
        let path = format!("/spaces/{slug}/sessions/{id}");
        let answer = self.get(key, &path).await;
        self.ruled(key, 200, ruling, &answer)?;
        let answer = self.get(key, &format!("{path}/messages?limit=100")).await;
        if self.ruled(key, 200, ruling, &answer)?.is_some() {
            let should: Set = self.model.sessions[session].messages.iter().cloned().collect();
            let shown = each(&answer.body["data"]["messages"], "id");
            self.shows("messages", &shown, &should, should.len())?;
        }
        let saved = format!("{}/{uuid}", self.dialect(me, space));
        let answer = self.get(key, &saved).await;
        self.ruled(key, 200, ruling, &answer)?;
        let answer = self.get(key, &format!("{saved}/transcript?limit=100")).await;
        if self.ruled(key, 200, ruling, &answer)?.is_some() {
            let shown = answer.body["messages"].as_array().map_or(0, Vec::len);
            if shown != self.model.sessions[session].messages.len() {
                return Err(format!("{shown} messages are in the transcript"));
            }
        }
        Ok(())
    }

    /// Every event of a session from its beginning, as far as messages go.
    async fn follow(&mut self, key: usize, session: usize) -> Verdict {
        let me = self.me(key);
        let space = self.model.sessions[session].space;
        let ruling: Ruling = self.model.reach(me, space, session).map(drop);
        let (slug, id) = (&self.model.spaces[space].slug, &self.model.sessions[session].id);
        let path = format!("/spaces/{slug}/sessions/{id}/events");
        if ruling.is_err() || !self.model.lives(key) {
            let answer = self.get(key, &path).await;
            return self.ruled(key, 200, ruling, &answer).map(drop);
        }
        let request = self.model.keys[key].caller.request(http::Method::GET, &path);
        let sent = request.header("Last-Event-ID", "0").send().await;
        let mut response = sent.map_err(|error| error.to_string())?;
        if response.status() != 200 {
            return Err(format!("REFUSED WHAT IS ALLOWED: {path}: {}", response.status()));
        }
        let should: Set = self.model.sessions[session].messages.iter().cloned().collect();
        let (mut text, mut shown) = (String::new(), Set::new());
        while shown.len() < should.len() {
            let chunk = tokio::time::timeout(PATIENCE, response.chunk()).await;
            match chunk.map_err(|_| "events that never come")?.map_err(|e| e.to_string())? {
                Some(bytes) => text.push_str(&String::from_utf8_lossy(&bytes)),
                None => return Err(format!("the stream of {path} has ended")),
            }
            let complete = text.rfind("\n\n").map_or("", |end| &text[..end]);
            let events = complete.lines().filter_map(|line| line.strip_prefix("data: "));
            let events = events.filter_map(|data| serde_json::from_str::<Value>(data).ok());
            shown = events
                .filter_map(|data| data["message"]["id"].as_str().map(str::to_owned))
                .collect();
        }
        self.shows("events", &shown, &should, should.len())
    }

    async fn look_at_note(&mut self, key: usize, note: usize, actor: Option<usize>) -> Verdict {
        let me = self.me(key);
        let ruling = self.model.reach_note(me, note);
        let id = self.model.notes[note].id.clone();
        let answer = self.get(key, &format!("/memory/{id}")).await;
        self.ruled(key, 200, ruling, &answer)?;
        let ruling = self.model.act(key, actor).and_then(|m| self.model.reach_note(m, note));
        let uri = json!({ "uri": format!("switchy://memory/{id}") });
        let answer = self.mcp(key, actor, "resources/read", uri).await;
        self.ruled(key, 200, ruling, &answer).map(drop)
    }

    async fn look_over_mcp(&mut self, key: usize, actor: Option<usize>) -> Verdict {
        let acting = self.model.act(key, actor);
        let all = self.model.notes.len();
        let query = json!({ "query": "zulu", "limit": 100 });
        let answer = self.tool(key, actor, "search_memory", query).await;
        if let Some(me) = self.ruled(key, 200, acting, &answer)? {
            let found = &answer.body["result"]["structuredContent"]["memories"];
            self.shows("search over MCP", &each(found, "id"), &self.notes(me, |_| true), all)?;
        }
        let answer = self.tool(key, actor, "list_spaces", json!({ "limit": 100 })).await;
        if let Some(me) = self.ruled(key, 200, acting, &answer)? {
            let shown = each(&answer.body["result"]["structuredContent"]["spaces"], "id");
            self.shows("Spaces over MCP", &shown, &self.spaces(me), self.model.spaces.len())?;
        }
        let mut answer = self.mcp(key, actor, "resources/list", json!({})).await;
        if let Some(me) = self.ruled(key, 200, acting, &answer)? {
            let mut shown = each(&answer.body["result"]["resources"], "uri");
            while let Some(cursor) = answer.body["result"]["nextCursor"].as_str() {
                let next = json!({ "cursor": cursor });
                answer = self.mcp(key, actor, "resources/list", next).await;
                shown.extend(each(&answer.body["result"]["resources"], "uri"));
            }
            let notes = self.notes(me, |_| true).into_iter();
            let mut should: Set = notes.map(|id| format!("switchy://memory/{id}")).collect();
            let mine =
                (0..self.model.spaces.len()).filter(|s| self.model.role_in(me, *s).is_some());
            should.extend(mine.map(|s| format!("switchy://spaces/{}", self.model.spaces[s].slug)));
            self.shows("resources", &shown, &should, all + self.model.spaces.len())?;
        }
        Ok(())
    }

    async fn look_at_space_over_mcp(
        &mut self,
        key: usize,
        space: usize,
        actor: Option<usize>,
    ) -> Verdict {
        let ruling = self
            .model
            .act(key, actor)
            .and_then(|me| over_mcp(self.model.enter(me, space)).map(|_| me));
        let slug = self.model.spaces[space].slug.clone();
        let answer = self.tool(key, actor, "get_space", json!({ "slug": slug })).await;
        self.ruled(key, 200, ruling, &answer)?;
        let which = json!({ "spaceSlug": slug, "includeArchived": true, "limit": 100 });
        let answer = self.tool(key, actor, "list_sessions", which).await;
        if let Some(me) = self.ruled(key, 200, ruling, &answer)? {
            // evaluation runs are not listed here, but nothing else may be missing
            let shown = each(&answer.body["result"]["structuredContent"]["sessions"], "id");
            let should = self.sessions(me, space).into_iter();
            let should: Set = should.map(|s| self.model.sessions[s].id.clone()).collect();
            let listed = |id: &&String| {
                let session = self.model.sessions.iter().find(|s| s.id == **id);
                session.is_some_and(|s| !s.eval)
            };
            let should = should.iter().filter(listed).cloned().collect();
            self.shows("sessions over MCP", &shown, &should, self.model.sessions.len())?;
        }
        Ok(())
    }

    async fn look_at_session_over_mcp(
        &mut self,
        key: usize,
        session: usize,
        actor: Option<usize>,
    ) -> Verdict {
        let space = self.model.sessions[session].space;
        let ruling = self
            .model
            .act(key, actor)
            .and_then(|me| self.model.reach(me, space, session).map_err(|_| 404));
        let id = self.model.sessions[session].id.clone();
        let which = json!({ "sessionId": id, "limit": 100 });
        let answer = self.tool(key, actor, "get_session_transcript", which).await;
        if self.ruled(key, 200, ruling, &answer)?.is_some() {
            let should: Set = self.model.sessions[session].messages.iter().cloned().collect();
            let shown = each(&answer.body["result"]["structuredContent"]["messages"], "id");
            self.shows("messages over MCP", &shown, &should, should.len())?;
        }
        Ok(())
    }
}
