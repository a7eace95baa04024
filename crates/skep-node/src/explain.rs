//! Why an answer takes its route, for people: the planner's explanation as sentences and numbers.

use serde::Serialize;
use skep_plan::{Explanation, Network, NoPlan, Plan, Request, Way};
use skep_types::{BlockRange, NodeId};
use std::time::Duration;

/// The most alternatives of one kind that are told.
const MOST: usize = 64;

/// What the planner expects of one stage, in milliseconds of the whole answer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExpectedStage {
    /// The node.
    pub node: NodeId,
    /// The blocks it runs.
    pub blocks: BlockRange,
    /// Travel to it.
    pub hop_ms: f64,
    /// Waiting and fixed costs of the visits.
    pub visits_ms: f64,
    /// Its blocks.
    pub compute_ms: f64,
    /// Whether all of its figures were measured; what was not is taken to be worse than most.
    pub measured: bool,
}

/// What the planner expects of a route.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ExpectedRoute {
    /// `solo` on the gateway's own machine, `handoff` to one other, or `chain`.
    pub way: &'static str,
    /// The stages in order.
    pub stages: Vec<ExpectedStage>,
    /// Milliseconds to the first token.
    pub first_token_ms: f64,
    /// Milliseconds for each further token.
    pub per_token_ms: f64,
    /// Milliseconds in all.
    pub total_ms: f64,
    /// Milliseconds of the way back to the gateway, of the whole answer.
    pub back_ms: f64,
    /// The price, in the smallest unit of money.
    pub price: u64,
    /// Whether no route of this way is better.
    pub exact: bool,
}

/// What else there was.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Alternative {
    /// What is different, as the beginning of a sentence: "without 9b01c2d3e4".
    pub what: String,
    /// The node that takes no part, if that is what is different.
    pub without: Option<NodeId>,
    /// The best route then.
    pub route: Option<ExpectedRoute>,
    /// Why there is none then.
    pub refused: Option<String>,
}

/// Why a route was chosen.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Why {
    /// One or two sentences.
    pub reason: String,
    /// What the planner expected of the chosen route.
    pub expected: ExpectedRoute,
    /// Tokens to read and to write that it planned for.
    pub planned_for: [u64; 2],
    /// Other ways, then the chosen route without each of its nodes.
    pub instead: Vec<Alternative>,
}

impl Why {
    /// Plans a request once more, and looks at what was passed over.
    ///
    /// # Errors
    /// Why there is no plan.
    pub(crate) fn new(network: &Network, request: &Request) -> Result<Self, NoPlan> {
        // As a session does: the nodes themselves have the last word on their memory.
        let explained = network.explain(request).or_else(|why| match why {
            NoPlan::Memory | NoPlan::Unheld { memory: 1.., .. } => {
                network.explain(&Request { kv_bytes: 0, ..request.clone() })
            }
            _ => Err(why),
        })?;
        let ways = explained.ways.iter().filter(|(way, plan)| {
            *way != explained.chosen.way && !matches!(plan, Ok(plan) if plan.stages == explained.chosen.stages)
        });
        let mut instead: Vec<Alternative> =
            ways.map(|(way, plan)| alternative(format!("as a {}", name(*way)), None, plan)).collect();
        let without = explained.without.iter().take(MOST);
        instead.extend(without.map(|(node, plan)| alternative(format!("without {}", node.short()), Some(*node), plan)));
        Ok(Self {
            reason: reason(&explained),
            expected: expected(&explained.chosen),
            planned_for: [request.prompt_tokens, request.new_tokens],
            instead,
        })
    }
}

fn alternative(what: String, without: Option<NodeId>, plan: &Result<Plan, NoPlan>) -> Alternative {
    let refused = plan.as_ref().err().map(|fault| match fault {
        // The only one who is avoided is the one whom the alternative does without.
        NoPlan::Unheld { block, avoided: 1, label: 0, memory: 0 } if without.is_some() => {
            format!("nobody else holds block {block}")
        }
        fault => fault.to_string(),
    });
    Alternative { what, without, route: plan.as_ref().ok().map(expected), refused }
}

fn name(way: Way) -> &'static str {
    match way {
        Way::Solo => "solo",
        Way::Handoff => "handoff",
        Way::Chain => "chain",
    }
}

fn expected(plan: &Plan) -> ExpectedRoute {
    let stages = plan.cost.stages.iter().map(|stage| ExpectedStage {
        node: stage.stage.peer.node,
        blocks: stage.stage.blocks,
        hop_ms: millis(stage.hop),
        visits_ms: millis(stage.visits),
        compute_ms: millis(stage.compute),
        measured: stage.measured,
    });
    ExpectedRoute {
        way: name(plan.way),
        stages: stages.collect(),
        first_token_ms: millis(plan.cost.first_token),
        per_token_ms: millis(plan.cost.per_token),
        total_ms: millis(plan.cost.total),
        back_ms: millis(plan.cost.back),
        price: plan.cost.price,
        exact: plan.exact,
    }
}

