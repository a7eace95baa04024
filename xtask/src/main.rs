//! The chores of the repository: `cargo xtask rules`, `cargo xtask test`, `cargo xtask page`.
//!
//! Nothing here ships. It uses the standard library and what the workspace has already, so that it builds in seconds.

mod instructions;
mod package;
mod page;
mod rules;
mod scan;
mod shell;
mod test;
mod tree;

use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask COMMAND

  rules                 check the house rules over the whole tree
  test                  set up what the tests need and run all of them
  test --quick          formatting, lints, rules and the workspace's tests only
  test --list           name the steps
  test STEP...          run these steps only
  page                  rebuild the embedded page (needs Node.js)
  package               make what people install, in target/package
  instructions          count the kernels' instructions with valgrind and compare with the committed counts
  instructions --bless  commit to today's counts";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match words.as_slice() {
        ["rules"] => rules::command(),
        ["test", options @ ..] => test::command(options),
        ["page"] => page::rebuild(),
        ["package"] => package::build(&tree::root()).map(drop),
        ["instructions"] => instructions::command(false),
        ["instructions", "--bless"] => instructions::command(true),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => Err(format!("unknown command: {}\n\n{USAGE}", words.join(" "))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("\nerror: {message}");
            ExitCode::FAILURE
        }
    }
}
