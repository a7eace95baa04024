//! Whom this gateway knows of its network: every node that joined it or was found by its offers, where it is, whether it lives, and what it
//! is taken to be.

use crate::appraise::{Appraisal, Held, compare};
use crate::gateway::figures;
use crate::generate::{FiguresView, NodeView};
use crate::moving::view::{Serves, holdings};
use skep_net::{Net, Watch};
use skep_plan::{Candidate, Gateway, Holding, Label, Links, Network, Offer};
use skep_session::Report;
use skep_types::offer::{Audience, Terms};
use skep_types::wire::{NodeFigures, Peer};
use skep_types::{BlockRange, NodeId};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Nodes that may have joined, dead ones included.
const MAX_MEMBERS: usize = 1024;
/// Members that a gateway connects to because of their offers.
const MAX_FOUND: usize = 48;
/// A found member that neither lives nor offers for this time is forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(120);
/// Delays to others that are remembered of one node.
const MAX_LINKS: usize = 64;

/// The members of one gateway.
pub(crate) struct Members {
    by_node: BTreeMap<NodeId, Member>,
    /// One-way delays between members, as they measured them.
    links: Links,
    /// What the owner of this gateway calls those who join it.
    label: Label,
    /// This gateway's own node.
    own: NodeId,
}

struct Member {
    peer: Peer,
    blocks: BlockRange,
    /// Of its process, on this very machine.
    pid: Option<u32>,
    alive: bool,
    /// Since when it is, or is not.
    since: Instant,
    /// Known by its offers, heard of last at this time; a node that joined this gateway tells it everything itself.
    found: Option<Found>,
    frames: u64,
    /// Sessions of this gateway that were routed over it and are under way.
    sessions: u32,
    appraisal: Appraisal,
    /// Heartbeats go to the member as long as this lives; `None` for this very node.
    _watch: Option<Watch>,
}

#[derive(Clone, Copy)]
struct Found {
    at: Instant,
    /// The number of the offer; of two the greater is newer.
    seq: u64,
    /// Whether it is being connected to.
    dialled: bool,
}

/// What an offer says of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// Nothing that changes a route.
    Known,
    /// It serves other blocks than before.
    Moved,
    /// It is there, and there is no connection to it.
    Away,
}

impl Members {
    pub(crate) fn new(label: Label, own: NodeId) -> Self {
        Self { by_node: BTreeMap::new(), links: Links::new(), label, own }
    }

    /// Takes in a node, or takes it in again after it restarted or moved to other blocks.
    ///
    /// # Errors
    /// One sentence when there is no room.
    pub(crate) fn join(
        &mut self,
        peer: Peer,
        blocks: BlockRange,
        pid: Option<u32>,
        net: Option<&Net>,
    ) -> Result<(), String> {
        let node = peer.node;
        if !self.by_node.contains_key(&node) && self.by_node.len() >= MAX_MEMBERS {
            let dead = self.by_node.iter().find(|(_, member)| !member.alive).map(|(node, _)| *node);
            let dead = dead.ok_or_else(|| format!("{MAX_MEMBERS} nodes have joined, the most this gateway knows"))?;
            self.by_node.remove(&dead);
            self.links.remove(&dead);
        }
        // Before the one of an earlier join is dropped: the heartbeats go on.
        let watch = net.map(|net| net.watch(node));
        let (frames, sessions, appraisal) = self
            .by_node
            .remove(&node)
            .map_or((0, 0, Appraisal::default()), |member| (member.frames, member.sessions, member.appraisal));
        self.by_node.insert(
            node,
            Member {
                peer,
                blocks,
                pid,
                alive: true,
                since: Instant::now(),
                found: None,
                frames,
                sessions,
                appraisal,
                _watch: watch,
            },
        );
        Ok(())
    }

    /// Takes what a node offers. One that is away should be connected to, which [`Members::found`] ends.
    pub(crate) fn find(&mut self, peer: &Peer, terms: &Terms, seq: u64) -> Heard {
        let now = Instant::now();
        let found = self.by_node.values().filter(|member| member.found.is_some()).count();
        if !self.by_node.contains_key(&peer.node) && (found >= MAX_FOUND || self.by_node.len() >= MAX_MEMBERS) {
            return Heard::Known;
        }
        let member = self.by_node.entry(peer.node).or_insert_with(|| Member::away(peer.clone(), terms, now));
        // Not every directory has the newest offer.
        if member.found.map_or(member.alive, |found| found.seq > seq) {
            return Heard::Known;
        }
        let moved = member.alive && member.blocks != terms.blocks;
        let dials = !member.alive && !member.found.is_some_and(|found| found.dialled);
        member.found = Some(Found { at: now, seq, dialled: !member.alive });
        (member.peer, member.blocks) = (peer.clone(), terms.blocks);
        member.appraisal.tell(figures(terms));
        match (dials, moved) {
            (true, _) => Heard::Away,
            (false, true) => Heard::Moved,
            (false, false) => Heard::Known,
        }
    }

