//! Invitations into an organization.

use progenitor_client::Error as Failure;

use crate::{
    Client, Request,
    envelope::ErrorEnvelope,
    generated,
    pages::{Part, paged},
    request::{idempotency_key, sealed::Run},
    types,
};

/// The invitations into the key's organization: [`Client::invitations`].
///
/// ```
/// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, client) = doc_server::client().await?;
/// use switchy::types::InvitedRole;
///
/// let me = client.me().await?;
/// let invitations = client.invitations(&me.organization.id);
/// let made = invitations.create("grace@example.com", InvitedRole::Member).await?;
/// // Shown this once. With a key of hers, Grace calls `client.accept_invitation(token)`.
/// let token = made.token.ok_or("a replay shows no token")?;
///
/// for invitation in invitations.list().await? {
///     println!("{} until {}", invitation.email, invitation.expires_at);
///     invitations.revoke(&invitation.id).await?;
/// }
/// # client.accept_invitation(token).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Invitations<'a> {
    pub(crate) client: &'a Client,
    pub(crate) org_id: &'a str,
}

impl Invitations<'_> {
    /// Those that can still be accepted, newest first.
    pub fn list(&self) -> Request<InvitationList> {
        self.client.request(InvitationList { org_id: self.org_id.into(), part: Part::default() })
    }

    /// Invites somebody, who gets a letter if the server sends mail and the address has not had its
    /// letters for today: `delivery` tells. The answer has the token, and nothing else ever will: an answer that is repeated for an idempotency key has none.
    pub fn create(
        &self,
        email: impl Into<String>,
        role: types::InvitedRole,
    ) -> Request<InvitationCreate> {
        let body = types::InvitationCreate { email: email.into(), role };
        let org_id = self.org_id.into();
        self.client.request(InvitationCreate { org_id, body, idempotency_key: None })
    }

    /// Makes an invitation void. Repeating it is no error.
    pub fn revoke(&self, id: impl Into<String>) -> Request<InvitationRevoke> {
        self.client.request(InvitationRevoke { org_id: self.org_id.into(), id: id.into() })
    }
}

/// `GET /org/{orgId}/invitations`: see [`Invitations::list`].
#[derive(Clone, Debug)]
pub struct InvitationList {
    org_id: String,
    part: Part,
}

paged!(InvitationList, types::Invitation, invitations, id as "id", |list, api| {
    api.invitation_list().org_id(list.org_id)
});

/// `POST /org/{orgId}/invitations`: see [`Invitations::create`].
#[derive(Clone, Debug)]
pub struct InvitationCreate {
    org_id: String,
    body: types::InvitationCreate,
    idempotency_key: Option<String>,
}

impl Request<InvitationCreate> {
    /// Makes the call safe to repeat for 24 hours; the token comes only once. A new UUID otherwise,
    /// for this call alone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.operation.idempotency_key = Some(key.into());
        self
    }
}

impl Run for InvitationCreate {
    type Data = types::NewInvitation;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let key = idempotency_key(self.idempotency_key);
        let request = api.invitation_create().org_id(self.org_id).idempotency_key(key);
        Ok(request.body(self.body).send().await?.into_inner().data.invitation)
    }
}

/// `DELETE /org/{orgId}/invitations/{invitationId}`: see [`Invitations::revoke`].
#[derive(Clone, Debug)]
pub struct InvitationRevoke {
    org_id: String,
    id: String,
}

impl Run for InvitationRevoke {
    type Data = ();

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        api.invitation_revoke().org_id(self.org_id).invitation_id(self.id).send().await?;
        Ok(())
    }
}

/// `POST /invitations/{token}/accept`: see [`Client::accept_invitation`].
#[derive(Clone)]
pub struct InvitationAccept {
    pub(crate) token: secrecy::SecretString,
    pub(crate) idempotency_key: Option<String>,
}

impl std::fmt::Debug for InvitationAccept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("InvitationAccept").finish_non_exhaustive()
    }
}

impl Request<InvitationAccept> {
    /// Makes the call safe to repeat for 24 hours. A new UUID otherwise, for this call alone.
    pub fn idempotency_key(mut self, key: impl Into<String>) -> Self {
        self.operation.idempotency_key = Some(key.into());
        self
    }
}

impl Run for InvitationAccept {
    type Data = types::Member;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        use secrecy::ExposeSecret;
        let key = idempotency_key(self.idempotency_key);
        let request = api.invitation_accept().token(self.token.expose_secret());
        Ok(request.idempotency_key(key).send().await?.into_inner().data.membership)
    }
}
