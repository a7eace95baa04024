//! `skep-sim --nodes N --seed S [--json]`: runs a simulation and says what came out.

use skep_sim::{Config, run};
use std::process::ExitCode;

const USAGE: &str =
    "usage: skep-sim [--nodes N] [--seed S] [--settle SECONDS] [--measure SECONDS] [--routes N] [--life SECONDS]
                [--loss PERMILLE] [--liars PERCENT] [--partition FROM..TO]
                [--rebalance SECONDS] [--json]";

fn main() -> ExitCode {
    match parse(std::env::args().skip(1)) {
        Ok((config, json)) => {
            let report = run(&config);
            if json {
                println!("{}", report.json(&config));
            } else {
                println!("{report:#?}");
            }
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("skep-sim: {error}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn parse(mut args: impl Iterator<Item = String>) -> Result<(Config, bool), String> {
    let mut config = Config { rebalance_s: 600, ..Config::new(1000, 1) };
    let mut json = false;
    while let Some(option) = args.next() {
        if option == "--json" {
            json = true;
            continue;
        }
        let value = args.next().ok_or_else(|| format!("{option} needs a value"))?;
        match option.as_str() {
            "--nodes" => config.nodes = number::<u32>(&value)?.max(1),
            "--seed" => config.seed = number(&value)?,
            "--settle" => config.settle_s = number(&value)?,
            "--measure" => config.measure_s = number(&value)?,
            "--routes" => config.routes = number(&value)?,
            "--life" => config.life_s = number(&value)?,
            "--loss" => config.loss_permille = number::<u32>(&value)?.min(900),
            "--liars" => config.liars_percent = number(&value)?,
            "--rebalance" => config.rebalance_s = number(&value)?,
            "--partition" => {
                let (from, to) =
                    value.split_once("..").ok_or_else(|| format!("`{value}` is not of the form 60..90"))?;
                config.partition_s = Some((number(from)?, number(to)?));
            }
            _ => return Err(format!("unknown option {option}")),
        }
    }
    Ok((config, json))
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not a number"))
}
