//! Requests to Stripe: forms there, JSON back.

use crate::error::{Error, Result};
use http::header;
use reqwest::redirect::Policy;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::time::Duration;
use url::Url;

/// The version that requests are made in and answered in, whatever the account's default is.
pub const VERSION: &str = "2025-08-27.basil";
/// Longest time that Stripe gets for an answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Longest answer that is read, in bytes.
const MAX_ANSWER: usize = 4 * 1024 * 1024;
/// Longest part of Stripe's own words that is repeated, in characters.
const MAX_MESSAGE: usize = 300;

/// A form, in Stripe's notation: `("items[0][price]", "price_1")`.
#[derive(Clone, Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// With one more field.
    pub fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.0.push((name.into(), value.to_string()));
        self
    }

    /// As it is sent.
    pub fn encoded(&self) -> String {
        form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.0).finish()
    }
}

/// Stripe's API with one secret key.
#[derive(Clone, Debug)]
pub struct Stripe {
    http: reqwest::Client,
    base: Url,
    key: SecretString,
}

#[derive(Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

#[derive(Deserialize)]
struct ErrorDetail {
    code: Option<String>,
    message: Option<String>,
}

/// What an answer without success says.
enum StripeError {
    /// Stripe's `error.code` and what we make of it.
    Coded(String, Error),
    Other(Error),
}

impl From<StripeError> for Error {
    fn from(refusal: StripeError) -> Self {
        match refusal {
            StripeError::Coded(_, error) | StripeError::Other(error) => error,
        }
    }
}

fn failed(message: impl Into<String>) -> Error {
    Error::Upstream { message: message.into().into(), timed_out: false }
}

impl Stripe {
    /// A client; nothing is sent yet.
    pub fn new(base: Url, key: SecretString) -> Result<Self> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("switchy-server/", env!("CARGO_PKG_VERSION")))
            .redirect(Policy::none())
            .timeout(TIMEOUT)
            .build()
            .map_err(Error::internal)?;
        Ok(Stripe { http, base, key })
    }

    /// Reads; `path` is below `/v1/`.
    pub async fn get<T: DeserializeOwned>(&self, path: &str, query: &Form) -> Result<T> {
        let mut url = self.at(path)?;
        if !query.0.is_empty() {
            url.set_query(Some(&query.encoded()));
        }
        Ok(self.send(self.http.get(url)).await?)
    }

    /// Makes or changes something, once for an idempotency key.
    pub async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &Form,
        idempotency_key: &str,
    ) -> Result<T> {
        Ok(self.send(self.form(path, form, idempotency_key)?).await?)
    }

    /// The same for what may be there already: `None` when Stripe says so.
    pub async fn post_unless_there<T: DeserializeOwned>(
        &self,
        path: &str,
        form: &Form,
        idempotency_key: &str,
    ) -> Result<Option<T>> {
        match self.send(self.form(path, form, idempotency_key)?).await {
            Ok(made) => Ok(Some(made)),
            Err(StripeError::Coded(code, _)) if code == "resource_already_exists" => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    fn form(
        &self,
        path: &str,
        form: &Form,
        idempotency_key: &str,
    ) -> Result<reqwest::RequestBuilder> {
        Ok(self
            .http
            .post(self.at(path)?)
            .header("Idempotency-Key", idempotency_key)
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.encoded()))
    }

    fn at(&self, path: &str) -> Result<Url> {
        let base = self.base.as_str().trim_end_matches('/');
        Url::parse(&format!("{base}/v1/{path}")).map_err(Error::internal)
    }

    async fn send<T: DeserializeOwned>(
        &self,
        request: reqwest::RequestBuilder,
    ) -> Result<T, StripeError> {
        let unreachable = |cause: reqwest::Error| {
            StripeError::Other(Error::Upstream {
                message: if cause.is_timeout() {
                    "Stripe did not answer in time; try again".into()
                } else {
                    "Stripe cannot be reached at the moment; try again".into()
                },
                timed_out: cause.is_timeout(),
            })
        };
        let mut response = request
            .bearer_auth(self.key.expose_secret())
            .header("Stripe-Version", VERSION)
            .send()
            .await
            .map_err(unreachable)?;
        let status = response.status();
        let mut body = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
            if body.len() + chunk.len() > MAX_ANSWER {
                return Err(StripeError::Other(failed("Stripe's answer is too long")));
            }
            body.extend_from_slice(&chunk);
        }
        if status.is_success() {
            return serde_json::from_slice(&body).map_err(|cause| {
                StripeError::Other(failed(format!("Stripe's answer cannot be read: {cause}")))
            });
        }
        let said = serde_json::from_slice::<ErrorBody>(&body).ok().map(|failed| failed.error);
        let (code, words) = said.map_or((None, None), |said| (said.code, said.message));
        let error = refusal(status.as_u16(), code.as_deref(), words.as_deref());
        Err(match code {
            Some(code) => StripeError::Coded(code, error),
            None => StripeError::Other(error),
        })
    }
}

fn refusal(status: u16, code: Option<&str>, words: Option<&str>) -> Error {
    match (status, code) {
        // Stripe repeats a part of the key here
        (401 | 403, _) => failed(
            "Stripe does not accept this server's secret key; its operator checks \
             SWITCHY_STRIPE_SECRET_KEY",
        ),
        (409, _) | (_, Some("idempotency_key_in_use" | "lock_timeout")) => Error::Conflict {
            message: "the same is being done at Stripe at this moment; try again".into(),
            retry_after: Some(1),
        },
        (429, _) => Error::unavailable("Stripe is asked too often at the moment; try again"),
        (400..=499, _) => {
            let words: String =
                words.unwrap_or("no reason given").chars().take(MAX_MESSAGE).collect();
            failed(format!("Stripe refused the request: {words}"))
        }
        _ => failed(format!("Stripe failed with status {status}; try again")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_percent_encoded() {
        let form = Form::default().with("items[0][price]", "a&b").with("n", 3);
        assert_eq!(form.encoded(), "items%5B0%5D%5Bprice%5D=a%26b&n=3");
    }

    #[test]
    fn the_key_is_in_no_debug_output() {
        let base = Url::parse("https://stripe.example").expect("a URL");
        let stripe = Stripe::new(base, "sk_test_secret".into()).expect("a client");
        assert!(!format!("{stripe:?}").contains("sk_test_secret"));
    }

    #[test]
    fn what_stripe_says_of_the_key_is_not_repeated() {
        let error = refusal(401, None, Some("Invalid API Key provided: sk_test_****cret"));
        assert!(!error.to_string().contains("sk_test"));
        assert!(matches!(refusal(429, None, None), Error::Unavailable { .. }));
        assert!(matches!(refusal(409, None, None), Error::Conflict { retry_after: Some(1), .. }));
    }
}
