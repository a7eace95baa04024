//! `skep`: one command starts a network, one command joins it, one command asks it.
//!
//! Standard output carries data only; everything else goes to standard error. A failure is one clear sentence, a `hint:` line and
//! an exit code (see [`error::Error::exit_code`]).

mod args;
mod bench;
mod chat;
mod client;
mod config;
mod demo;
mod diagnostics;
mod doctor;
mod error;
mod generate;
mod home;
mod inspect;
mod invite;
mod keys;
mod ledger_bench;
mod log;
mod machine;
mod members;
mod models;
mod open;
mod output;
mod peers;
mod pull;
mod relay;
mod service;
mod settings;
mod status;
mod top;
mod uninstall;
mod up;
mod validator;
mod weights;

use args::{Args, BenchCommand, Command, ModelCommand};
use clap::Parser;
use error::Error;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args = Args::parse();
    log::start(args.command.is_kept());
    match run(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}\n\nhint: {}", error.hint());
            ExitCode::from(error.exit_code())
        }
    }
}

fn run(args: Args) -> Result<(), Error> {
    match args.command {
        Command::Demo(args) => runtime()?.block_on(demo::run(args)),
        Command::Up(args) => runtime()?.block_on(up::run(args)),
        Command::Pull(args) => runtime()?.block_on(pull::run(args)),
        Command::Invite(args) => invite::run(&args),
        Command::Relay(args) => runtime()?.block_on(relay::run(args)),
        Command::Doctor(args) => runtime()?.block_on(doctor::run(args)),
        Command::Chat(args) => chat::run(&args),
        Command::Status(args) => status::run(&args),
        Command::Pause(args) => machine::pause(&args),
        Command::Resume(args) => machine::resume(&args),
        Command::Finish(args) => machine::finish(&args),
        Command::Limits(args) => machine::limits(&args),
        Command::Peers(args) => peers::run(&args),
        Command::Members(args) => members::run(&args),
        Command::Remove(args) => members::remove(&args),
        Command::Diagnostics(args) => diagnostics::run(&args),
        Command::Keys(command) => keys::run(&command),
        Command::Route(args) => peers::route(&args),
        Command::Models(args) => models::run(&args),
        Command::Model(ModelCommand::Inspect(args)) => inspect::run(&args),
        Command::Model(ModelCommand::List(args)) => pull::list(&args),
        Command::Model(ModelCommand::Remove(args)) => pull::remove(&args),
        Command::Top(args) => top::run(&args),
        Command::Logs(args) => log::logs(&args),
        Command::Config(command) => config::run(command),
        Command::Service(command) => service::run(&command),
        Command::Uninstall(args) => uninstall::run(&args),
        Command::Completions(args) => generate::completions(&args),
        Command::Manual(args) => generate::manual(&args),
        Command::Validator(args) => runtime()?.block_on(validator::run(args)),
        Command::Bench(BenchCommand::Model(args)) => bench::run(&args),
        Command::Bench(BenchCommand::Ledger(args)) => runtime()?.block_on(ledger_bench::run(args)),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.map_err(|source| Error::System { what: "starting worker threads".into(), source })
}
