//! TLS to a PostgreSQL elsewhere, which a proxy stands in for: it speaks TLS as PostgreSQL does,
//! and passes everything on to the test cluster's socket.

use super::stop;
use crate::fixture::binary::{Ended, Home, Serving};
use crate::fixture::cluster::cluster;
use nix::sys::signal::Signal;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivatePkcs8KeyDer;
use secrecy::ExposeSecret;
use std::path::PathBuf;
use std::sync::Arc;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_rustls::TlsAcceptor;

/// What a client sends first if it wants TLS: the length, and a number that is no version.
const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 4, 210, 22, 47];

/// An authority, and a certificate of it.
struct Authority {
    pem: String,
    server: Arc<ServerConfig>,
}

impl Authority {
    /// Certifies a server called `host`.
    fn new(host: &str) -> Authority {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new([]).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).expect("a certificate").pem();
        let issuer = Issuer::new(params, key);
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new([host.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &issuer).expect("a certificate");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            )
            .expect("a configuration");
        Authority { pem, server: Arc::new(server) }
    }
}

/// A PostgreSQL at `localhost`, with an empty database.
struct Remote {
    home: Home,
    port: u16,
    database: String,
}

impl Remote {
    /// With TLS as that authority certified, or without.
    async fn start(authority: Option<&Authority>) -> Remote {
        let url = cluster().empty_database().await;
        let local: Config = url.expose_secret().parse().expect("a URL");
        let [Host::Unix(folder)] = local.get_hosts() else { panic!("not a socket: {local:?}") };
        let socket = folder.join(".s.PGSQL.5432");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let acceptor = authority.map(|a| TlsAcceptor::from(Arc::clone(&a.server)));
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(pass_on(client, acceptor.clone(), socket.clone()));
            }
        });
        let database = local.get_dbname().expect("a database").to_owned();
        Remote { home: Home::new(), port, database }
    }

    fn url(&self, tls: &str) -> String {
        format!("postgres://switchy:hunter2@localhost:{}/{}{tls}", self.port, self.database)
    }

    /// How `migrate` ends when the URL ends with `tls`.
    async fn migrate(&self, tls: &str) -> Ended {
        let mut command = self.home.server(["migrate"]);
        command.env("DATABASE_URL", self.url(tls));
        // the proxy runs meanwhile
        let ended = tokio::task::spawn_blocking(move || Ended::of(&mut command)).await;
        let ended = ended.expect("an end");
        assert!(!ended.everything().contains("hunter2"), "{ended:?}");
        ended
    }

    /// Writes the authority's certificate to a file, for `sslrootcert`.
    fn root(&self, authority: &Authority) -> String {
        let file = self.home.folder().join("root ca.pem");
        std::fs::write(&file, &authority.pem).expect("written");
        file.to_str().expect("a path").replace(' ', "%20")
    }
}

/// One connection, from the client's first word to its last. Failures show at the client.
async fn pass_on(mut client: TcpStream, tls: Option<TlsAcceptor>, socket: PathBuf) {
    let mut first = [0; SSL_REQUEST.len()];
    if client.read_exact(&mut first).await.is_err() {
        return;
    }
    let Ok(mut server) = UnixStream::connect(socket).await else { return };
    let asks_for_tls = first == SSL_REQUEST;
    let _ = match tls {
        Some(acceptor) if asks_for_tls => {
            let _ = client.write_all(b"S").await;
            let Ok(mut client) = acceptor.accept(client).await else { return };
            copy_bidirectional(&mut client, &mut server).await
        }
        None if asks_for_tls => {
            let _ = client.write_all(b"N").await;
            copy_bidirectional(&mut client, &mut server).await
        }
        // only a client that encrypts is served, as with `hostssl` in pg_hba.conf
        Some(_) => return,
        None => {
            let _ = server.write_all(&first).await;
            copy_bidirectional(&mut client, &mut server).await
        }
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn prefer_and_require_encrypt_whoever_signed() {
    let remote = Remote::start(Some(&Authority::new("elsewhere.test"))).await;
    for tls in ["", "?sslmode=prefer", "?sslmode=require"] {
        remote.migrate(tls).await.ok();
    }
    let plain = remote.migrate("?sslmode=disable").await;
    assert!(plain.sentence().contains("cannot connect to PostgreSQL"), "{plain:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_tls_prefer_goes_on_and_require_does_not() {
    let remote = Remote::start(None).await;
    for tls in ["", "?sslmode=prefer", "?sslmode=disable"] {
        remote.migrate(tls).await.ok();
    }
    let required = remote.migrate("?sslmode=require").await;
    assert!(required.sentence().contains("TLS"), "{required:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_full_wants_a_known_authority_and_the_right_name() {
    let authority = Authority::new("localhost");
    let remote = Remote::start(Some(&authority)).await;
    let unknown = remote.migrate("?sslmode=verify-full").await;
    assert!(unknown.sentence().contains("certificate"), "{unknown:?}");
    let root = remote.root(&authority);
    remote.migrate(&format!("?sslmode=verify-full&sslrootcert={root}")).await.ok();

    // libpq: a root certificate makes `require` verify, too
    let stranger = remote.root(&Authority::new("localhost"));
    for mode in ["require", "verify-ca", "verify-full"] {
        let refused = remote.migrate(&format!("?sslmode={mode}&sslrootcert={stranger}")).await;
        assert!(refused.sentence().contains("certificate"), "{mode}: {refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn verify_ca_takes_any_name_and_verify_full_does_not() {
    let authority = Authority::new("elsewhere.test");
    let remote = Remote::start(Some(&authority)).await;
    let root = remote.root(&authority);
    let refused = remote.migrate(&format!("?sslmode=verify-full&sslrootcert={root}")).await;
    assert!(refused.sentence().contains("elsewhere.test"), "{refused:?}");
    for mode in ["verify-ca", "require"] {
        remote.migrate(&format!("?sslmode={mode}&sslrootcert={root}")).await.ok();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_serves_over_tls_to_its_database() {
    let authority = Authority::new("localhost");
    let remote = Remote::start(Some(&authority)).await;
    let tls = format!("?sslmode=verify-full&sslrootcert={}", remote.root(&authority));
    let mut command = remote.home.serve();
    command.env("DATABASE_URL", remote.url(&tls));
    let start = tokio::task::spawn_blocking(move || Serving::start(&mut command));
    let serving = start.await.expect("a server");
    serving.caller("sk_live_none").get("/ready").await.data(200);
    let stopped = tokio::task::spawn_blocking(move || stop(serving, Signal::SIGTERM)).await;
    stopped.expect("an end").ok();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_root_certificate_that_cannot_be_read_is_named() {
    let remote = Remote::start(None).await;
    let missing = remote.migrate("?sslmode=verify-full&sslrootcert=/nowhere/ca.pem").await;
    assert!(missing.sentence().contains("/nowhere/ca.pem"), "{missing:?}");
}
