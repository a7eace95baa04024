//! Publishing what the node serves.

use crate::message::{Message, Refusal};
use crate::shard::{Shard, depth_for, in_sample, rank, volunteer_key};
use crate::{COPIES, Contact, Effect, FAILED_MS, PUBLISH_MS};
use skep_types::NodeId;
use skep_types::offer::{OFFER_LIFETIME_S, Offer, Terms};
use skep_types::signed::{Keys, Signed};

/// How long an answer is waited for: two round trips around the world and a busy machine.
pub(crate) const ANSWER_MS: u64 = 3_000;
/// While a shard has too few directories, it is asked for again after this long, then after twice as long and so on.
const ASK_MS_MIN: u64 = 2_000;
/// A shard's directories are looked up this often, for they change.
const ASK_MS_MAX: u64 = 120_000;
/// A node asks for the model's size at depth 0 no more often than this, and does not go where it was crowded out for as long.
const SAMPLE_MS: u64 = 600_000;
/// Nodes that are asked at once who keeps a shard.
const ASKED: usize = 2;
/// Directories that are passed over, at most.
const FAILED_MAX: usize = 8;

#[derive(Debug, Clone)]
struct Target {
    contact: Contact,
    sent_ms: u64,
    /// Sent and not answered.
    tries: u8,
}

/// A shard that the node publishes in.
#[derive(Debug, Clone)]
struct Place {
    shard: Shard,
    targets: Vec<Target>,
    ask_ms: u64,
    ask_every_ms: u64,
    /// How many of the contacts were asked: the next ones are next.
    asked: usize,
    /// Directories that did not answer or do not keep the shard, and until when they are passed over.
    failed: Vec<(NodeId, u64)>,
}

/// The offer of one node, on its way to the directories.
#[derive(Debug)]
pub(crate) struct Service {
    pub terms: Terms,
    me: Contact,
    point: u64,
    seq: u64,
    publish_ms: u64,
    /// Depth 0 is not tried before this.
    sample_ms: u64,
    /// At depth 0 to learn the model's size.
    asks_size: bool,
    depth: u8,
    places: Vec<Place>,
    /// How many servers the model has, as the last directories of depth 0 said, and as those of `depth` did, the last ones first.
    said: [[u32; COPIES]; 2],
    /// The number that places and depth come from.
    servers: u32,
    /// The supply of the slowest block of the node's shard, in hundredths of the average.
    pub slowest: u8,
}

/// The median of the answers that name a number, and how many these are.
fn median(said: &[u32; COPIES]) -> (Option<u32>, usize) {
    let mut known: Vec<u32> = said.iter().copied().filter(|servers| *servers > 0).collect();
    known.sort_unstable();
    (known.get(known.len() / 2).copied(), known.len())
}

impl Service {
    pub fn new(terms: Terms, me: Contact, now_ms: u64) -> Self {
        let point = Shard::point(&terms.model, &me.node);
        let places = vec![Place::new(Shard::at(terms.model, 0, point), now_ms)];
        let publish_ms = now_ms + PUBLISH_MS;
        let (said, servers) = ([[0; COPIES]; 2], 0);
        Self {
            terms,
            me,
            point,
            seq: 0,
            publish_ms,
            sample_ms: now_ms,
            asks_size: false,
            depth: 0,
            places,
            said,
            servers,
            slowest: 100,
        }
    }

    pub fn wake_ms(&self) -> u64 {
        let places = self.places.iter().map(Place::wake_ms).min().unwrap_or(u64::MAX);
        places.min(self.publish_ms)
    }

    /// The directories that it publishes at.
    pub fn targets(&self) -> impl Iterator<Item = &Contact> {
        self.places.iter().flat_map(|place| &place.targets).map(|target| &target.contact)
    }

    /// Whether some directory has confirmed the offer and none of its places is without one.
    pub fn is_published(&self) -> bool {
        self.places.iter().all(|place| place.targets.iter().any(|target| target.tries == 0))
    }