    /// Ends what [`Members::find`] began: the node was reached, or not. Returns whether it lives now and did not before.
    pub(crate) fn found(&mut self, node: NodeId, reached: bool, net: &Net) -> bool {
        let Some(member) = self.by_node.get_mut(&node) else { return false };
        if let Some(found) = &mut member.found {
            found.dialled = false;
        }
        if !reached || member.alive {
            return false;
        }
        (member.alive, member.since) = (true, Instant::now());
        // A new watch does not remember that the node was away.
        member._watch = None;
        member._watch = Some(net.watch(node));
        true
    }

    /// Forgets the found who are gone.
    pub(crate) fn forget_old(&mut self) {
        let gone = |member: &Member| {
            let old = member.found.is_some_and(|found| found.at.elapsed() > FORGOTTEN_AFTER && !found.dialled);
            old && !member.alive && member.sessions == 0
        };
        let links = &mut self.links;
        self.by_node.retain(|node, member| {
            let stays = !gone(member);
            if !stays {
                links.remove(node);
            }
            stays
        });
    }

    /// Notes that a node answers again or no more. Returns whether it is a member whose state changed.
    pub(crate) fn set_alive(&mut self, node: NodeId, alive: bool) -> bool {
        match self.by_node.get_mut(&node) {
            Some(member) if member.alive != alive => {
                (member.alive, member.since) = (alive, Instant::now());
                true
            }
            _ => false,
        }
    }

    /// A node tells its figures. Returns whether it is a member.
    pub(crate) fn tell(&mut self, node: NodeId, told: NodeFigures) -> bool {
        self.by_node.get_mut(&node).map(|member| member.appraisal.tell(told)).is_some()
    }

    /// Forgets a node. Returns whether it was one that lived.
    pub(crate) fn remove(&mut self, node: NodeId) -> bool {
        self.links.remove(&node);
        self.by_node.remove(&node).is_some_and(|member| member.alive)
    }

    /// Those but `own` that have been alive for so long, those for longest first.
    pub(crate) fn standing(&self, for_so_long: Duration, own: NodeId) -> Vec<NodeId> {
        let stands = |(node, member): &(&NodeId, &Member)| {
            **node != own && member.alive && member.since.elapsed() >= for_so_long
        };
        let mut standing: Vec<_> =
            self.by_node.iter().filter(stands).map(|(node, member)| (member.since, *node)).collect();
        standing.sort_unstable();
        standing.into_iter().map(|(_, node)| node).collect()
    }

    /// Whether a node has joined.
    pub(crate) fn is_member(&self, node: NodeId) -> bool {
        self.by_node.contains_key(&node)
    }

    /// What the living offer.
    pub(crate) fn offers(&self) -> Vec<Offer> {
        let living = self.by_node.values().filter(|member| member.alive);
        living.map(|member| Offer { peer: member.peer.clone(), blocks: member.blocks }).collect()
    }

    /// Those who live and work for this gateway: who works for its own owner only is of use to nobody else.
    fn serving(&self) -> impl Iterator<Item = (&NodeId, &Member)> {
        let lent = |member: &Member| member.appraisal.told().is_none_or(|told| told.audience != Audience::Own);
        self.by_node.iter().filter(move |(node, member)| member.alive && (**node == self.own || lent(member)))
    }

    /// The spans of those who serve.
    pub(crate) fn spans(&self) -> Vec<BlockRange> {
        self.serving().map(|(_, member)| member.blocks).collect()
    }

    /// Who serves, which blocks, and the bytes that each offers for sessions.
    pub(crate) fn lent(&self) -> Vec<(NodeId, BlockRange, u64)> {
        let memory = |member: &Member| member.appraisal.told().map_or(0, |told| told.memory);
        self.serving().map(|(node, member)| (*node, member.blocks, memory(member))).collect()
    }

    /// Who serves what, for a node that thinks of moving.
    pub(crate) fn holdings(&self) -> Vec<Holding> {
        let spans = self.serving().map(|(node, member)| (*node, member.blocks, member.appraisal.told()));
        holdings(spans.map(|(node, blocks, told)| {
            let (decode_ns, room) = told.map_or((0, 0), |told| (told.decode_ns, told.room));
            Serves { node, blocks, decode_ns, room }
        }))
    }

    /// Those who serve, as the planner is to take them.
    pub(crate) fn network(&self, net: &Net) -> Network {
        let now = Instant::now();
        let candidates = self.serving().map(|(node, member)| Candidate {
            offer: Offer { peer: member.peer.clone(), blocks: member.blocks },
            price: member.appraisal.told().map_or(0, |told| told.price),
            label: self.label,
            figures: member.figures(now, net.rtt(*node)),
        });
        let gateway = Gateway { node: net.node_id(), goodput: net.goodput() };
        // There are fewer members than a plan considers.
        Network::new(gateway, candidates.collect(), &self.links).unwrap_or_default()
    }

