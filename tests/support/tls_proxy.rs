//! A TLS proxy before a server without TLS.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use highhock::tls::ClientIdentity;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio_rustls::TlsAcceptor;

use super::cuttable_proxy::ServerAddress;

/// A server on a free port of 127.0.0.1. It lives until the end of the test process.
pub struct TlsProxy(SocketAddr);

impl TlsProxy {
    /// Forwards to `back`, for clients that trust `identity`. With a CA, clients need a
    /// certificate of this CA.
    pub fn start(identity: &ClientIdentity, client_ca: Option<&Path>, back: ServerAddress) -> Self {
        let acceptor = TlsAcceptor::from(Arc::new(server_config(identity, client_ca)));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((stream, _)) = listener.accept().await {
                    tokio::spawn(forward(acceptor.clone(), stream, back.clone()));
                }
            });
        });
        Self(address)
    }

    /// `127.0.0.1:port`.
    pub fn authority(&self) -> String {
        self.0.to_string()
    }
}

/// Either side may disconnect at any moment, which ends only this connection.
async fn forward(acceptor: TlsAcceptor, stream: TcpStream, back: ServerAddress) {
    let Ok(mut front) = acceptor.accept(stream).await else { return };
    let mut back: Box<dyn ByteStream> = match back {
        ServerAddress::Unix(path) => Box::new(UnixStream::connect(path).await.unwrap()),
        ServerAddress::Tcp(address) => Box::new(TcpStream::connect(address).await.unwrap()),
    };
    let _ = copy_bidirectional(&mut front, &mut back).await;
}

trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for T {}

fn server_config(identity: &ClientIdentity, client_ca: Option<&Path>) -> ServerConfig {
    let provider = Arc::new(ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    let builder = match client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(path).unwrap()).unwrap();
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.unwrap())
        }
    };
    let certificate = CertificateDer::from_pem_file(&identity.cert).unwrap();
    let key = PrivateKeyDer::from_pem_file(&identity.key).unwrap();
    builder.with_single_cert(vec![certificate], key).unwrap()
}