    pub fn tick(&mut self, now_ms: u64, contacts: &[NodeId], keys: &impl Keys, effects: &mut Vec<Effect>) {
        let renew = now_ms >= self.publish_ms;
        if renew {
            self.publish_ms = now_ms + PUBLISH_MS;
        }
        let offer = self.offer(now_ms, keys);
        // Those to whom there is a connection first.
        let mut guides: Vec<NodeId> = self.targets().map(|target| target.node).collect();
        guides.extend(contacts.iter().filter(|node| !guides.contains(node)).copied().collect::<Vec<_>>());
        for place in &mut self.places {
            place.give_up(now_ms);
            place.ask(now_ms, &guides, effects);
            let late = |target: &Target| target.tries > 0 && now_ms >= target.sent_ms + ANSWER_MS;
            for target in place.targets.iter_mut().filter(|target| renew || late(target)) {
                effects.extend(offer.as_ref().map(|offer| target.send(place.shard.depth, offer, now_ms)));
            }
        }
    }

    /// Takes the directories of a shard up, whose records are verified. A target that does not name itself keeps the shard no more.
    pub fn there(
        &mut self,
        now_ms: u64,
        from: NodeId,
        shard: &Shard,
        volunteers: &[Contact],
        keys: &impl Keys,
        effects: &mut Vec<Effect>,
    ) {
        let offer = self.offer(now_ms, keys);
        let Some(place) = self.places.iter_mut().find(|place| place.shard == *shard) else { return };
        let had = place.targets.iter().any(|target| target.contact.node == from);
        if had && volunteers.iter().all(|contact| contact.node != from) {
            place.pass_over(from, now_ms);
        }
        for contact in volunteers {
            let failed = place.failed.iter().any(|(node, until)| *node == contact.node && *until > now_ms);
            if !failed && place.targets.iter().all(|target| target.contact.node != contact.node) {
                place.targets.push(Target { contact: contact.clone(), sent_ms: 0, tries: 0 });
            }
        }
        let key = shard.key();
        place.targets.sort_by_key(|target| std::cmp::Reverse(rank(key, volunteer_key(&target.contact.node))));
        place.targets.truncate(COPIES);
        if had && place.targets.is_empty() {
            place.fail(from, now_ms);
        }
        for target in place.targets.iter_mut().filter(|target| target.sent_ms == 0) {
            effects.extend(offer.as_ref().map(|offer| target.send(shard.depth, offer, now_ms)));
        }
    }

    /// The shard that the node belongs to.
    pub fn home(&self) -> Shard {
        Shard::at(self.terms.model, self.depth, self.point)
    }

    /// The directories at which it publishes there.
    pub fn home_directories(&self) -> impl Iterator<Item = NodeId> {
        let home = self.places.iter().filter(|place| place.shard.depth == self.depth);
        home.flat_map(|place| &place.targets).map(|target| target.contact.node)
    }

    /// An answer to the offer.
    pub fn answered(&mut self, now_ms: u64, from: NodeId, shard: &Shard, refusal: Option<&Refusal>, servers: u32) {
        let Some(at) = self.places.iter().position(|place| place.shard == *shard) else { return };
        let Some(target) = self.places[at].targets.iter_mut().find(|target| target.contact.node == from) else {
            return;
        };
        target.tries = 0;
        let said = &mut self.said[usize::from(shard.depth > 0)];
        said.rotate_right(1);
        said[0] = servers;
        let crowded = refusal == Some(&Refusal::Crowded);
        if refusal.is_some() && !crowded {
            self.places[at].fail(from, now_ms);
        }
        self.settle(now_ms, shard.depth, crowded);
    }

    /// Publishes where it belongs, by how many servers the directories of a depth say that there are. Those of a deeper shard may know
    /// of too few only because others are still on their way there: they send a node deeper, or to depth 0 to ask, never back.
    fn settle(&mut self, now_ms: u64, told_at: u8, crowded: bool) {
        let (Some(servers), answers) = median(&self.said[usize::from(told_at > 0)]) else { return };
        // One directory alone is not believed that most have gone.
        let sure = told_at == 0 && answers > 1;
        let depth = depth_for(servers, self.depth);
        let stands = self.places.iter().any(|place| place.shard.depth == 0);
        if sure || depth > self.depth || told_at == 0 && depth == self.depth {
            self.servers = servers;
            self.asks_size &= !sure;
            if depth != self.depth {
                (self.depth, self.said[1], self.sample_ms) = (depth, [0; COPIES], now_ms + SAMPLE_MS);
            }
        } else if told_at > 0
            && now_ms >= self.sample_ms
            && !stands
            && (depth < self.depth || in_sample(self.point, servers, false))
        {
            (self.asks_size, self.said[0], self.sample_ms) = (true, [0; COPIES], now_ms + SAMPLE_MS);
        }
        // One directory that says that depth 0 is full is believed by those who are elsewhere too.
        let full = crowded && told_at == 0;
        let sample = self.depth > 0 && (self.asks_size || stands && !full && in_sample(self.point, self.servers, true));
        let depths = [sample.then_some(0), Some(self.depth)];
        self.places.retain(|place| depths.contains(&Some(place.shard.depth)));
        for depth in depths.into_iter().flatten() {
            if self.places.iter().all(|place| place.shard.depth != depth) {
                self.places.push(Place::new(Shard::at(self.terms.model, depth, self.point), now_ms));
            }
        }
    }

