//! Reaching peers through the network's relay, and away from it.
//!
//! A relay is spoken to over TLS 1.3 with a raw public key (RFC 7250), which must be the key of its [`Relay`]: no certificate, no
//! authority, no name. It learns this machine's key, and the token.
//!
//! While the bytes of a connection that this machine dialled pass through the relay, it looks for a direct path every [`LOOK_EVERY`]:
//! it opens a connection for the protocol `skep/1/look`, which carries nothing and makes both transports try each other's addresses
//! anew. They try by themselves only when an address changes and each minute, and a path may appear with neither.

use crate::NetError;
use crate::net::{LOOK, Shared};
use iroh::endpoint::Connection;
use iroh::tls::CaTlsConfig;
use iroh::{EndpointAddr, PublicKey, RelayConfig, RelayMap, RelayUrl, TransportAddr};
use iroh_relay::RelayQuicConfig;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls13_signature_with_raw_key};
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime, alg_id};
use rustls::{CertificateError, DigitallySignedStruct, Error, PeerIncompatible, SignatureScheme};
use skep_types::wire::Peer;
use skep_types::{NodeId, Relay};
use std::{
    net::SocketAddr,
    sync::{Arc, Weak, atomic::Ordering},
    time::Duration,
};

/// Two tries fit into the ten seconds within which a direct path is to be taken.
const LOOK_EVERY: Duration = Duration::from_secs(4);
/// Time for a try: the handshake through the relay, and the probes.
const LOOK_FOR: Duration = Duration::from_secs(3);

/// Tries of others that are held at once.
pub(crate) const LOOKS_MAX: usize = 64;
/// How often a path is looked at that may become direct.
const GLANCE: Duration = Duration::from_millis(20);

/// How a machine is reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// By packets to its address.
    Direct {
        /// That address, as seen from here.
        addr: SocketAddr,
        /// Round-trip time.
        rtt: Duration,
    },
    /// By packets that the relay passes on.
    Relayed {
        /// Round-trip time.
        rtt: Duration,
    },
}

/// Where the relay is, for the transport.
pub(crate) fn url(relay: &Relay) -> Option<RelayUrl> {
    format!("https://{}", relay.addr).parse().ok()
}

pub(crate) fn map(relay: &Relay, url: RelayUrl) -> RelayMap {
    RelayConfig::new(url, Some(RelayQuicConfig::new(relay.addr.port()))).with_auth_token(relay.token_text()).into()
}

/// Trusts the relay's key and nothing else.
pub(crate) fn trust(relay: &Relay) -> CaTlsConfig {
    let key = relay.key;
    CaTlsConfig::custom_server_cert_verifier(Arc::new(move |provider| Ok(Arc::new(Pinned { key, provider }))))
}

/// The way on which packets go to a machine once it is reached; a direct one is waited for.
pub(crate) async fn way_to(shared: &Arc<Shared>, to: &Peer, patience: Duration) -> Result<Way, NetError> {
    let link = shared.reach(to).await?;
    let mut way = None;
    let direct = async {
        while !matches!(way, Some(Way::Direct { .. })) {
            tokio::time::sleep(GLANCE).await;
            way = link.way().or(way);
        }
    };
    let _ = tokio::time::timeout(patience, direct).await;
    way.ok_or(NetError::Lost { node: to.node, reason: "no path is left".into() })
}

/// Looks for direct paths as long as the endpoint is open.
pub(crate) async fn look_for_direct_paths(shared: Weak<Shared>) {
    loop {
        tokio::time::sleep(LOOK_EVERY).await;
        let Some(shared) = shared.upgrade() else { return };
        if shared.closed.load(Ordering::Relaxed) {
            return;
        }
        let relayed = shared.book().relayed();
        for node in relayed {
            tokio::spawn(look(shared.clone(), node));
        }
    }
}

/// One try.
async fn look(shared: Arc<Shared>, node: NodeId) {
    let Ok(key) = PublicKey::from_bytes(&node.0) else { return };
    let address = EndpointAddr::from_parts(key, shared.relay_url.clone().map(TransportAddr::Relay));
    let tried = tokio::time::timeout(LOOK_FOR, async {
        if let Ok(connection) = shared.endpoint.connect(address, LOOK).await {
            connection.closed().await;
        }
    });
    // The peer keeps the connection open; the time is up sooner or later.
    let _ = tried.await;
}

/// The other end of a try: holds the connection for as long as one lasts. One too many is let go, and its sender tries again.
pub(crate) fn be_looked_for(shared: &Shared, connection: Connection) {
    if let Ok(permit) = shared.looks.clone().try_acquire_owned() {
        shared.runtime.spawn(async move {
            let _ = tokio::time::timeout(LOOK_FOR, connection.closed()).await;
            drop(permit);
        });
    }
}

/// Accepts a TLS server that proves one key.
#[derive(Debug)]
struct Pinned {
    key: NodeId,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let wanted = rustls::sign::public_key_to_spki(&alg_id::ED25519, self.key.0);
        if wanted.as_ref() == end_entity.as_ref() {
            return Ok(ServerCertVerified::assertion());
        }
        Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let key = SubjectPublicKeyInfoDer::from(cert.as_ref());
        verify_tls13_signature_with_raw_key(message, &key, dss, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        vec![SignatureScheme::ED25519]
    }

    fn requires_raw_public_keys(&self) -> bool {
        true
    }
}
