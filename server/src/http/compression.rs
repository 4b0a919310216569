//! gzip, for clients that accept it.

use dropshot::Body;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Body as _;
use std::io::Write;

/// The smallest body that is worth it, in bytes.
const MIN_SIZE: u64 = 512;

/// Whether `Accept-Encoding` names gzip, or everything, with a weight above zero (RFC 9110, 12.5.3).
pub(super) fn accepts_gzip(headers: &HeaderMap) -> bool {
    let weight = |coding: &str| {
        let all = headers.get_all(header::ACCEPT_ENCODING).iter();
        let items = all.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
        let weights = items.filter_map(|item| {
            let mut parts = item.split(';').map(str::trim);
            let named = parts.next()?.eq_ignore_ascii_case(coding);
            let weight = parts
                .find_map(|part| part.strip_prefix("q="))
                .map_or(Some(1.0), |q| q.trim().parse::<f32>().ok().filter(|q| q.is_finite()));
            named.then_some(weight.unwrap_or(1.0))
        });
        weights.reduce(f32::max)
    };
    weight("gzip").or_else(|| weight("*")).is_some_and(|weight| weight > 0.0)
}

/// Compresses a JSON body whose size is known and worth it, if `accepted`; streams go as they are.
pub(super) async fn compressed(mut response: Response<Body>, accepted: bool) -> Response<Body> {
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|value| value.as_bytes().starts_with(b"application/json"));
    if !is_json {
        return response;
    }
    let vary = HeaderValue::from_static("Accept-Encoding");
    response.headers_mut().append(header::VARY, vary);
    let bodiless = response.status() == StatusCode::NO_CONTENT;
    let size = response.body().size_hint().exact();
    if !accepted || bodiless || size.is_none_or(|size| size < MIN_SIZE) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    let body = match body.collect().await {
        Ok(whole) => whole.to_bytes(),
        // what is in memory cannot fail to be read
        Err(_) => return Response::from_parts(head, Body::empty()),
    };
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 2), Compression::fast());
    let Ok(gzip) = encoder.write_all(&body).and_then(|()| encoder.finish()) else {
        return Response::from_parts(head, Body::from(body));
    };
    head.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    head.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(head, Body::from(gzip))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::read::GzDecoder;
    use std::io::Read;

    fn accepts(values: &[&'static str]) -> bool {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
        }
        accepts_gzip(&headers)
    }

    #[test]
    fn the_best_weight_of_gzip_or_else_of_everything_decides() {
        for accepted in [
            &["gzip"][..],
            &["br, GZIP;q=0.5"],
            &["*"],
            &["identity", "gzip ; q=0.1"],
            &["gzip;q=0, gzip;q=1"],
        ] {
            assert!(accepts(accepted), "{accepted:?}");
        }
        for refused in [&[][..], &["br"], &["gzip;q=0"], &["*;q=0"], &["gzip;q=0, *"], &[""]] {
            assert!(!accepts(refused), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn a_large_json_body_comes_back_whole_and_a_small_one_untouched() {
        for (size, is_compressed) in [(10, false), (100_000, true)] {
            let text = "x".repeat(size);
            let response = Response::builder()
                .header(header::CONTENT_TYPE, "application/json")
                .body(Body::from(text.clone()))
                .expect("a response");
            let response = compressed(response, true).await;
            let encoding = response.headers().get(header::CONTENT_ENCODING);
            assert_eq!(encoding.is_some(), is_compressed);
            let body = response.into_body().collect().await.expect("a body").to_bytes();
            let mut found = String::new();
            if is_compressed {
                GzDecoder::new(&*body).read_to_string(&mut found).expect("gzip");
            } else {
                found = String::from_utf8(body.to_vec()).expect("UTF-8");
            }
            assert_eq!(found, text);
        }
    }
}
