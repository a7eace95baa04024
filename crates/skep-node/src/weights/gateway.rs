//! What a gateway says to those who ask what its network serves.

use crate::gateway::Gateway;
use skep_types::wire::{MAX_COUNTED_BLOCKS, MAX_HOLDERS, Peer, ServedModel};
use skep_types::{Invite, NodeId, Pass};

impl Gateway {
    /// Lets `from` in unless it shows that it is in, and tells it who holds the model: `gives` says whether this machine does.
    pub(crate) async fn tell_network(
        &self,
        from: NodeId,
        invite: Option<Invite>,
        pass: Option<Pass>,
        gives: bool,
    ) -> Result<ServedModel, String> {
        let membership = self.inner.links.membership();
        let pass = match pass.filter(|pass| membership.is_pass_of(from, pass)) {
            Some(pass) if !membership.is_door() => pass,
            shown => self.let_in(from, invite, shown).await?,
        };
        let (model, offers) = (&self.inner.model, self.offers());
        let own = self.inner.net.peer();
        let mut holders: Vec<Peer> = offers.iter().map(|offer| offer.peer.clone()).collect();
        holders.retain(|holder| holder.node != own.node && holder.node != from);
        // Of many, each asker hears of others, and another time of yet others.
        let most = if gives { MAX_HOLDERS - 1 } else { MAX_HOLDERS };
        if holders.len() > most {
            let drawn = crate::gateway::random_seed();
            let first = u64::from_le_bytes([drawn[0], drawn[1], drawn[2], drawn[3], 0, 0, 0, 0]) as usize;
            let first = first % holders.len();
            holders.rotate_left(first);
            holders.truncate(most);
        }
        if gives {
            holders.push(own);
        }
        let n_blocks = model.config.n_blocks;
        let serve = |block| offers.iter().filter(|offer| offer.blocks.contains(block)).count();
        let counted = if n_blocks as usize <= MAX_COUNTED_BLOCKS { n_blocks } else { 0 };
        let members = (0..counted).map(|block| u16::try_from(serve(block)).unwrap_or(u16::MAX)).collect();
        Ok(ServedModel { model: model.id, bytes: model.bytes, holders, members, pass })
    }
}
