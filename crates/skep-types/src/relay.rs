//! Relays: machines that pass bytes on between two that cannot reach each other.
//!
//! A relay is named by its key, a token that it gives to those who may use it, and its address. As text: the key as 64 hexadecimal
//! digits, a dot, the token as 32 hexadecimal digits, `@`, and `ip:port`. What the relay passes on stays encrypted between the two
//! ends; it sees who speaks to whom, when and how much.

use crate::NodeId;
use borsh::{BorshDeserialize, BorshSerialize};
use std::{fmt, net::SocketAddr, str::FromStr};
use thiserror::Error;

/// Characters of the longest address with its port.
const LONGEST: usize = 64 + 1 + 32 + 1 + 64;

/// Where a relay is, how to know it, and what lets one use it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, BorshSerialize, BorshDeserialize)]
pub struct Relay {
    /// Its ed25519 key, which its TLS handshake proves.
    pub key: NodeId,
    /// Tells those who were given the relay's address from strangers.
    pub token: [u8; 16],
    /// Its address: TCP for what it passes on, UDP with the same port for telling a machine its outside address.
    pub addr: SocketAddr,
}

/// Why a text is not a relay.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("a relay is written as `skep relay` prints it, KEY.TOKEN@IP:PORT: {0}")]
pub struct RelayError(&'static str);

impl Relay {
    /// The token as its 32 hexadecimal digits.
    pub fn token_text(&self) -> String {
        self.token.iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl fmt::Display for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}@{}", self.key, self.token_text(), self.addr)
    }
}

/// Whoever knows the token may use the relay, so no log may show it.
impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay").field("key", &self.key).field("addr", &self.addr).finish_non_exhaustive()
    }
}

impl FromStr for Relay {
    type Err = RelayError;

    fn from_str(text: &str) -> Result<Self, RelayError> {
        if text.len() > LONGEST {
            return Err(RelayError("it is too long"));
        }
        let (who, addr) = text.split_once('@').ok_or(RelayError("it has no `@`"))?;
        let (key, token) = who.split_once('.').ok_or(RelayError("it has no `.` between key and token"))?;
        let key = key.parse().map_err(|_| RelayError("its key is not 64 hexadecimal digits"))?;
        let token = read_token(token).ok_or(RelayError("its token is not 32 hexadecimal digits"))?;
        let addr = addr.parse().map_err(|_| RelayError("what follows `@` is not an ip:port"))?;
        Ok(Self { key, token, addr })
    }
}

fn read_token(text: &str) -> Option<[u8; 16]> {
    let digits = text.as_bytes();
    let mut token = [0; 16];
    if digits.len() != 32 {
        return None;
    }
    for (byte, two) in token.iter_mut().zip(digits.as_chunks::<2>().0) {
        let digit = |digit: u8| (digit as char).to_digit(16);
        *byte = (digit(two[0])? << 4 | digit(two[1])?) as u8;
    }
    Some(token)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn text_and_borsh_round_trip(key: [u8; 32], token: [u8; 16], addr: (std::net::IpAddr, u16)) {
            let relay = Relay { key: NodeId(key), token, addr: addr.into() };
            prop_assert_eq!(relay.to_string().parse(), Ok(relay));
            prop_assert_eq!(borsh::from_slice::<Relay>(&borsh::to_vec(&relay).unwrap()).unwrap(), relay);
        }

        #[test]
        fn any_text_is_a_relay_or_a_refusal(text: String) {
            let _ = text.parse::<Relay>();
            let _ = format!("{}.{text}@127.0.0.1:1", "ab".repeat(32)).parse::<Relay>();
        }
    }

    #[test]
    fn refusals_name_the_fault_and_no_log_shows_the_token() {
        let (key, token) = ("ab".repeat(32), "cd".repeat(16));
        let refused = |text: String| text.parse::<Relay>().unwrap_err().0;
        assert_eq!(refused(key.clone()), "it has no `@`");
        assert_eq!(refused(format!("{key}@1.2.3.4:5")), "it has no `.` between key and token");
        assert_eq!(refused(format!("ab.{token}@1.2.3.4:5")), "its key is not 64 hexadecimal digits");
        assert_eq!(refused(format!("{key}.cd@1.2.3.4:5")), "its token is not 32 hexadecimal digits");
        assert_eq!(refused(format!("{key}.{token}@example.org:5")), "what follows `@` is not an ip:port");
        assert_eq!(refused("a".repeat(1000)), "it is too long");
        let shown = format!("{:?}", format!("{key}.{token}@1.2.3.4:5").parse::<Relay>().unwrap());
        assert!(shown.contains("1.2.3.4:5") && !shown.contains("205") && !shown.contains("cdcd"), "{shown}");
    }
}
