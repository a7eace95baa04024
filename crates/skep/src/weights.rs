//! How a node of `skep up` comes to its weights: a file that is here, or the network that it joins.

use crate::args::UpArgs;
use crate::error::Error;
use crate::home::{self, Model};
use crate::output;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use skep_model::{Gguf, ModelConfig};
use skep_node::{FetchProgress, Fetched, Moved, Moves, Weights, choose_blocks, weight_bytes};
use skep_store::partial;
use skep_types::wire::Peer;
use skep_types::{BlockRange, Invite};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc::UnboundedReceiver;

/// The weights of a node.
pub(crate) struct Held {
    /// The model's file, or a part of it.
    pub(crate) path: PathBuf,
    /// None of a machine that only uses a network.
    pub(crate) blocks: Option<BlockRange>,
    /// What had to be fetched.
    pub(crate) fetched: Option<Fetched>,
    /// How it may go to other blocks; none if they are the person's choice, or all.
    pub(crate) moves: Option<Moves>,
}

/// What the weights of a node may take that chooses its blocks.
struct Budget {
    /// All blocks, so that it need not choose.
    whole: u64,
    /// The span that it serves otherwise.
    span: u64,
    /// All spans that it holds while it moves.
    most: u64,
}

/// Comes to the weights that the person asked for.
pub(crate) async fn come_by(
    args: &UpArgs,
    weights: &Weights,
    join: Option<&Peer>,
    invite: Option<&Invite>,
) -> Result<Held, Error> {
    let asked = args.model.as_deref();
    let Some(gateway) = join else { return from_here(args, weights, home::find_model(asked)?, None) };
    if asked.is_some() && args.weights.is_none() {
        return from_here(args, weights, home::find_model(asked)?, None);
    }
    let served = weights.ask_network(gateway, invite).await?;
    if asked.is_some() || served.model == home::bundled_id() {
        return from_here(args, weights, home::find_model(asked)?, Some(&served.members));
    }
    let store = home::store();
    let bar = bar(args.json);
    let shown = bar.clone();
    let mut report = move |progress: FetchProgress| show(&shown, progress);
    let mut fetching = weights.fetch(gateway.clone(), served, &store).await?;
    let header = fetching.header(&mut report).await?;
    let path = partial::folder(&store, fetching.served().model).join("model.gguf");
    if args.use_only {
        note_model(&header, &path)?;
        let fetched = Some(fetching.finish().await?);
        bar.finish_and_clear();
        return Ok(Held { path, blocks: None, fetched, moves: None });
    }
    let budget = Budget::new(args.weights);
    let blocks = match args.blocks {
        Some(_) => blocks_of(&header, &path, args.blocks)?,
        None => choose_again(&header, &fetching.served().members, &path, &budget)?,
    };
    let name = note_model(&header, &path)?;
    if !args.json {
        bar.suspend(|| eprintln!("fetching blocks {blocks} of {name} from the other machines of the network"));
    }
    fetching.blocks(&header, blocks, &mut report).await?;
    let fetched = fetching.finish().await?;
    bar.finish_and_clear();
    let moves = args.blocks.is_none().then(|| Moves::new(budget.most, Some(store)));
    Ok(Held { path, blocks: Some(blocks), fetched: Some(fetched), moves })
}

/// A file that is on this machine. Of a node that is to choose its blocks, `members` says how many serve each.
fn from_here(args: &UpArgs, weights: &Weights, model: Model, members: Option<&[u16]>) -> Result<Held, Error> {
    let gives = args.upload != Some(0) && !args.use_only;
    let path = match model {
        Model::Stored(stored) => {
            weights.hold(stored.reader().map_err(skep_node::NodeError::from)?);
            stored.path
        }
        Model::File(path) => {
            if gives {
                // A file that cannot be used is told as what it is, before it is hashed.
                Gguf::open(&path).map_err(|source| Error::Model { path: path.clone(), source })?;
                tokio::task::block_in_place(|| weights.share(&path, &home::folder().join("trees")))?;
            }
            path
        }
    };
    let header = Gguf::open(&path).map_err(|source| Error::Model { path: path.clone(), source })?;
    let (Some(members), Some(_)) = (members, args.weights) else {
        let blocks = Some(blocks_of(&header, &path, args.blocks)?).filter(|_| !args.use_only);
        return Ok(Held { path, blocks, fetched: None, moves: None });
    };
    let budget = Budget::new(args.weights);
    let blocks = choose(&header, members, &path, &budget)?;
    Ok(Held { path, blocks: Some(blocks), fetched: None, moves: Some(Moves::new(budget.most, None)) })
}

/// Notes down what the model is called, and returns it.
fn note_model(header: &Gguf, path: &Path) -> Result<String, Error> {
    let config = ModelConfig::from_gguf(header).map_err(|source| Error::Model { path: path.to_owned(), source })?;
    home::note_name(path, &config.name)?;
    Ok(config.name)
}