    /// What ends the service.
    pub fn leave(&self) -> impl Iterator<Item = Effect> {
        let model = self.terms.model;
        self.targets().map(move |target| Effect::Send { to: target.node, message: Message::Leave { model } })
    }

    fn offer(&mut self, now_ms: u64, keys: &impl Keys) -> Option<Box<Signed<Offer>>> {
        self.seq = now_ms.max(self.seq + 1);
        let statement = Offer {
            node: self.me.node,
            seq: self.seq,
            expires: now_ms / 1000 + OFFER_LIFETIME_S,
            terms: self.terms.clone(),
            addrs: self.me.addrs.clone(),
        };
        Signed::sign(statement, keys).ok().map(Box::new)
    }
}

impl Target {
    fn send(&mut self, depth: u8, offer: &Signed<Offer>, now_ms: u64) -> Effect {
        self.sent_ms = now_ms;
        self.tries += 1;
        Effect::Send { to: self.contact.node, message: Message::Publish { depth, offer: Box::new(offer.clone()) } }
    }
}

impl Place {
    fn new(shard: Shard, now_ms: u64) -> Self {
        Self { shard, targets: Vec::new(), ask_ms: now_ms, ask_every_ms: ASK_MS_MIN, asked: 0, failed: Vec::new() }
    }

    fn wake_ms(&self) -> u64 {
        let waiting = self.targets.iter().filter(|target| target.tries > 0);
        waiting.map(|target| target.sent_ms + ANSWER_MS).min().unwrap_or(u64::MAX).min(self.ask_ms)
    }

    /// Asks two nodes who keeps the shard: its directories, else contacts in turn, of which some may be gone or know nothing.
    fn ask(&mut self, now_ms: u64, contacts: &[NodeId], effects: &mut Vec<Effect>) {
        if now_ms < self.ask_ms {
            return;
        }
        self.ask_ms = now_ms + self.ask_every_ms;
        self.ask_every_ms =
            if self.targets.len() >= COPIES { ASK_MS_MAX } else { (2 * self.ask_every_ms).min(ASK_MS_MAX) };
        let mut asked: Vec<NodeId> = self.targets.iter().take(ASKED).map(|target| target.contact.node).collect();
        let from = self.asked;
        for at in from..from + contacts.len() {
            if asked.len() == ASKED {
                break;
            }
            self.asked = at + 1;
            let to = contacts[at % contacts.len()];
            if !asked.contains(&to) {
                asked.push(to);
            }
        }
        effects.extend(asked.into_iter().map(|to| Effect::Send { to, message: Message::Who { shard: self.shard } }));
    }

    /// Passes over those that have not answered twice.
    fn give_up(&mut self, now_ms: u64) {
        let dead = |target: &&Target| target.tries >= 2 && now_ms >= target.sent_ms + ANSWER_MS;
        let dead: Vec<NodeId> = self.targets.iter().filter(dead).map(|target| target.contact.node).collect();
        dead.into_iter().for_each(|node| self.fail(node, now_ms));
    }

    fn fail(&mut self, node: NodeId, now_ms: u64) {
        self.pass_over(node, now_ms);
        self.ask_every_ms = ASK_MS_MIN;
        self.ask_ms = self.ask_ms.min(now_ms);
    }