/// The choice in words.
fn reason(explained: &Explanation) -> String {
    let chosen = &explained.chosen;
    let lap = |plan: &Plan| format!("{:.1} ms a token", millis(plan.cost.per_token));
    let whole = |plan: &Plan| format!("{:.2} s in all", plan.cost.total.as_secs_f64());
    if chosen.way == Way::Solo {
        return format!(
            "This machine holds every block: alone it is free and shows nobody anything, at {}.",
            lap(chosen)
        );
    }
    let stages = match chosen.stages.len() {
        1 => "one stage".to_owned(),
        n => format!("{n} stages"),
    };
    let mut text = format!("It is expected to be the fastest route: {stages}, {}, {}.", whole(chosen), lap(chosen));
    let rivals = explained.without.iter().filter_map(|(node, plan)| plan.as_ref().ok().map(|plan| (node, plan)));
    let next = rivals.min_by_key(|(_, plan)| plan.cost.total);
    let needed = explained.without.iter().find_map(|(node, plan)| match plan {
        Err(NoPlan::Unheld { block, .. }) => Some((node, block)),
        _ => None,
    });
    match (next, needed) {
        (_, Some((node, block))) => {
            text += &format!(" Nobody else holds block {block}, so it cannot do without {}.", node.short());
        }
        (Some((node, plan)), None) => {
            text += &format!(" The next best, without {}, would take {}.", node.short(), whole(plan));
        }
        (None, None) => {}
    }
    let unmeasured = chosen.cost.stages.iter().filter(|stage| !stage.measured).count();
    if unmeasured > 0 {
        text += &format!(" Of {unmeasured} of its nodes not everything is measured: what is not, is taken to be slow.");
    }
    text
}

fn millis(time: Duration) -> f64 {
    // Microseconds are what the planner counts in.
    time.as_micros() as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;
    use skep_plan::{Candidate, Figures, Gateway, Label, Links, Offer};
    use skep_types::wire::Peer;

    fn node(id: u8) -> NodeId {
        NodeId([id; 32])
    }

    fn candidate(id: u8, start: u32, end: u32, block_ms: u64) -> Candidate {
        let ms = |ms| Some(Duration::from_millis(ms));
        let figures = Figures {
            decode_block: ms(block_ms),
            prefill_block: ms(1),
            visit: ms(1),
            wait: ms(0),
            delay: ms(5),
            goodput: Some(1 << 30),
            memory: Some(1 << 30),
            beacons: Vec::new(),
        };
        let offer =
            Offer { peer: Peer { node: node(id), addrs: Vec::new() }, blocks: BlockRange::new(start, end).unwrap() };
        Candidate { offer, price: 0, label: Label::Public, figures }
    }

    fn why(candidates: Vec<Candidate>) -> Result<Why, NoPlan> {
        let network = Network::new(Gateway { node: node(9), goodput: None }, candidates, &Links::new());
        let wanted = candidate(0, 0, 4, 1).offer.blocks;
        Why::new(&network.unwrap_or_default(), &Request::new(wanted))
    }

    #[test]
    fn the_fastest_route_names_what_would_take_its_place() {
        let told = why(vec![candidate(1, 0, 4, 2), candidate(2, 0, 2, 1), candidate(3, 2, 4, 9)]);
        let told = told.unwrap();
        assert_eq!(told.expected.way, "chain");
        assert_eq!(told.expected.stages.len(), 1);
        let (one, two) = (node(1).short(), "The next best");
        assert!(
            told.reason
                .starts_with("It is expected to be the fastest route: one stage, 2.30 s in all, 19.0 ms a token."),
            "{told:?}"
        );
        assert!(told.reason.contains(two) && told.reason.contains(&one.to_string()), "{}", told.reason);
        assert_eq!((told.instead.len(), told.instead[0].without), (1, Some(node(1))));
        assert_eq!(told.instead[0].route.as_ref().map(|route| route.stages.len()), Some(2));
    }

    #[test]
    fn a_node_that_cannot_be_missed_is_named() {
        let told = why(vec![candidate(1, 0, 4, 2), candidate(2, 0, 2, 9)]);
        let told = told.unwrap();
        assert!(told.reason.contains("Nobody else holds block 2, so it cannot do without "), "{}", told.reason);
        assert!(told.instead[0].refused.is_some() && told.instead[0].route.is_none());
    }

    #[test]
    fn alone_is_alone_and_its_reason_says_so() {
        let told = why(vec![candidate(9, 0, 4, 50), candidate(1, 0, 4, 1)]);
        let told = told.unwrap();
        assert_eq!(told.expected.way, "solo");
        assert!(told.reason.starts_with("This machine holds every block"), "{}", told.reason);
        assert!(told.instead.iter().any(|other| other.what == "as a chain"), "{:?}", told.instead);
    }

    #[test]
    fn what_nobody_measured_is_said() {
        let mut blind = candidate(1, 0, 4, 1);
        blind.figures = Figures::default();
        let told = why(vec![blind]).unwrap();
        assert!(
            told.reason.ends_with("Of 1 of its nodes not everything is measured: what is not, is taken to be slow.")
        );
    }

    #[test]
    fn no_plan_is_told_as_such() {
        assert!(matches!(why(vec![candidate(1, 0, 3, 1)]), Err(NoPlan::Unheld { block: 3, .. })));
    }
}
