//! Who is in a Space.

use progenitor_client::Error as Failure;

use crate::{
    Client, Request,
    envelope::ErrorEnvelope,
    generated,
    pages::{Part, paged},
    request::{idempotency_key, sealed::Run},
    types::{self, SpaceRole},
};

/// The members of one Space: [`Client::space_members`].
///
/// ```
/// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, client) = doc_server::client().await?;
/// # let (space, user) = ("cmo5w1c2t8zq4k7n3x9b6d0fh", "cmo5w1c2t8zq4k7n3x9b6d0fh");
/// use switchy::types::SpaceRole;
///
/// let members = client.space_members(space);
/// members.add(user, SpaceRole::Member).await?;
/// members.update(user, SpaceRole::Editor).await?;
/// for member in members.list().await? {
///     println!("{} {}", member.role, member.email);
/// }
/// members.remove(user).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct SpaceMembers<'a> {
    pub(crate) client: &'a Client,
    pub(crate) space: &'a str,
}

impl SpaceMembers<'_> {
    /// Everybody in the Space, in the order in which they joined.
    pub fn list(&self) -> Request<SpaceMemberList> {
        self.client.request(SpaceMemberList { space: self.space.into(), part: Part::default() })
    }

    /// Puts a member of the organization into the Space.
    pub fn add(&self, user_id: impl Into<String>, role: SpaceRole) -> Request<SpaceMemberAdd> {
        let body = types::SpaceMemberAdd { user_id: user_id.into(), role };
        self.client.request(SpaceMemberAdd {
            space: self.space.into(),
            body,
            idempotency_key: None,
        })
    }

    /// Gives a member another role.
    pub fn update(
        &self,
        user_id: impl Into<String>,
        role: SpaceRole,
    ) -> Request<SpaceMemberUpdate> {
        self.client.request(SpaceMemberUpdate {
            space: self.space.into(),
            user: user_id.into(),
            body: types::SpaceMemberUpdate { role },
        })
    }

    /// Takes a member out of the Space; everybody may leave.
    pub fn remove(&self, user_id: impl Into<String>) -> Request<SpaceMemberRemove> {
        self.client.request(SpaceMemberRemove { space: self.space.into(), user: user_id.into() })
    }
}

/// `GET /projects/{projectId}/members`: see [`SpaceMembers::list`].
#[derive(Clone, Debug)]
pub struct SpaceMemberList {
    space: String,
    part: Part,
}

paged!(SpaceMemberList, types::SpaceMember, members, user_id as "userId", |list, api| {
    api.space_member_list().project_id(list.space)
});

/// `POST /projects/{projectId}/members`: see [`SpaceMembers::add`].
#[derive(Clone, Debug)]
pub struct SpaceMemberAdd {
    space: String,
    body: types::SpaceMemberAdd,
    idempotency_key: Option<String>,
}

impl Request<SpaceMemberAdd> {
    /// Makes the call safe to repeat for 24 hours. A new UUID otherwise, for this call alone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.operation.idempotency_key = Some(key.into());
        self
    }
}

impl Run for SpaceMemberAdd {
    type Data = types::SpaceMember;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let request =
            api.space_member_add().project_id(self.space).idempotency_key(key).body(self.body);
        Ok(request.send().await?.into_inner().data.member)
    }
}

/// `PATCH /projects/{projectId}/members/{userId}`: see [`SpaceMembers::update`].
#[derive(Clone, Debug)]
pub struct SpaceMemberUpdate {
    space: String,
    user: String,
    body: types::SpaceMemberUpdate,
}

impl Run for SpaceMemberUpdate {
    type Data = types::SpaceMember;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let request =
            api.space_member_update().project_id(self.space).user_id(self.user).body(self.body);
        Ok(request.send().await?.into_inner().data.member)
    }
}

/// `DELETE /projects/{projectId}/members/{userId}`: see [`SpaceMembers::remove`].
#[derive(Clone, Debug)]
pub struct SpaceMemberRemove {
    space: String,
    user: String,
}

impl Run for SpaceMemberRemove {
    type Data = ();

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        api.space_member_remove().project_id(self.space).user_id(self.user).send().await?;
        Ok(())
    }
}
