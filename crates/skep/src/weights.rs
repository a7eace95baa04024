//! How a node of `skep up` comes to its weights: a file that is here, or the network that it joins.

use crate::args::UpArgs;
use crate::error::Error;
use crate::home::{self, Model};
use crate::output;
use indicatif::{HumanBytes, ProgressBar, ProgressStyle};
use skep_model::{Gguf, ModelConfig};
use skep_node::{FetchProgress, Fetched, Weights, choose_blocks};
use skep_store::partial;
use skep_types::wire::Peer;
use skep_types::{BlockRange, Invite};
use std::path::{Path, PathBuf};

/// The weights of a node.
pub(crate) struct Held {
    /// The model's file, or a part of it.
    pub(crate) path: PathBuf,
    pub(crate) blocks: BlockRange,
    /// What had to be fetched.
    pub(crate) fetched: Option<Fetched>,
}

/// Comes to the weights that the person asked for.
pub(crate) async fn come_by(
    args: &UpArgs,
    weights: &Weights,
    join: Option<&Peer>,
    invite: Option<&Invite>,
) -> Result<Held, Error> {
    let asked = args.model.as_deref();
    let (Some(gateway), None) = (join, asked) else { return from_here(args, weights, home::find_model(asked)?) };
    let served = weights.ask_network(gateway, invite).await?;
    if served.model == home::bundled_id() {
        return from_here(args, weights, home::find_model(None)?);
    }
    let store = home::store();
    let bar = bar(args.json);
    let shown = bar.clone();
    let mut report = move |progress: FetchProgress| show(&shown, progress);
    let mut fetching = weights.fetch(gateway.clone(), served, &store).await?;
    let header = fetching.header(&mut report).await?;
    let path = partial::folder(&store, fetching.served().model).join("model.gguf");
    let blocks = match args.blocks {
        Some(_) => blocks_of(&header, &path, args.blocks)?,
        None => choose(&header, &fetching.served().members, &path)?,
    };
    let name = ModelConfig::from_gguf(&header).map_err(|source| Error::Model { path: path.clone(), source })?.name;
    home::note_name(&path, &name)?;
    if !args.json {
        bar.suspend(|| eprintln!("fetching blocks {blocks} of {name} from the other machines of the network"));
    }
    fetching.blocks(&header, blocks, &mut report).await?;
    let fetched = fetching.finish().await?;
    bar.finish_and_clear();
    Ok(Held { path, blocks, fetched: Some(fetched) })
}

/// A file that is on this machine.
fn from_here(args: &UpArgs, weights: &Weights, model: Model) -> Result<Held, Error> {
    let gives = args.upload != Some(0);
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
    let blocks = blocks_of(&header, &path, args.blocks)?;
    Ok(Held { path, blocks, fetched: None })
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

/// The blocks of a node that may take any: those of last time, since they are here, else those that fit into its memory and that the
/// fewest serve.
fn choose(header: &Gguf, members: &[u16], path: &Path) -> Result<BlockRange, Error> {
    let refuse = |source| Error::Model { path: path.to_owned(), source };
    let memory = memory_for_weights();
    let note = path.with_file_name("blocks");
    let before = std::fs::read_to_string(&note).ok().and_then(|text| text.trim().parse::<BlockRange>().ok());
    if let Some(blocks) = before.filter(|blocks| blocks_of(header, path, Some(*blocks)).is_ok()) {
        return Ok(blocks);
    }
    let chosen = choose_blocks(header, members, memory).map_err(refuse)?;
    let blocks = chosen.ok_or(Error::NoRoom { memory })?;
    // Without the note another choice may be made next time, which costs a download and nothing else.
    let _ = std::fs::write(&note, blocks.to_string());
    Ok(blocks)
}

/// Bytes that weights may take: three quarters of what the system says is free for use. Weights are mapped, so what is too much makes
/// answers slow and breaks nothing; where the system says nothing, there is no limit.
fn memory_for_weights() -> u64 {
    let available = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| {
        let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
        line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok()
    });
    available.map_or(u64::MAX, |kib| kib / 4 * 3 * 1024)
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
