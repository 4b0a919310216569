//! Who sees what and who may do what, written from the contract (A4, A8, B1 to B5, B9, D2, D3, E3)
//! as plain sets. Nothing here knows how the server finds its answers.

use crate::fixture::Caller;
use std::collections::{BTreeMap, BTreeSet};
use switchy_server::auth::OrgRole;

/// A role in a Space, the mightiest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Owner,
    Editor,
    Member,
    Viewer,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Owner, Role::Editor, Role::Member, Role::Viewer];

    pub fn name(self) -> &'static str {
        match self {
            Role::Owner => "OWNER",
            Role::Editor => "EDITOR",
            Role::Member => "MEMBER",
            Role::Viewer => "VIEWER",
        }
    }
}

/// A rule that the contract does not have: the search must find that the server lacks it, too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heresy {
    /// OWNERs of an organization read PRIVATE notes.
    OwnersReadPrivateNotes,
    /// Whoever is in the Space sees its private sessions.
    PrivateSessionsAreShared,
    /// VIEWERs write.
    ViewersWrite,
    /// What is in an archived Space stays in sight.
    ArchivedSpacesStay,
    /// Who was removed comes in by his old key.
    RemovedKeysLive,
    /// Who has left a Space still sees its notes.
    WhoLeftStillSees,
    /// Over MCP, PRIVATE notes are open without a word for whom.
    McpOpensPrivateNotes,
    /// A key that acts for a member reaches what is theirs alone without their consent.
    ConsentIsNotAsked,
    /// An ADMIN's key acts for OWNERs.
    AdminsActForOwners,
}

impl Heresy {
    pub const ALL: [Heresy; 9] = [
        Heresy::OwnersReadPrivateNotes,
        Heresy::PrivateSessionsAreShared,
        Heresy::ViewersWrite,
        Heresy::ArchivedSpacesStay,
        Heresy::RemovedKeysLive,
        Heresy::WhoLeftStillSees,
        Heresy::McpOpensPrivateNotes,
        Heresy::ConsentIsNotAsked,
        Heresy::AdminsActForOwners,
    ];
}

pub struct Org {
    pub id: String,
    pub slug: String,
    pub members: BTreeMap<usize, OrgRole>,
}

pub struct User {
    pub id: String,
    pub email: String,
}

/// A key of a user for an organization.
pub struct Key {
    pub id: String,
    pub user: usize,
    pub org: usize,
    pub caller: Caller,
    /// Revoked when its user left; never again alive.
    pub dead: bool,
}

pub struct Space {
    pub id: String,
    pub slug: String,
    pub org: usize,
    pub archived: bool,
    /// Role, and when he came in.
    pub members: BTreeMap<usize, (Role, u32)>,
    /// Everybody who ever was in it.
    pub once: BTreeSet<usize>,
}

pub struct Session {
    pub id: String,
    pub uuid: String,
    pub space: usize,
    pub creator: usize,
    pub private: bool,
    pub archived: bool,
    /// An evaluation run, which lists leave out.
    pub eval: bool,
    pub messages: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    Private,
    Space(usize),
    Org,
}

pub struct Note {
    pub id: String,
    pub org: usize,
    pub author: usize,
    pub sight: Sight,
}

/// Everything that there is.
#[derive(Default)]
pub struct Model {
    pub heresy: Option<Heresy>,
    pub orgs: Vec<Org>,
    pub users: Vec<User>,
    pub keys: Vec<Key>,
    pub spaces: Vec<Space>,
    pub sessions: Vec<Session>,
    pub notes: Vec<Note>,
    /// The members who let a key reach what is theirs alone, and which key.
    pub consents: BTreeSet<(usize, usize)>,
    pub moment: u32,
}

/// A user in an organization, as whom something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Me {
    pub user: usize,
    pub org: usize,
    /// Whether PRIVATE notes are open: always, but over MCP only when the call says for whom, and
    /// that one consents.
    pub private: bool,
    /// Whether the user consents to the key that is used: always to their own.
    pub consents: bool,
}

/// 2xx or a refusal.
pub type Ruling<T = ()> = Result<T, u16>;

impl Model {
    fn believes(&self, heresy: Heresy) -> bool {
        self.heresy == Some(heresy)
    }

    pub fn lives(&self, key: usize) -> bool {
        !self.keys[key].dead || self.believes(Heresy::RemovedKeysLive)
    }

    pub fn org_role(&self, me: Me) -> OrgRole {
        self.orgs[me.org].members.get(&me.user).copied().unwrap_or(OrgRole::Member)
    }

    fn is_live(&self, space: usize) -> bool {
        !self.spaces[space].archived || self.believes(Heresy::ArchivedSpacesStay)
    }

    pub fn role_in(&self, me: Me, space: usize) -> Option<Role> {
        let there = &self.spaces[space];
        let live = there.org == me.org && self.is_live(space);
        there.members.get(&me.user).filter(|_| live).map(|(role, _)| *role)
    }

    /// 404 outside of the organization, 403 for those who are not in it.
    pub fn enter(&self, me: Me, space: usize) -> Ruling<Role> {
        let there = &self.spaces[space];
        if there.org != me.org || !self.is_live(space) {
            return Err(404);
        }
        self.role_in(me, space).ok_or(403)
    }