/// The blocks to serve: the ones asked for, if the model has them, else all.
fn blocks_of(header: &Gguf, path: &Path, asked: Option<BlockRange>) -> Result<BlockRange, Error> {
    let refuse = |source| Error::Model { path: path.to_owned(), source };
    let n_blocks = ModelConfig::from_gguf(header).map_err(refuse)?.n_blocks;
    let whole = BlockRange::new(0, n_blocks).map_err(|_| Error::Blocks { asked: "anything".into(), n_blocks })?;
    match asked {
        Some(asked) if !whole.covers(&asked) => Err(Error::Blocks { asked: asked.to_string(), n_blocks }),
        Some(asked) => Ok(asked),
        None => Ok(whole),
    }
}

/// The blocks of a node that may take any: those of last time, since they are here, else the ones that [`choose`] finds.
fn choose_again(header: &Gguf, members: &[u16], path: &Path, budget: &Budget) -> Result<BlockRange, Error> {
    let refuse = |source| Error::Model { path: path.to_owned(), source };
    let note = note_of(path);
    let before = std::fs::read_to_string(&note).ok().and_then(|text| text.trim().parse::<BlockRange>().ok());
    if let Some(blocks) = before.filter(|blocks| blocks_of(header, path, Some(*blocks)).is_ok())
        && weight_bytes(header, blocks).map_err(refuse)? <= budget.most
    {
        return Ok(blocks);
    }
    let blocks = choose(header, members, path, budget)?;
    // Without the note another choice may be made next time, which costs a download and nothing else.
    let _ = std::fs::write(&note, blocks.to_string());
    Ok(blocks)
}

/// All blocks if these fit, else those that fit and that the fewest serve.
fn choose(header: &Gguf, members: &[u16], path: &Path, budget: &Budget) -> Result<BlockRange, Error> {
    let refuse = |source| Error::Model { path: path.to_owned(), source };
    let all = blocks_of(header, path, None)?;
    if weight_bytes(header, all).map_err(refuse)? <= budget.whole {
        return Ok(all);
    }
    let chosen = choose_blocks(header, members, budget.span).map_err(refuse)?;
    chosen.ok_or(Error::NoRoom { memory: budget.span })
}

/// Where the blocks are noted that are served of a model's file, for the next start.
pub(crate) fn note_of(path: &Path) -> PathBuf {
    path.with_file_name("blocks")
}

/// Says what moves there are, and notes them down where the blocks that were chosen are noted.
pub(crate) async fn tell_moves(mut moves: UnboundedReceiver<Moved>, note: PathBuf, json: bool) {
    while let Some(Moved { from, to, slowest }) = moves.recv().await {
        if note.exists() {
            let _ = std::fs::write(&note, to.to_string());
        }
        if !json {
            // Nobody may read it any more.
            let _ =
                output::line(format!("moves from blocks {from} to {to}, because block {slowest} is served slowest"));
        }
    }
}

impl Budget {
    /// What the owner allows is for all that is loaded. Without a word from the owner, weights take three quarters of what is free, and
    /// the rest while the node moves: they are mapped, so the system may drop what is not used.
    fn new(allowed: Option<u64>) -> Self {
        match (allowed, skep_node::free_memory().unwrap_or(u64::MAX)) {
            (Some(allowed), _) => Self { whole: allowed, span: allowed / 2, most: allowed },
            (None, free) => Self { whole: free / 4 * 3, span: free / 4 * 3, most: free },
        }
    }
}

/// Says what was fetched.
pub(crate) fn announce(fetched: &Fetched) -> Result<(), Error> {
    let came = HumanBytes(fetched.received_bytes);
    let here = match fetched.kept_bytes {
        0 => String::new(),
        kept => format!("; {} were here already", HumanBytes(kept)),
    };
    output::line(format!("{came} of the model came from other machines{here}"))
}

/// A bar for a fetch; silent where standard error is not a terminal or the output is for a program.
pub(crate) fn bar(json: bool) -> ProgressBar {
    if json {
        return ProgressBar::hidden();
    }
    let form = "{spinner} {msg} [{bar:30}] {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left";
    let style = ProgressStyle::with_template(form).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(0).with_style(style.progress_chars("=> ")).with_message("looking for the model")
}

/// Shows how far a fetch is.
pub(crate) fn show(bar: &ProgressBar, progress: FetchProgress) {
    let machines = if progress.peers == 1 { "one machine".into() } else { format!("{} machines", progress.peers) };
    bar.set_message(format!("fetching the model from {machines}"));
    bar.set_length(progress.wanted_bytes);
    bar.set_position(progress.verified_bytes);
}
