//! Lists that come whole, up to a size, and in pages beyond it and on request.

use futures::{StreamExt, TryStreamExt, stream, stream::BoxStream};
use progenitor_client::Error as Failure;
use serde_json::Value;

use crate::{Error, Request, envelope::ErrorEnvelope, generated, request::sealed::Run};

/// A list that comes whole, up to 1,000 rows, and in pages beyond that and on request.
///
/// Awaited, a request for it answers with one page; [`stream`](Request::stream) follows the pages to
/// the end.
pub trait Paged: Run<Data = Vec<<Self as Paged>::Item>> + Clone + std::fmt::Debug + Sync {
    /// The type of its rows.
    type Item: Send + 'static;

    /// Where the rows are in the answer.
    #[doc(hidden)]
    const ROWS: &'static str;
    /// Which field of a row names it.
    #[doc(hidden)]
    const ID: &'static str;

    /// The type of a row's id.
    #[doc(hidden)]
    fn id(item: &Self::Item) -> &str;

    /// Which part of the list is asked for.
    #[doc(hidden)]
    fn part(&mut self) -> &mut Part;

    /// A page, and how many rows there are in all.
    #[doc(hidden)]
    fn page(
        self,
        api: &generated::Client,
    ) -> impl Future<Output = Result<(Vec<Self::Item>, u32), Failure<ErrorEnvelope>>> + Send;
}

/// Which part of a list is asked for.
#[derive(Clone, Debug, Default)]
pub struct Part {
    pub(crate) before: Option<String>,
    pub(crate) limit: Option<u32>,
}

impl<O: Paged> Request<O> {
    /// Only what comes after the row with this id, in the list's order: the last of a page.
    pub fn before(mut self, id: impl Into<String>) -> Self {
        self.operation.part().before = Some(id.into());
        self
    }

    /// At most so many rows, 1 to 1,000; 1,000 unless set.
    pub fn limit(mut self, limit: u32) -> Self {
        self.operation.part().limit = Some(limit);
        self
    }

    /// Every row, page after page of `limit` rows.
    ///
    /// A row that changes its place meanwhile may be given twice, or not at all.
    pub fn stream(self) -> BoxStream<'static, Result<O::Item, Error>> {
        stream::try_unfold(Some((self, 0)), |next| async move {
            let Some((request, seen)) = next else { return Ok(None) };
            let (call, api) = request.client.call();
            let page = request.operation.clone().page(&api).await;
            let (items, total) = page.map_err(|failure| call.error(failure))?;
            let seen = seen + items.len();
            // A page may be shorter than asked for and still not be the last one.
            let last =
                items.last().filter(|_| seen < total as usize).map(|item| O::id(item).into());
            let next = last.map(|id: String| (request.before(id), seen));
            Ok::<_, Error>(Some((stream::iter(items.into_iter().map(Ok)), next)))
        })
        .try_flatten()
        .boxed()
    }

    /// Every row as the server sent it, in one answer: like [`raw`](Request::raw) of a list that has
    /// no pages.
    ///
    /// # Errors
    ///
    /// Those of awaiting the request.
    pub async fn raw_all(self) -> Result<Value, Error> {
        let mut whole = self.clone().raw().await?;
        loop {
            let total = whole["total"].as_u64().unwrap_or_default();
            let Some(rows) = whole[O::ROWS].as_array() else { return Ok(whole) };
            let last = rows.last().filter(|_| (rows.len() as u64) < total);
            let Some(id) = last.and_then(|row| row[O::ID].as_str()).map(str::to_string) else {
                return Ok(whole);
            };
            let mut more = self.clone().before(id).raw().await?;
            let Value::Array(found) = more[O::ROWS].take() else { return Ok(whole) };
            if found.is_empty() {
                return Ok(whole);
            }
            if let Some(rows) = whole[O::ROWS].as_array_mut() {
                rows.extend(found);
            }
        }
    }
}

/// Implements [`Paged`], and asking for one page, for an operation with a field `part`.
macro_rules! paged {
    (
        $operation:ty, $item:ty, $rows:ident, $id:ident as $wire:literal,
        |$op:ident, $api:ident| $request:expr
    ) => {
        impl $crate::pages::Paged for $operation {
            type Item = $item;
            const ROWS: &'static str = stringify!($rows);
            const ID: &'static str = $wire;

            fn id(item: &Self::Item) -> &str {
                &item.$id
            }

            fn part(&mut self) -> &mut $crate::pages::Part {
                &mut self.part
            }

            async fn page(
                self,
                api: &generated::Client,
            ) -> Result<(Vec<Self::Item>, u32), Failure<ErrorEnvelope>> {
                let $crate::pages::Part { before, limit } = self.part.clone();
                let ($op, $api) = (self, api);
                let mut request = $request;
                if let Some(before) = before {
                    request = request.before(before);
                }
                if let Some(limit) = limit {
                    request = request.limit(limit);
                }
                let data = request.send().await?.into_inner().data;
                // a server without pages gives everything, and no total
                let total = data.total.unwrap_or_default();
                Ok((data.$rows, total))
            }
        }

        impl Run for $operation {
            type Data = Vec<$item>;

            async fn run(
                self,
                api: &generated::Client,
            ) -> Result<Self::Data, Failure<ErrorEnvelope>> {
                Ok($crate::pages::Paged::page(self, api).await?.0)
            }
        }
    };
}
pub(crate) use paged;