    pub fn may_write(&self, role: Role) -> bool {
        role != Role::Viewer || self.believes(Heresy::ViewersWrite)
    }

    pub fn enter_to_write(&self, me: Me, space: usize) -> Ruling<Role> {
        let role = self.enter(me, space)?;
        if self.may_write(role) { Ok(role) } else { Err(403) }
    }

    pub fn sees_session(&self, me: Me, session: usize) -> bool {
        let it = &self.sessions[session];
        let shared = !it.private || self.believes(Heresy::PrivateSessionsAreShared);
        self.role_in(me, it.space).is_some() && (shared || (it.creator == me.user && me.consents))
    }

    /// A session below a Space.
    pub fn reach(&self, me: Me, space: usize, session: usize) -> Ruling<Role> {
        let role = self.enter(me, space)?;
        let here = self.sessions[session].space == space && self.sees_session(me, session);
        if here { Ok(role) } else { Err(404) }
    }

    /// The same for who wants to change it.
    pub fn reach_to_change(&self, me: Me, space: usize, session: usize) -> Ruling {
        let role = self.reach(me, space, session)?;
        let own = self.sessions[session].creator == me.user && self.may_write(role);
        if own || role <= Role::Editor { Ok(()) } else { Err(403) }
    }

    /// The same for who wants to say something in it.
    pub fn reach_to_speak(&self, me: Me, space: usize, session: usize) -> Ruling {
        self.enter_to_write(me, space)?;
        self.reach(me, space, session)?;
        if self.sessions[session].archived { Err(409) } else { Ok(()) }
    }

    pub fn sees_note(&self, me: Me, note: usize) -> bool {
        let it = &self.notes[note];
        if it.org != me.org {
            return false;
        }
        match it.sight {
            Sight::Org => true,
            Sight::Private => {
                let pries = self.believes(Heresy::OwnersReadPrivateNotes)
                    && self.org_role(me) == OrgRole::Owner;
                let open = me.private || self.believes(Heresy::McpOpensPrivateNotes);
                (it.author == me.user && open) || pries
            }
            Sight::Space(space) => {
                let left = self.believes(Heresy::WhoLeftStillSees)
                    && self.spaces[space].once.contains(&me.user);
                self.role_in(me, space).is_some() || left
            }
        }
    }

    pub fn reach_note(&self, me: Me, note: usize) -> Ruling {
        if self.sees_note(me, note) { Ok(()) } else { Err(404) }
    }

    /// May he write a note with this sight?
    pub fn place_note(&self, me: Me, sight: Sight) -> Ruling {
        match sight {
            Sight::Private | Sight::Org => Ok(()),
            Sight::Space(space) => self.enter_to_write(me, space).map(drop),
        }
    }

    pub fn change_note(&self, me: Me, note: usize, sight: Sight) -> Ruling {
        self.reach_note(me, note)?;
        if self.notes[note].author != me.user {
            return Err(403);
        }
        self.place_note(me, sight)
    }

    pub fn delete_note(&self, me: Me, note: usize) -> Ruling {
        self.reach_note(me, note)?;
        let it = &self.notes[note];
        let runs_its_place = match it.sight {
            Sight::Private => false,
            Sight::Space(space) => self.role_in(me, space).is_some_and(|r| r <= Role::Editor),
            Sight::Org => self.org_role(me) != OrgRole::Member,
        };
        if it.author == me.user || runs_its_place { Ok(()) } else { Err(403) }
    }

    pub fn archive_space(&self, me: Me, space: usize) -> Ruling {
        let role = match self.enter(me, space) {
            Ok(role) => Some(role),
            Err(403) => None,
            Err(other) => return Err(other),
        };
        let may = role == Some(Role::Owner) || self.org_role(me) == OrgRole::Owner;
        if may { Ok(()) } else { Err(403) }
    }

    fn is_last_owner(&self, space: usize, user: usize) -> bool {
        let members = &self.spaces[space].members;
        let owners = members.values().filter(|(role, _)| *role == Role::Owner).count();
        owners == 1 && members[&user].0 == Role::Owner
    }

    pub fn add_to_space(&self, me: Me, space: usize, user: usize) -> Ruling {
        match self.enter(me, space)? {
            Role::Owner => {}
            _ => return Err(403),
        }
        if !self.orgs[me.org].members.contains_key(&user) {
            return Err(400);
        }
        if self.spaces[space].members.contains_key(&user) { Err(409) } else { Ok(()) }
    }

    pub fn change_in_space(&self, me: Me, space: usize, user: usize, role: Role) -> Ruling {
        match self.enter(me, space)? {
            Role::Owner => {}
            _ => return Err(403),
        }
        if !self.spaces[space].members.contains_key(&user) {
            return Err(404);
        }
        if role != Role::Owner && self.is_last_owner(space, user) { Err(409) } else { Ok(()) }
    }

