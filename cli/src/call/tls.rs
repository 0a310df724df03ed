//! TLS, with the certificates that curl would trust: those of the file in CURL_CA_BUNDLE, or those of the system.

use std::env;
use std::fmt::{self, Debug, Display, Formatter};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{
    CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore,
    SignatureScheme, StreamOwned,
};
use ureq::Error;
use ureq::unversioned::transport::{
    Buffers, ConnectionDetails, Connector, Either, LazyBuffers, NextTimeout, Transport,
    TransportAdapter,
};

use crate::say::printable;

/// The server cannot be trusted, so nothing was sent to it.
#[derive(Debug)]
pub struct TlsFailed(String);

impl Display for TlsFailed {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let why = printable(&self.0);
        if why.to_lowercase().contains("expired") {
            write!(f, "the server's certificate has expired: renew it ({why})")
        } else {
            write!(
                f,
                "the server cannot be trusted: check its certificate, and CURL_CA_BUNDLE ({why})"
            )
        }
    }
}

impl std::error::Error for TlsFailed {}

fn failed(why: impl Display) -> Error {
    Error::Other(Box::new(TlsFailed(why.to_string())))
}

/// Whom to trust, if not those of the environment, and what to show, if a server asks who calls.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    pub trusted: Option<PathBuf>,
    /// A certificate, and its key.
    pub shown: Option<(PathBuf, PathBuf)>,
}

#[derive(Debug, Default)]
pub struct TlsConnector {
    identity: Identity,
    config: OnceLock<Arc<ClientConfig>>,
}

impl<In: Transport> Connector<In> for TlsConnector {
    type Out = Either<In, TlsTransport>;

    fn connect(
        &self,
        details: &ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<Self::Out>, Error> {
        let Some(transport) = chained else { return Ok(None) };
        if !details.needs_tls() {
            return Ok(Some(Either::A(transport)));
        }
        let host = details.uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let name = ServerName::try_from(host.to_owned()).map_err(failed)?;
        let connection = ClientConnection::new(self.config()?, name).map_err(failed)?;
        let mut stream = StreamOwned::new(
            connection,
            TransportAdapter::new(transport.boxed(), details.current_time.clone()),
        );
        stream.sock.set_timeout(details.timeout);
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock).map_err(|error| match error.into() {
                Error::Io(error) => failed(error),
                other => other,
            })?;
        }
        let (input, output) =
            (details.config.input_buffer_size(), details.config.output_buffer_size());
        Ok(Some(Either::B(TlsTransport { stream, buffers: LazyBuffers::new(input, output) })))
    }
}

impl TlsConnector {
    pub fn new(identity: Identity) -> Self {
        Self { identity, config: OnceLock::new() }
    }

    fn config(&self) -> Result<Arc<ClientConfig>, Error> {
        if let Some(config) = self.config.get() {
            return Ok(config.clone());
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let trusted = trusted(self.identity.trusted.clone())?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(trusted.iter().cloned());
        let authorities =
            WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
                .build()
                .map_err(failed)?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(failed)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { trusted, authorities }));
        let config = match &self.identity.shown {
            Some((certificate, key)) => {
                let key_of = |error| failed(format_args!("{}: {error}", key.display()));
                let key = PrivateKeyDer::from_pem_file(key).map_err(key_of)?;
                config.with_client_auth_cert(certificates(certificate)?, key).map_err(failed)?
            }
            None => config.with_no_client_auth(),
        };
        Ok(self.config.get_or_init(|| Arc::new(config)).clone())
    }
}

fn trusted(file: Option<PathBuf>) -> Result<Vec<CertificateDer<'static>>, Error> {
    let of_environment = || env::var_os("CURL_CA_BUNDLE").filter(|file| !file.is_empty());
    match file.or_else(|| of_environment().map(PathBuf::from)) {
        Some(file) => certificates(&file),
        None => Ok(rustls_native_certs::load_native_certs().certs),
    }
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, Error> {
    let certificates = CertificateDer::pem_file_iter(file).and_then(Iterator::collect);
    certificates.map_err(|error| failed(format_args!("{}: {error}", file.display())))
}

/// Trusts what an authority has signed, and a certificate that is itself among the trusted ones, as OpenSSL does: one
/// that was made by `openssl req -x509` says of itself that it is an authority, which rustls does not take from a server.
#[derive(Debug)]
struct Verifier {
    trusted: Vec<CertificateDer<'static>>,
    authorities: Arc<WebPkiServerVerifier>,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let verified = self.authorities.verify_server_cert(
            end_entity,
            intermediates,
            name,
            ocsp_response,
            now,
        );
        match verified {
            // Whether it has expired was looked at before.
            Err(error)
                if is_authority(&error) && self.trusted.iter().any(|one| one == end_entity) =>
            {
                let certificate = ParsedCertificate::try_from(end_entity)?;
                rustls::client::verify_server_name(&certificate, name)?;
                Ok(ServerCertVerified::assertion())
            }
            other => other,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

fn is_authority(error: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(other)) = error else {
        return false;
    };
    matches!(other.0.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

pub struct TlsTransport {
    stream: StreamOwned<ClientConnection, TransportAdapter>,
    buffers: LazyBuffers,
}

impl Debug for TlsTransport {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTransport").finish_non_exhaustive()
    }
}

impl Transport for TlsTransport {
    fn buffers(&mut self) -> &mut dyn Buffers {
        &mut self.buffers
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.stream.sock.set_timeout(timeout);
        let output = self.buffers.output().get(..amount).unwrap_or_default();
        Ok(self.stream.write_all(output)?)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.stream.sock.set_timeout(timeout);
        let input = self.buffers.input_append_buf();
        let amount = self.stream.read(input)?;
        self.buffers.input_appended(amount);
        Ok(amount > 0)
    }

    fn is_open(&mut self) -> bool {
        self.stream.sock.get_mut().is_open()
    }

    fn is_tls(&self) -> bool {
        true
    }
}
