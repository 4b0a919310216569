//! Members of an organization.

use progenitor_client::Error as Failure;

use crate::{
    Client, Request,
    envelope::ErrorEnvelope,
    generated,
    pages::{Part, paged},
    request::sealed::Run,
    types,
};

/// The members of the key's organization: [`Client::members`].
///
/// ```
/// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, client) = doc_server::client().await?;
/// use switchy::types::OrgRole;
///
/// let me = client.me().await?;
/// let members = client.members(&me.organization.id);
/// for member in members.list().await? {
///     println!("{} {}", member.role, member.email);
/// }
/// members.update(&me.user.id, OrgRole::Admin).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Members<'a> {
    pub(crate) client: &'a Client,
    pub(crate) org_id: &'a str,
}

impl Members<'_> {
    /// Everybody: OWNERs first, then ADMINs, then by name.
    pub fn list(&self) -> Request<MemberList> {
        self.client.request(MemberList { org_id: self.org_id.into(), part: Part::default() })
    }

    /// Gives a member another role, from the member's next request on. Only an OWNER may, and the
    /// only OWNER stays one.
    pub fn update(
        &self,
        user_id: impl Into<String>,
        role: types::OrgRole,
    ) -> Request<MemberUpdate> {
        let body = types::MemberUpdate { role };
        let (org_id, user_id) = (self.org_id.into(), user_id.into());
        self.client.request(MemberUpdate { org_id, user_id, body })
    }

    /// Removes a member, or leaves: the member's keys of the organization stop working at once, for
    /// good, and so do the places in its Spaces and sessions.
    pub fn remove(&self, user_id: impl Into<String>) -> Request<MemberRemove> {
        self.client.request(MemberRemove { org_id: self.org_id.into(), user_id: user_id.into() })
    }
}

/// `GET /org/{orgId}/members`: see [`Members::list`].
#[derive(Clone, Debug)]
pub struct MemberList {
    org_id: String,
    part: Part,
}

paged!(MemberList, types::Member, members, user_id as "userId", |list, api| {
    api.member_list().org_id(list.org_id)
});

/// `PATCH /org/{orgId}/members/{userId}`: see [`Members::update`].
#[derive(Clone, Debug)]
pub struct MemberUpdate {
    org_id: String,
    user_id: String,
    body: types::MemberUpdate,
}

impl Run for MemberUpdate {
    type Data = types::Member;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let request = api.member_update().org_id(self.org_id).user_id(self.user_id);
        Ok(request.body(self.body).send().await?.into_inner().data.member)
    }
}

/// `DELETE /org/{orgId}/members/{userId}`: see [`Members::remove`].
#[derive(Clone, Debug)]
pub struct MemberRemove {
    org_id: String,
    user_id: String,
}

impl Run for MemberRemove {
    type Data = ();

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        api.member_remove().org_id(self.org_id).user_id(self.user_id).send().await?;
        Ok(())
    }
}
