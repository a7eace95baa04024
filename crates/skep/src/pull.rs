//! `skep pull`: a model into this machine's store, from a file, over HTTPS, or from a network; and what the store holds.
//!
//! The store is `models` in Skep's folder: one folder for each model, named by its id, in the form of `skep-store`, so that what was
//! pulled can be served to other members. What ends here was written through and is forgotten by the page cache, so that the first use
//! brings it into memory through a mapping, in large pages (see `skep-map`).

use crate::args::{ListArgs, PullArgs, RemoveModelArgs};
use crate::error::Error;
use crate::home;
use crate::invite;
use crate::output;
use crate::up::spinner;
use crate::weights::{bar, show};
use indicatif::HumanBytes;
use serde_json::json;
use skep_model::{Gguf, ModelConfig};
use skep_node::{Address, DoorRules, FetchProgress, NodeError, PullError, Weights, WeightsConfig, stem};
use skep_store::adopt::{self, Stored};
use skep_types::Invite;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

/// Pulls a model and says what it is called from now on.
pub(crate) async fn run(args: PullArgs) -> Result<(), Error> {
    let stored = match Source::read(&args.from)? {
        Source::Link(invite) => from_network(&args, &invite).await?,
        Source::Url(url) => tokio::task::block_in_place(|| from_url(&args, &url))?,
        Source::File(path) => tokio::task::block_in_place(|| from_file(&args, &path))?,
    };
    let (id, name) = (stored.id, home::name_of(&stored).unwrap_or_default());
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

/// Removes a model from the store.
pub(crate) fn remove(args: &RemoveModelArgs) -> Result<(), Error> {
    let stored = home::find_stored(&args.name)?.ok_or_else(|| Error::NoModel { name: args.name.clone() })?;
    let bytes = skep_store::remove::remove(&home::store(), stored.id).map_err(PullError::from)?;
    if args.json {
        return output::line(json!({ "model": stored.id, "bytes": bytes }));
    }
    output::line(format!("model {} ({}) is removed, which frees {}", args.name, stored.id.short(), HumanBytes(bytes)))
}

/// Where a model comes from.
enum Source {
    Link(Box<Invite>),
    Url(Address),
    File(PathBuf),
}

impl Source {
    fn read(text: &str) -> Result<Self, Error> {
        if text.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("skep:")) {
            return Ok(Self::Link(Box::new(invite::read(text)?)));
        }
        match Address::read(text)? {
            Some(address) => Ok(Self::Url(address)),
            None => Ok(Self::File(PathBuf::from(text))),
        }
    }
}

fn from_file(args: &PullArgs, path: &Path) -> Result<Stored, Error> {
    Gguf::open(path).map_err(|source| Error::Model { path: path.to_owned(), source })?;
    let incoming = home::places().incoming;
    let system = |what, source| Error::System { what, source };
    std::fs::create_dir_all(&incoming).map_err(|source| system(format!("creating {}", incoming.display()), source))?;
    let copy = incoming.join(format!("{}.part", std::process::id()));
    let spinner = spinner("copying and hashing the model", args.json);
    let copied = std::fs::copy(path, &copy);
    let taken = copied
        .map_err(|source| system(format!("copying {} to {}", path.display(), copy.display()), source))
        .and_then(|_| take_in(args, &copy, &stem(&path.to_string_lossy())));
    if taken.is_err() {
        let _ = std::fs::remove_file(&copy);
    }
    spinner.finish_and_clear();
    taken
}

fn from_url(args: &PullArgs, address: &Address) -> Result<Stored, Error> {
    if address.is_plain() && args.id.is_none() {
        let reason = "without TLS anybody on the way can change the file".into();
        return Err(PullError::Url { text: args.from.clone(), reason }.into());
    }
    let bar = bar(args.json);
    bar.set_message("fetching the model");
    let mut show = |here, total: Option<u64>| {
        bar.set_length(total.unwrap_or(0));
        bar.set_position(here);
        ControlFlow::Continue(())
    };
    let part = skep_node::fetch_url(address, &home::places().incoming, &mut show)?;
    bar.finish_and_clear();
    let spinner = spinner("hashing the model", args.json);
    let taken = take_in(args, &part, &stem(address.path()));
    spinner.finish_and_clear();
    taken
}

/// Moves a whole file into the store, under the name that the person or its source gives it.
fn take_in(args: &PullArgs, file: &Path, name: &str) -> Result<Stored, Error> {
    Ok(skep_node::take_in(&home::store(), file, args.id, args.name.as_deref().unwrap_or(name))?)
}

async fn from_network(args: &PullArgs, invite: &Invite) -> Result<Stored, Error> {
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
            return Err(PullError::OtherFile { expected, found: served.model }.into());
        }
        let mut fetching = weights.fetch(gateway, served, &home::store()).await?;
        let header = fetching.header(&mut report).await?;
        let named = |source| Error::Model { path: "the network's model".into(), source };
        let name = ModelConfig::from_gguf(&header).map_err(named)?.name;
        fetching.everything(&mut report).await?;
        let (id, name) = (fetching.finish().await?.id, args.name.clone().unwrap_or(name));
        Ok(skep_node::name_stored(&home::store(), id, &name)?)
    }
    .await;
    bar.finish_and_clear();
    weights.close().await;
    fetched
}
