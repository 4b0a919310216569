//! A request that has not been sent yet.

use std::future::IntoFuture;

use futures::future::BoxFuture;

use crate::{Client, Error};

pub(crate) mod sealed {
    use std::future::Future;

    use progenitor_client::Error as Failure;

    use crate::{envelope::ErrorEnvelope, generated};

    /// How an operation is sent.
    pub trait Run: Send + 'static {
        type Data: Send;

        fn run(
            self,
            api: &generated::Client,
        ) -> impl Future<Output = Result<Self::Data, Failure<ErrorEnvelope>>> + Send;
    }
}

/// Something that can be asked of the server; see [`operation`](crate::operation).
pub trait Operation: sealed::Run<Data = <Self as Operation>::Answer> {
    /// What comes back.
    type Answer: Send;
}

impl<O: sealed::Run> Operation for O {
    type Answer = O::Data;
}

/// A request that has not been sent yet: set what is optional, then `.await` it.
#[derive(Clone, Debug)]
#[must_use = "a request is sent when it is awaited"]
pub struct Request<O> {
    pub(crate) client: Client,
    pub(crate) operation: O,
}

impl<O: Operation> Request<O> {
    /// Sends the request and returns the answer's `data` as the server sent it, with everything
    /// that this version of the client does not know; `null` for operations that answer nothing.
    ///
    /// # Errors
    ///
    /// Those of awaiting the request.
    pub async fn raw(self) -> Result<serde_json::Value, Error> {
        let (call, api) = self.client.call();
        self.operation.run(&api).await.map_err(|failure| call.error(failure))?;
        call.raw()
    }
}

impl<O: Operation> IntoFuture for Request<O> {
    type Output = Result<<O as Operation>::Answer, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let (call, api) = self.client.call();
            self.operation.run(&api).await.map_err(|failure| call.error(failure))
        })
    }
}

/// The key given, or a new one: made once a call, it stays the same through all of its tries.
pub(crate) fn idempotency_key(given: Option<String>) -> String {
    given.unwrap_or_else(|| uuid::Uuid::new_v4().to_string())
}