    /// Unlike [`Self::fail`] this asks nobody: the node itself has just named others.
    fn pass_over(&mut self, node: NodeId, now_ms: u64) {
        self.targets.retain(|target| target.contact.node != node);
        self.failed.retain(|(known, until)| *until > now_ms && *known != node);
        if self.failed.len() >= FAILED_MAX {
            self.failed.remove(0);
        }
        self.failed.push((node, now_ms + FAILED_MS));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_types::offer::{Audience, BEACONS};
    use skep_types::{BlockRange, ModelId};

    struct Anyone;

    impl Keys for Anyone {
        fn sign(&self, _: &[u8]) -> [u8; 64] {
            [0; 64]
        }

        fn verify(&self, _: &NodeId, _: &[u8], _: &[u8; 64]) -> bool {
            true
        }
    }

    fn contact(id: u8) -> Contact {
        Contact { node: NodeId([id; 32]), addrs: Vec::new() }
    }

    /// A service of a node whose point is far above any sample of thousands.
    fn service() -> Service {
        let model = ModelId([5; 32]);
        let blocks = BlockRange::new(0, 4).unwrap_or_else(|_| unreachable!());
        let terms = Terms {
            model,
            blocks,
            price: 1,
            decode_ns: 1,
            prefill_ns: 1,
            visit_us: 0,
            wait_us: 0,
            goodput_kib_s: 1,
            room: 0,
            memory: 1,
            audience: Audience::Anyone,
            beacons: [0; BEACONS],
        };
        let high = (0..255).find(|id| Shard::point(&model, &NodeId([*id; 32])) > u64::MAX / 2);
        Service::new(terms, contact(high.unwrap_or(0)), 0)
    }

    fn depths(service: &Service) -> Vec<u8> {
        service.places.iter().map(|place| place.shard.depth).collect()
    }

    /// Three directories of the place at a depth say how many servers there are.
    fn say(service: &mut Service, now_ms: u64, depth: u8, servers: u32) {
        let shard = Shard::at(service.terms.model, depth, service.point);
        let all = [250, 251, 252].map(contact);
        service.there(now_ms, all[0].node, &shard, &all, &Anyone, &mut Vec::new());
        for directory in &all {
            service.answered(now_ms, directory.node, &shard, None, servers);
        }
    }

    #[test]
    fn a_deeper_shard_that_seems_empty_sends_nobody_back_until_depth_0_agrees() {
        let mut service = service();
        say(&mut service, 1_000, 0, 5_000);
        assert_eq!((service.depth, depths(&service)), (3, vec![3]));
        say(&mut service, 2_000, 3, 40);
        say(&mut service, SAMPLE_MS, 3, 40);
        assert_eq!((service.depth, depths(&service)), (3, vec![3]));
        say(&mut service, SAMPLE_MS + 1_000, 3, 40);
        assert_eq!((service.depth, depths(&service)), (3, vec![3, 0]), "it asks");
        say(&mut service, SAMPLE_MS + 2_000, 0, 5_000);
        assert_eq!((service.depth, depths(&service)), (3, vec![3]), "they are only late");
        say(&mut service, 2 * SAMPLE_MS, 3, 40);
        assert_eq!(depths(&service), [3]);
        say(&mut service, 2 * SAMPLE_MS + 1_000, 3, 40);
        say(&mut service, 2 * SAMPLE_MS + 2_000, 0, 300);
        assert_eq!((service.depth, depths(&service)), (0, vec![0]), "they are gone");
    }

    #[test]
    fn a_deeper_shard_that_is_too_full_sends_nodes_deeper() {
        let mut service = service();
        say(&mut service, 1_000, 0, 5_000);
        say(&mut service, 2_000, 3, 11_000);
        assert_eq!((service.depth, depths(&service)), (4, vec![4]));
    }

    #[test]
    fn who_has_one_of_the_lowest_points_publishes_at_depth_0_too() {
        let mut service = service();
        service.point = 1 << 40;
        say(&mut service, 1_000, 0, 5_000);
        assert_eq!((service.depth, depths(&service)), (3, vec![0, 3]));
        let shard = Shard::at(service.terms.model, 0, service.point);
        service.answered(2_000, NodeId([250; 32]), &shard, Some(&Refusal::Crowded), 5_000);
        assert_eq!(depths(&service), [3], "unless many crowd it out");
        say(&mut service, 3_000, 3, 5_000);
        assert_eq!(depths(&service), [3]);
        say(&mut service, SAMPLE_MS + 3_000, 3, 5_000);
        assert_eq!(depths(&service), [3, 0]);
    }
}
