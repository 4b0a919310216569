//! TLS to PostgreSQL, by the URL's `sslmode` and `sslrootcert` as libpq defines them.
//!
//! | sslmode | |
//! |---|---|
//! | `disable` | in plain |
//! | `prefer` (default), `allow` | TLS where the server offers it, unverified |
//! | `require` | TLS, unverified; verified where `sslrootcert` is given |
//! | `verify-ca` | TLS, the certificate is signed by a known authority |
//! | `verify-full` | the same, and names the host |

use super::connection::ConnectError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::Path;
use std::sync::Arc;
use tokio_postgres::config::SslMode;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Whether and how to speak TLS.
pub(super) enum TlsMode {
    Off,
    On(Box<MakeRustlsConnect>),
}

#[derive(Clone, Copy, PartialEq)]
enum Verify {
    Nothing,
    Authority,
    Full,
}

/// Takes the TLS parameters out of `url`, which tokio-postgres knows only in part.
pub(super) fn parse(url: &str) -> Result<(tokio_postgres::Config, TlsMode), ConnectError> {
    let bad = |what: &str| ConnectError::Url(what.to_owned());
    let scheme_ok = url.starts_with("postgres://") || url.starts_with("postgresql://");
    if !scheme_ok {
        return Err(bad("it must begin with postgres:// or postgresql://"));
    }
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let (mut mode, mut root) = (None, None);
    let mut rest = form_urlencoded::Serializer::new(String::new());
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match &*name {
            "sslmode" => mode = Some(value.into_owned()),
            "sslrootcert" => root = Some(value.into_owned()),
            _ => {
                rest.append_pair(&name, &value);
            }
        }
    }
    // tokio-postgres percent-decodes, but takes `+` literally
    let rest = rest.finish().replace('+', "%20");
    let plain = if rest.is_empty() { base.to_owned() } else { format!("{base}?{rest}") };
    // its message may quote parts of the URL, which holds the password
    let mut config: tokio_postgres::Config = plain
        .parse()
        .map_err(|_| bad("expected postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=…"))?;
    config.application_name("switchy");

    let socket_only = config.get_hosts().iter().all(|host| match host {
        tokio_postgres::config::Host::Tcp(_) => false,
        #[cfg(unix)]
        tokio_postgres::config::Host::Unix(_) => true,
    });
    let (ssl, verify) = match mode.as_deref() {
        Some("disable") => (SslMode::Disable, Verify::Nothing),
        None if socket_only => (SslMode::Disable, Verify::Nothing),
        None | Some("prefer" | "allow") => (SslMode::Prefer, Verify::Nothing),
        Some("require") if root.is_none() => (SslMode::Require, Verify::Nothing),
        Some("require" | "verify-ca") => (SslMode::Require, Verify::Authority),
        Some("verify-full") => (SslMode::Require, Verify::Full),
        Some(other) => return Err(bad(&format!("`{other}` is not an sslmode"))),
    };
    config.ssl_mode(ssl);
    let tls = match ssl {
        SslMode::Disable => TlsMode::Off,
        _ => TlsMode::On(Box::new(MakeRustlsConnect::new(client(verify, root.as_deref())?))),
    };
    Ok((config, tls))
}

fn roots(path: Option<&str>) -> Result<RootCertStore, ConnectError> {
    let mut store = RootCertStore::empty();
    match path {
        Some(path) if path != "system" => {
            let unreadable =
                |e: rustls::pki_types::pem::Error| ConnectError::Tls(format!("{path}: {e}"));
            for certificate in CertificateDer::pem_file_iter(Path::new(path)).map_err(unreadable)? {
                let certificate = certificate.map_err(unreadable)?;
                store.add(certificate).map_err(|e| ConnectError::Tls(format!("{path}: {e}")))?;
            }
        }
        _ => {
            let found = rustls_native_certs::load_native_certs();
            store.add_parsable_certificates(found.certs);
        }
    }
    if store.is_empty() {
        return Err(ConnectError::Tls(
            "no root certificates were found; name a file with sslrootcert=".into(),
        ));
    }
    Ok(store)
}

fn client(verify: Verify, root: Option<&str>) -> Result<ClientConfig, ConnectError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|e| ConnectError::Tls(e.to_string()))?;
    Ok(match verify {
        Verify::Full => builder.with_root_certificates(roots(root)?).with_no_client_auth(),
        Verify::Nothing | Verify::Authority => {
            let authority = match verify {
                Verify::Authority => Some(
                    rustls::client::WebPkiServerVerifier::builder_with_provider(
                        Arc::new(roots(root)?),
                        Arc::clone(&provider),
                    )
                    .build()
                    .map_err(|e| ConnectError::Tls(e.to_string()))?,
                ),
                _ => None,
            };
            builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Lenient { provider, authority }))
                .with_no_client_auth()
        }
    })
}

/// What libpq does for `require` (any certificate) and `verify-ca` (any name).
#[derive(Debug)]
struct Lenient {
    provider: Arc<CryptoProvider>,
    authority: Option<Arc<rustls::client::WebPkiServerVerifier>>,
}

impl ServerCertVerifier for Lenient {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        use rustls::CertificateError::{NotValidForName, NotValidForNameContext};
        let Some(authority) = &self.authority else { return Ok(ServerCertVerified::assertion()) };
        match authority.verify_server_cert(
            end_entity,
            intermediates,
            server_name,
            ocsp_response,
            now,
        ) {
            // the name is checked last, so everything else was in order
            Err(rustls::Error::InvalidCertificate(
                NotValidForName | NotValidForNameContext { .. },
            )) => Ok(ServerCertVerified::assertion()),
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ssl_mode(url: &str) -> SslMode {
        parse(url).map(|(config, _)| config.get_ssl_mode()).expect(url)
    }

    #[test]
    fn sslmode_decides_and_a_socket_needs_no_tls() {
        assert_eq!(ssl_mode("postgres://u@h/d?sslmode=disable"), SslMode::Disable);
        assert_eq!(ssl_mode("postgres://u@h/d"), SslMode::Prefer);
        assert_eq!(ssl_mode("postgres://u@h/d?sslmode=require"), SslMode::Require);
        assert_eq!(ssl_mode("postgres://u@%2Frun%2Fpg/d"), SslMode::Disable);
    }

    #[test]
    fn a_bad_url_is_refused_without_its_password() {
        for url in ["mysql://u:hunter2@h/d", "postgres://u:hunter2@h:port/d", "hunter2"] {
            let Err(error) = parse(url) else { panic!("{url} was accepted") };
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        assert!(parse("postgres://u@h/d?sslmode=paranoid").is_err());
    }

    #[test]
    fn a_missing_root_certificate_file_is_named() {
        let url = "postgres://u@h/d?sslmode=verify-full&sslrootcert=/nowhere/root.crt";
        let Err(error) = parse(url) else { panic!("accepted") };
        assert!(error.to_string().contains("/nowhere/root.crt"));
    }
}
