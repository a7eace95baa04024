//! `skep pull`: a model into this machine's store, from a file, over HTTPS, or from a network; and what the store holds.
//!
//! The store is `models` in Skep's folder: one folder for each model, named by its id, in the form of `skep-store`, so that what was
//! pulled can be served to other members. What ends here was written through and is forgotten by the page cache, so that the first use
//! brings it into memory through a mapping, in large pages (see `skep-map`).

use crate::args::{ListArgs, PullArgs};
use crate::download;
use crate::error::Error;
use crate::home;
use crate::invite;
use crate::output;
use crate::up::spinner;
use crate::weights::{bar, show};
use indicatif::HumanBytes;
use serde_json::json;
use skep_model::{Gguf, ModelConfig};
use skep_node::{DoorRules, FetchProgress, NodeError, Weights, WeightsConfig};
use skep_store::adopt::{self, Stored};
use skep_types::{Invite, ModelId};
use std::fs::File;
use std::path::{Path, PathBuf};

/// Pulls a model and says what it is called from now on.
pub(crate) async fn run(args: PullArgs) -> Result<(), Error> {
    let (id, name) = match Source::read(&args.from)? {
        Source::Link(invite) => from_network(&args, &invite).await?,
        Source::Url(url) => tokio::task::block_in_place(|| from_url(&args, &url))?,
        Source::File(path) => tokio::task::block_in_place(|| from_file(&args, &path))?,
    };
    let stored = adopt::stored(&home::store(), id).map_err(NodeError::from)?;
    let stored = stored.ok_or_else(|| Error::NotWhole { name: name.clone(), held: 0, bytes: 0 })?;
    let name = home::clean(args.name.as_deref().unwrap_or(&name));
    let note = stored.path.with_file_name("name");
    let system = |source| Error::System { what: format!("writing {}", note.display()), source };
    std::fs::write(&note, &name).map_err(system)?;
    forget_pages(&stored.path)?;
    if args.json {
        return output::line(json!({ "model": id, "name": name, "bytes": stored.shape.bytes(), "path": stored.path }));
    }
    output::line(format!("model {name} ({}), {}, is here", id.short(), HumanBytes(stored.shape.bytes())))?;
    output::line(format!("start a network with it: skep up --model {name}"))
}

/// Lists what the store holds.
pub(crate) fn list(args: &ListArgs) -> Result<(), Error> {
    let models = adopt::list(&home::store()).map_err(NodeError::from)?;
    if args.json {
        let row = |stored: &Stored| {
            json!({
                "model": stored.id, "name": home::name_of(stored), "bytes": stored.shape.bytes(),
                "held_bytes": stored.bytes(), "path": stored.path,
            })
        };
        return output::line(json!({ "models": models.iter().map(row).collect::<Vec<_>>() }));
    }
    if models.is_empty() {
        eprintln!("No model has been pulled. `skep pull hf:OWNER/REPOSITORY/FILE.gguf` brings one.");
        return Ok(());
    }
    output::line("  id           here                     name")?;
    for stored in &models {
        let (held, bytes) = (HumanBytes(stored.bytes()).to_string(), HumanBytes(stored.shape.bytes()));
        let here = if stored.is_whole() { held } else { format!("{held} of {bytes}") };
        output::line(format!(
            "  {}   {here:<22}   {}",
            stored.id.short(),
            home::name_of(stored).unwrap_or("-".into())
        ))?;
    }
    Ok(())
}

/// Where a model comes from.
enum Source {
    Link(Box<Invite>),
    Url(download::Address),
    File(PathBuf),
}

impl Source {
    fn read(text: &str) -> Result<Self, Error> {
        if text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("skep:")) {
            return Ok(Self::Link(Box::new(invite::read(text)?)));
        }
        match download::Address::read(text)? {
            Some(address) => Ok(Self::Url(address)),
            None => Ok(Self::File(PathBuf::from(text))),
        }
    }
}