    pub fn remove_from_space(&self, me: Me, space: usize, user: usize) -> Ruling {
        let role = self.enter(me, space)?;
        if role != Role::Owner && user != me.user {
            return Err(403);
        }
        if !self.spaces[space].members.contains_key(&user) {
            return Err(404);
        }
        if self.is_last_owner(space, user) { Err(409) } else { Ok(()) }
    }

    fn is_only_owner(&self, org: usize, user: usize) -> bool {
        let members = &self.orgs[org].members;
        let owners = members.values().filter(|role| **role == OrgRole::Owner).count();
        owners == 1 && members.get(&user) == Some(&OrgRole::Owner)
    }

    pub fn change_role(&self, me: Me, user: usize, role: OrgRole) -> Ruling {
        if self.org_role(me) != OrgRole::Owner {
            return Err(403);
        }
        if !self.orgs[me.org].members.contains_key(&user) {
            return Err(404);
        }
        let loses = role != OrgRole::Owner && self.is_only_owner(me.org, user);
        if loses { Err(409) } else { Ok(()) }
    }

    pub fn remove(&self, me: Me, user: usize) -> Ruling {
        let his = self.orgs[me.org].members.get(&user);
        if user != me.user {
            match (self.org_role(me), his) {
                (OrgRole::Member, _) | (OrgRole::Admin, Some(OrgRole::Owner)) => return Err(403),
                _ => {}
            }
        }
        if his.is_none() {
            return Err(404);
        }
        if self.is_only_owner(me.org, user) { Err(409) } else { Ok(()) }
    }

    pub fn invite(&self, me: Me, user: usize) -> Ruling {
        if self.org_role(me) == OrgRole::Member {
            return Err(403);
        }
        if self.orgs[me.org].members.contains_key(&user) { Err(409) } else { Ok(()) }
    }

    /// Saving under a UUID: which session that is, or none yet.
    pub fn save(&self, me: Me, space: usize, uuid: &str) -> Ruling<Option<usize>> {
        self.enter_to_write(me, space)?;
        let there = |s: &Session| s.uuid == uuid && self.spaces[s.space].org == me.org;
        match self.sessions.iter().position(there) {
            None => Ok(None),
            Some(n) => {
                let it = &self.sessions[n];
                let own = it.space == space && it.creator == me.user;
                if own { Ok(Some(n)) } else { Err(409) }
            }
        }
    }

    /// Somebody leaves the organization: his Spaces pass to who has been EDITOR longest, else to
    /// the longest MEMBER, where nobody else is OWNER; his keys die.
    pub fn leave(&mut self, org: usize, user: usize) {
        self.orgs[org].members.remove(&user);
        for space in self.spaces.iter_mut().filter(|s| s.org == org) {
            let Some((role, _)) = space.members.remove(&user) else { continue };
            let owned = space.members.values().any(|(role, _)| *role == Role::Owner);
            if role != Role::Owner || owned {
                continue;
            }
            let heirs = space
                .members
                .iter_mut()
                .filter(|(_, m)| matches!(m.0, Role::Editor | Role::Member));
            if let Some((_, heir)) = heirs.min_by_key(|(_, m)| **m) {
                heir.0 = Role::Owner;
            }
        }
        for key in self.keys.iter_mut().filter(|k| k.org == org && k.user == user) {
            key.dead = true;
        }
        let keys = &self.keys;
        self.consents.retain(|(giver, key)| {
            keys[*key].org != org || (*giver != user && keys[*key].user != user)
        });
    }

    pub fn join_space(&mut self, space: usize, user: usize, role: Role) {
        self.moment += 1;
        self.spaces[space].members.insert(user, (role, self.moment));
        self.spaces[space].once.insert(user);
    }

    /// As whom an MCP call with a key runs: 403 for who may not act for that one.
    pub fn act(&self, key: usize, actor: Option<usize>) -> Ruling<Me> {
        let Key { user, org, .. } = self.keys[key];
        let me = Me { user, org, private: true, consents: true };
        let Some(actor) = actor else { return Ok(Me { private: false, ..me }) };
        let Some(role) = self.orgs[org].members.get(&actor) else { return Err(403) };
        if actor == user {
            return Ok(me);
        }
        let heresy = self.believes(Heresy::AdminsActForOwners);
        match (self.org_role(me), role) {
            (OrgRole::Owner, _) | (OrgRole::Admin, OrgRole::Admin | OrgRole::Member) => {}
            (OrgRole::Admin, OrgRole::Owner) if heresy => {}
            _ => return Err(403),
        }
        let consents = self.consents.contains(&(actor, key));
        let opens = consents || self.believes(Heresy::ConsentIsNotAsked);
        Ok(Me { user: actor, private: opens, consents: opens, ..me })
    }

    /// Whether there can be a delegation to the key, as far as `me` knows: all of them act.
    pub fn may_be_let_act(&self, me: Me, key: usize) -> Ruling {
        let it = &self.keys[key];
        if it.org == me.org && !it.dead { Ok(()) } else { Err(404) }
    }
}

/// Through MCP, what a role does not allow and where one is not is not there (contract A4).
pub fn over_mcp<T>(ruling: Ruling<T>) -> Ruling<T> {
    ruling.map_err(|status| if status == 403 { 404 } else { status })
}
