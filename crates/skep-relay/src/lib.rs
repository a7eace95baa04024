//! A relay of one's own: passes bytes on between machines that cannot reach each other, and tells a machine its outside address.
//!
//! The relay is iroh's, with our rules about who may use it and how it is known:
//! - It proves its ed25519 key by a raw public key (RFC 7250) in TLS 1.3, and nothing else: no certificate, no name. Whoever was given
//!   its [`Relay`] knows the key.
//! - It passes bytes on for those who present its token, whoever they are. The token is the first 16 bytes of BLAKE3's
//!   `derive_key("skep relay token 1", secret key)`, so it is the same after a restart, and another key is another token.
//! - What it passes on is encrypted between the two ends. It learns their keys, their addresses, and how much they say when.
//!
//! One port does it: TCP for what is passed on, UDP for telling a machine the address that its packets come from, without which two
//! machines behind routers could not find a direct path.
//!
//! # Bounds
//! Each machine may send [`RelayConfig::machine_rate`] bytes per second; the relay reads no faster, so who sends more waits. It keeps no
//! record of anything.

use iroh_relay::server::{
    Access, AccessControl, CertConfig, ClientRateLimit, ClientRequest, QuicConfig, RelayConfig as Http, Server,
    ServerConfig, TlsConfig,
};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, alg_id};
use rustls::server::AlwaysResolvesServerRawPublicKeys;
use rustls::sign::CertifiedKey;
use skep_types::{NodeId, Relay};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::Arc;
use thiserror::Error;

/// What the token is derived for.
const TOKEN_CONTEXT: &str = "skep relay token 1";
/// The beginning of an ed25519 secret key in PKCS #8 (RFC 8410); the 32 bytes of the key follow.
const PKCS8_HEAD: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];
/// Machines whose proven keys are remembered, 56 bytes each, so that one that comes again is checked faster.
const KEYS_REMEMBERED: usize = 4096;

/// What a relay is to be.
pub struct RelayConfig {
    /// Its secret key.
    pub secret: [u8; 32],
    /// Where it listens, over TCP and UDP. The port is not 0: it must be the same for both.
    pub bind: SocketAddr,
    /// The address by which others reach it, if another one.
    pub public: Option<SocketAddr>,
    /// Bytes per second that each machine may send through it; no limit if absent.
    pub machine_rate: Option<NonZeroU32>,
}

/// Why a relay cannot run.
#[derive(Debug, Error)]
pub enum RelayFault {
    /// It would listen on all of the machine's addresses, and nobody said which one others use.
    #[error("a relay on {bind} needs to know the address by which others reach it")]
    NoAddress {
        /// Where it would listen.
        bind: SocketAddr,
    },
    /// The port is 0.
    #[error("a relay needs a port that others know, not 0")]
    NoPort,
    /// TLS refuses the key.
    #[error("the relay's key cannot be used: {0}")]
    Key(#[from] rustls::Error),
    /// The sockets cannot be opened.
    #[error("a relay cannot listen on {bind}: {reason}")]
    Listen {
        /// Where it would listen.
        bind: SocketAddr,
        /// What the system said.
        reason: String,
    },
}

/// A running relay. Dropping it ends it.
pub struct RelayServer {
    _server: Server,
    relay: Relay,
}

impl RelayServer {
    /// Opens the port and begins. Contacts nobody.
    ///
    /// # Errors
    /// [`RelayFault`].
    pub async fn start(config: RelayConfig) -> Result<Self, RelayFault> {
        let RelayConfig { secret, bind, public, machine_rate } = config;
        let addr = public.unwrap_or(bind);
        if addr.ip().is_unspecified() {
            return Err(RelayFault::NoAddress { bind });
        }
        if bind.port() == 0 || addr.port() == 0 {
            return Err(RelayFault::NoPort);
        }
        let key = NodeId(*iroh::SecretKey::from_bytes(&secret).public().as_bytes());
        let relay = Relay { key, token: token(&secret), addr };
        let tls = tls(&secret, key)?;
        // Plain HTTP would only serve a probe for networks that intercept it, which nobody sends to us.
        let mut http = Http::new((Ipv4Addr::LOCALHOST, 0));
        http.tls = Some(TlsConfig::new(bind, CertConfig::Manual { server_config: tls.clone() }));
        http.access = Arc::new(Doorman { token: blake3::hash(&relay.token) });
        http.key_cache_capacity = Some(KEYS_REMEMBERED);
        http.limits.client_rx = machine_rate.map(ClientRateLimit::new);
        let mut quic = QuicConfig::new(bind);
        quic.server_config = Some(tls);
        let mut server = ServerConfig::default();
        (server.relay, server.quic) = (Some(http), Some(quic));
        let spawned = Server::spawn(server).await;
        let server = spawned.map_err(|fault| RelayFault::Listen { bind, reason: format!("{fault:#}") })?;
        Ok(Self { _server: server, relay })
    }

    /// What those are given who may use it.
    pub fn relay(&self) -> &Relay {
        &self.relay
    }
}

/// What a relay with this secret key asks of those who use it.
fn token(secret: &[u8; 32]) -> [u8; 16] {
    let mut token = [0; 16];
    token.copy_from_slice(&blake3::derive_key(TOKEN_CONTEXT, secret)[..16]);
    token
}

/// TLS 1.3 by a raw public key.
fn tls(secret: &[u8; 32], key: NodeId) -> Result<rustls::ServerConfig, rustls::Error> {
    let pkcs8 = PrivatePkcs8KeyDer::from([&PKCS8_HEAD[..], secret].concat());
    let signing = ring::sign::any_eddsa_type(&pkcs8)?;
    let public = rustls::sign::public_key_to_spki(&alg_id::ED25519, key.0);
    let certified = CertifiedKey::new(vec![CertificateDer::from(public.to_vec())], signing);
    let resolver = AlwaysResolvesServerRawPublicKeys::new(Arc::new(certified));
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth();
    Ok(config.with_cert_resolver(Arc::new(resolver)))
}

/// Lets in who knows the token.
#[derive(Debug)]
struct Doorman {
    /// Digests of it are compared, which takes the same time wherever they differ.
    token: blake3::Hash,
}

impl AccessControl for Doorman {
    async fn on_connect(&self, request: &ClientRequest) -> Access {
        let text = request.auth_token().unwrap_or_default();
        // The text is read by the same code that writes it: a relay with this token.
        let given = format!("{}.{text}@0.0.0.0:1", "0".repeat(64)).parse::<Relay>();
        match given {
            Ok(given) if blake3::hash(&given.token) == self.token => Access::Allow,
            _ => Access::Deny { reason: Some("the token is not this relay's".into()) },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_of_a_key_never_changes() {
        let hex: String = token(&[7; 32]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "426215cf30f9aee6661deff092e5ac76");
        assert_ne!(token(&[7; 32]), token(&[8; 32]));
    }

    #[test]
    fn a_key_becomes_a_server_that_speaks_tls() {
        let key = NodeId(*iroh::SecretKey::from_bytes(&[7; 32]).public().as_bytes());
        assert!(tls(&[7; 32], key).is_ok());
    }
}