fn from_file(args: &PullArgs, path: &Path) -> Result<(ModelId, String), Error> {
    Gguf::open(path).map_err(|source| Error::Model { path: path.to_owned(), source })?;
    let copy = incoming()?.join(format!("{}.part", std::process::id()));
    let spinner = spinner("copying and hashing the model", args.json);
    let copied = std::fs::copy(path, &copy).map(drop);
    let taken = copied
        .map_err(|source| Error::System { what: format!("copying {} to {}", path.display(), copy.display()), source })
        .and_then(|()| take_in(args, &copy));
    if taken.is_err() {
        let _ = std::fs::remove_file(&copy);
    }
    spinner.finish_and_clear();
    Ok((taken?, stem(&path.to_string_lossy())))
}

fn from_url(args: &PullArgs, address: &download::Address) -> Result<(ModelId, String), Error> {
    if address.is_plain() && args.id.is_none() {
        let reason = "without TLS anybody on the way can change the file".into();
        return Err(Error::Url { text: args.from.clone(), reason });
    }
    let bar = bar(args.json);
    bar.set_message("fetching the model");
    let part = download::fetch(address, &incoming()?, &bar)?;
    bar.finish_and_clear();
    let spinner = spinner("hashing the model", args.json);
    // What is no model is not worth keeping for another try.
    let checked = Gguf::open(&part).map_err(|source| Error::Model { path: part.clone(), source });
    let taken = checked.and_then(|_| take_in(args, &part));
    if matches!(taken, Err(Error::Model { .. } | Error::OtherFile { .. })) {
        let _ = std::fs::remove_file(&part);
    }
    spinner.finish_and_clear();
    Ok((taken?, stem(address.path())))
}

async fn from_network(args: &PullArgs, invite: &Invite) -> Result<(ModelId, String), Error> {
    let gateway = invite::first_gateway(invite);
    let secret = home::key()?;
    let relay = invite.terms.relay;
    let bind = invite::where_to_listen(Some(invite), relay.is_some());
    let (network, networks, upload) = (Some(invite.terms.network), Some(home::networks()), Some(0));
    let weights =
        Weights::bind(WeightsConfig { secret, bind, relay, network, networks, upload, doors: DoorRules::default() })
            .await?;
    let bar = bar(args.json);
    let shown = bar.clone();
    let mut report = move |progress: FetchProgress| show(&shown, progress);
    let fetched = async {
        let served = weights.ask_network(&gateway, Some(invite)).await?;
        if let Some(expected) = args.id.filter(|expected| *expected != served.model) {
            return Err(Error::OtherFile { expected, found: served.model });
        }
        let mut fetching = weights.fetch(gateway, served, &home::store()).await?;
        let header = fetching.header(&mut report).await?;
        let named = |source| Error::Model { path: "the network's model".into(), source };
        let name = ModelConfig::from_gguf(&header).map_err(named)?.name;
        fetching.everything(&mut report).await?;
        let id = fetching.finish().await?.id;
        Ok((id, name))
    }
    .await;
    bar.finish_and_clear();
    weights.close().await;
    fetched
}

/// Moves a whole file into the store.
fn take_in(args: &PullArgs, file: &Path) -> Result<ModelId, Error> {
    match adopt::adopt(&home::store(), file, args.id) {
        Ok(reader) => Ok(reader.id()),
        Err(skep_store::StoreError::OtherModel { kept, found }) => Err(Error::OtherFile { expected: kept, found }),
        Err(other) => Err(NodeError::from(other).into()),
    }
}

/// The folder of files that are on their way.
fn incoming() -> Result<PathBuf, Error> {
    let folder = home::folder().join("incoming");
    let fault = |source| Error::System { what: format!("creating {}", folder.display()), source };
    std::fs::create_dir_all(&folder).map_err(fault)?;
    Ok(folder)
}

/// Lets the system forget the small pages in which it holds what was just written.
fn forget_pages(path: &Path) -> Result<(), Error> {
    let fault = |source| Error::System { what: format!("writing {}", path.display()), source };
    File::open(path).and_then(|file| skep_map::read_again(&file)).map_err(fault)
}

/// The last part of a path without `.gguf`.
fn stem(path: &str) -> String {
    let last = path.rsplit(['/', '\\']).find(|part| !part.is_empty()).unwrap_or(path);
    last.strip_suffix(".gguf").unwrap_or(last).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_paths() {
        assert_eq!(stem("/models/Qwen2.5-7B.Q4_K_M.gguf"), "Qwen2.5-7B.Q4_K_M");
        assert_eq!(stem("a/b/"), "b");
    }
}
