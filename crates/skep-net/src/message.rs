//! Messages on streams: their bytes, and the bounds that they have beyond their length.

use crate::NetError;
use borsh::{BorshDeserialize, BorshSerialize};
use skep_directory::MESSAGE_BYTES_MAX;
use skep_types::NodeId;
use skep_types::wire::{
    Control, ControlReply, DialAsk, DialReply, Fault, Join, JoinReply, MAX_ADDRS, MAX_CONTROL_BYTES, MAX_REASON_BYTES,
    MemberHello, NodeFigures, RegisterHello, RegisterPage, StoreAnswer, StoreAsk, StreamHello,
};

const _: () = assert!(MESSAGE_BYTES_MAX <= MAX_CONTROL_BYTES);

/// A message that has bounds beyond its length.
pub(crate) trait Message: BorshSerialize + BorshDeserialize {
    /// What breaks a bound, if anything does.
    fn fault(&self) -> Option<&'static str> {
        None
    }

    /// Cuts texts that are too long.
    fn trim(&mut self) {}
}

fn reason_of_reply(reply: &mut ControlReply) -> Option<&mut String> {
    match reply {
        ControlReply::Refused { reason, .. }
        | ControlReply::Fault { fault: Fault::BadFrame { reason, .. } | Fault::Compute { reason }, .. } => Some(reason),
        _ => None,
    }
}

fn cut(reason: &mut String) {
    reason.truncate(reason.floor_char_boundary(MAX_REASON_BYTES));
}

impl Message for StreamHello {}

impl Message for NodeFigures {}

impl Message for MemberHello {}

impl Message for RegisterHello {}

impl Message for DialAsk {}

impl Message for DialReply {
    fn fault(&self) -> Option<&'static str> {
        self.fault()
    }

    fn trim(&mut self) {
        if let Self::Refused { reason } = self {
            cut(reason);
        }
    }
}

impl Message for RegisterPage {
    fn fault(&self) -> Option<&'static str> {
        self.fault()
    }
}

impl Message for skep_directory::Message {
    fn fault(&self) -> Option<&'static str> {
        (!self.is_valid()).then_some("one of its lists is too long")
    }
}

impl Message for Control {
    fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Open { next: to, .. } | Self::Redirect { next: to, .. } | Self::Mirror { to: Some(to), .. }
                if to.addrs.len() > MAX_ADDRS =>
            {
                Some("the next hop lists too many addresses")
            }
            _ => None,
        }
    }
}

impl Message for ControlReply {
    fn fault(&self) -> Option<&'static str> {
        let long = match self {
            Self::Refused { reason, .. }
            | Self::Fault { fault: Fault::BadFrame { reason, .. } | Fault::Compute { reason }, .. } => reason.len(),
            _ => 0,
        };
        (long > MAX_REASON_BYTES).then_some("its reason is too long")
    }

    fn trim(&mut self) {
        if let Some(reason) = reason_of_reply(self) {
            cut(reason);
        }
    }
}

impl Message for Join {
    fn fault(&self) -> Option<&'static str> {
        if self.peer.addrs.len() > MAX_ADDRS {
            return Some("it lists too many addresses");
        }
        let bad_invite = self.invite.as_ref().is_some_and(|invite| invite.check().is_err());
        bad_invite.then_some("its invite is not within the bounds of one")
    }
}

impl Message for JoinReply {
    fn fault(&self) -> Option<&'static str> {
        match self {
            Self::Refused { reason } if reason.len() > MAX_REASON_BYTES => Some("its reason is too long"),
            _ => None,
        }
    }

    fn trim(&mut self) {
        if let Self::Refused { reason } = self {
            cut(reason);
        }
    }
}

impl Message for StoreAsk {
    fn fault(&self) -> Option<&'static str> {
        self.fault()
    }
}

impl Message for StoreAnswer {
    fn fault(&self) -> Option<&'static str> {
        self.fault()
    }

    fn trim(&mut self) {
        if let Self::Refused { reason } = self {
            cut(reason);
        }
    }
}

/// The bytes of a message: length, then `borsh`.
pub(crate) fn encode<M: Message>(node: NodeId, mut message: M, out: &mut Vec<u8>) -> Result<(), NetError> {
    message.trim();
    if let Some(reason) = message.fault() {
        return Err(NetError::Message { node, reason: reason.to_owned() });
    }
    let body = borsh::to_vec(&message).map_err(|fault| NetError::Message { node, reason: fault.to_string() })?;
    let length = u32::try_from(body.len()).ok().filter(|_| (1..=MAX_CONTROL_BYTES).contains(&body.len()));
    let length = length.ok_or(NetError::MessageLength { node, bytes: body.len() })?;
    out.extend(length.to_le_bytes());
    out.extend(body);
    Ok(())
}
