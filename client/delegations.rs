//! Which keys of others may act for the caller.

use progenitor_client::Error as Failure;

use crate::{Client, Request, envelope::ErrorEnvelope, generated, request::sealed::Run, types};

/// The keys of others to which the caller has opened what is theirs alone:
/// [`Client::delegations`].
///
/// ```
/// # mod doc_server { include!(concat!(env!("CARGO_MANIFEST_DIR"), "/client/doc_server.rs")); }
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let (_server, client) = doc_server::client().await?;
/// let delegation = client.delegations().allow("cmo5w1c2t8zq4k7n3x9b6d0fh").await?;
/// println!("{} of {} acts for you", delegation.key_name, delegation.key_user_id);
/// client.delegations().end(&delegation.key_id).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Delegations<'a> {
    pub(crate) client: &'a Client,
}

impl Delegations<'_> {
    /// Every delegation to a key that still works, newest first.
    pub fn list(&self) -> Request<DelegationList> {
        self.client.request(DelegationList(()))
    }

    /// Lets a key that acts for others reach the caller's PRIVATE notes and private sessions.
    /// Repeating it is no error.
    pub fn allow(&self, key_id: impl Into<String>) -> Request<DelegationAllow> {
        self.client.request(DelegationAllow { key_id: key_id.into() })
    }

    /// Lets the key do so no longer, from the next request on. Repeating it is no error.
    pub fn end(&self, key_id: impl Into<String>) -> Request<DelegationEnd> {
        self.client.request(DelegationEnd { key_id: key_id.into() })
    }
}

/// `GET /me/delegations`: see [`Delegations::list`].
#[derive(Clone, Debug)]
pub struct DelegationList(());

impl Run for DelegationList {
    type Data = Vec<types::Delegation>;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        Ok(api.delegation_list().send().await?.into_inner().data.delegations)
    }
}

/// `PUT /me/delegations/{keyId}`: see [`Delegations::allow`].
#[derive(Clone, Debug)]
pub struct DelegationAllow {
    key_id: String,
}

impl Run for DelegationAllow {
    type Data = types::Delegation;

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        let answer = api.delegation_allow().key_id(self.key_id).send().await?;
        Ok(answer.into_inner().data.delegation)
    }
}

/// `DELETE /me/delegations/{keyId}`: see [`Delegations::end`].
#[derive(Clone, Debug)]
pub struct DelegationEnd {
    key_id: String,
}

impl Run for DelegationEnd {
    type Data = ();

    async fn run(self, api: &generated::Client) -> Result<Self::Data, Failure<ErrorEnvelope>> {
        api.delegation_end().key_id(self.key_id).send().await?;
        Ok(())
    }
}