    /// Counts a session in on the nodes of its route, or out again.
    pub(crate) fn under_way(&mut self, route: &[NodeId], begins: bool) {
        for node in route {
            if let Some(member) = self.by_node.get_mut(node) {
                member.sessions = if begins { member.sessions + 1 } else { member.sessions.saturating_sub(1) };
            }
        }
    }

    /// Learns from a finished answer that began then: how many frames each stage handled, how far apart they are, how long a lap took,
    /// and who failed.
    pub(crate) fn learn(&mut self, report: &Report, began: Instant, net: &Net) {
        for recovery in &report.recoveries {
            for node in &recovery.lost {
                match self.by_node.get_mut(node) {
                    Some(member) if member.alive && member.since <= began => {
                        member.appraisal.failed(Instant::now(), recovery.stall);
                    }
                    _ => {}
                }
            }
        }
        for hop in &report.hops {
            if let Some(member) = self.by_node.get_mut(&hop.stage.peer.node) {
                member.frames += u64::from(hop.frames);
            }
        }
        for two in report.hops.windows(2) {
            let (from, to) = (two[0].stage.peer.node, two[1].stage.peer.node);
            let row = self.links.entry(from).or_default();
            if let Some(rtt) = two[0].rtt_last.filter(|_| row.len() < MAX_LINKS || row.contains_key(&to)) {
                row.insert(to, rtt / 2);
            }
        }
        if let (Some(lap), true) = (report.lap_mean, report.recoveries.is_empty()) {
            self.compare(report, lap, net);
        }
    }

    fn compare(&mut self, report: &Report, lap: Duration, net: &Net) {
        let Some(first) = report.hops.first() else { return };
        let own = net.node_id();
        let mut held: BTreeMap<NodeId, Held> = BTreeMap::new();
        let mut delays = net.rtt(first.stage.peer.node).unwrap_or_default() / 2;
        for hop in &report.hops {
            if hop.laps == 0 {
                return;
            }
            held.insert(hop.stage.peer.node, Held { hold: hop.lap_hold / hop.laps, blocks: hop.stage.blocks.len() });
            delays += hop.rtt_last.unwrap_or_default() / 2;
        }
        let chain = self
            .by_node
            .iter_mut()
            .filter_map(|(node, member)| held.get(node).map(|held| (&mut member.appraisal, *held, *node == own)));
        compare(Instant::now(), lap, delays, &mut chain.collect::<Vec<_>>());
    }

    /// A member's address and process id.
    pub(crate) fn address(&self, node: NodeId) -> Option<(&Peer, Option<u32>)> {
        self.by_node.get(&node).map(|member| (&member.peer, member.pid))
    }

    /// The members as people see them, the living first, then by first block.
    pub(crate) fn views(&self, net: &Net) -> Vec<NodeView> {
        let now = Instant::now();
        let view = |(id, member): (&NodeId, &Member)| {
            let own = *id == net.node_id();
            let rtt = net.rtt(*id);
            NodeView {
                id: *id,
                pid: member.pid,
                blocks: Some(member.blocks),
                alive: member.alive,
                rtt_ms: rtt.map(millis),
                relayed: net.is_relayed(*id).unwrap_or(false),
                frames: member.frames,
                label: if own { "local" } else { label_name(self.label) },
                figures: member.view(now, if own { Some(Duration::ZERO) } else { rtt }),
            }
        };
        let mut views: Vec<NodeView> = self.by_node.iter().map(view).collect();
        views.sort_by_key(|view| (!view.alive, view.blocks, view.id));
        views
    }
}

impl Member {
    /// One that offers and was not reached yet.
    fn away(peer: Peer, terms: &Terms, now: Instant) -> Self {
        let found = Some(Found { at: now, seq: 0, dialled: false });
        Self {
            peer,
            blocks: terms.blocks,
            pid: None,
            alive: false,
            since: now,
            found,
            frames: 0,
            sessions: 0,
            appraisal: Appraisal::default(),
            _watch: None,
        }
    }

    fn figures(&self, now: Instant, rtt: Option<Duration>) -> skep_plan::Figures {
        self.appraisal.figures(now, rtt.map(|rtt| rtt / 2), self.sessions, self.blocks.len())
    }

    fn view(&self, now: Instant, rtt: Option<Duration>) -> FiguresView {
        let (figures, told) = (self.figures(now, rtt), self.appraisal.told());
        FiguresView {
            decode_block_ms: figures.decode_block.map(millis),
            prefill_block_ms: figures.prefill_block.map(millis),
            visit_ms: figures.visit.map(millis),
            wait_ms: figures.wait.map(millis),
            delay_ms: figures.delay.map(millis),
            correction_ms: self.appraisal.correction_us(now) / 1e3,
            goodput: figures.goodput,
            memory: figures.memory,
            sessions: told.map(|told| told.sessions),
            price: told.map_or(0, |told| told.price),
        }
    }
}

/// A label as people read it.
fn label_name(label: Label) -> &'static str {
    match label {
        Label::Public => "public",
        Label::Trusted => "trusted",
        Label::MyDevices => "my devices",
        Label::Local => "local",
    }
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
