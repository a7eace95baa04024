//! Peers as text: `<64 hex digits>@ip:port[,ip:port]`.

use crate::NetError;
use skep_types::wire::{MAX_ADDRS, Peer};

const LONGEST: usize = 64 + MAX_ADDRS * 64;

/// Reads `<64 hex digits>@ip:port[,ip:port]`. No name is resolved.
///
/// # Errors
/// [`NetError::PeerText`] says which part is wrong.
pub fn parse_peer(text: &str) -> Result<Peer, NetError> {
    let refused = |reason: String| NetError::PeerText { text: text.chars().take(100).collect(), reason };
    if text.len() > LONGEST {
        return Err(refused("it is too long".to_owned()));
    }
    let (node, addrs) = text.split_once('@').ok_or_else(|| refused("it has no `@`".to_owned()))?;
    let node = node.parse().map_err(|fault| refused(format!("{fault}")))?;
    let addrs = addrs
        .split(',')
        .map(|addr| addr.parse().map_err(|_| refused(format!("`{addr}` is not an ip:port"))))
        .collect::<Result<Vec<_>, _>>()?;
    if addrs.len() > MAX_ADDRS {
        return Err(refused(format!("it lists more than {MAX_ADDRS} addresses")));
    }
    Ok(Peer { node, addrs })
}

/// The text that [`parse_peer`] reads.
pub fn format_peer(peer: &Peer) -> String {
    let addrs: Vec<String> = peer.addrs.iter().map(ToString::to_string).collect();
    format!("{}@{}", peer.node, addrs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use skep_types::NodeId;
    use std::net::SocketAddr;

    proptest! {
        #[test]
        fn peers_round_trip(node: [u8; 32], addrs in prop::collection::vec(any::<(std::net::IpAddr, u16)>(), 1..17)) {
            let addrs = addrs.into_iter().map(SocketAddr::from).collect();
            let peer = Peer { node: NodeId(node), addrs };
            prop_assert_eq!(parse_peer(&format_peer(&peer)).unwrap(), peer);
        }

        #[test]
        fn any_text_is_a_peer_or_a_refusal(text: String) {
            let _ = parse_peer(&text);
        }
    }

    #[test]
    fn refusals_name_the_fault() {
        let key = "ab".repeat(32);
        let reason = |text: String| parse_peer(&text).unwrap_err().to_string();
        assert!(reason(key.clone()).ends_with("it has no `@`"));
        assert!(reason(format!("{key}@")).ends_with("`` is not an ip:port"));
        assert!(reason(format!("{key}@localhost:1")).ends_with("`localhost:1` is not an ip:port"));
        assert!(reason("ab@127.0.0.1:1".to_owned()).contains("64 hexadecimal digits, this text has 2"));
        assert!(reason(format!("{key}@{}", vec!["127.0.0.1:1"; 17].join(","))).contains("more than 16"));
    }
}
