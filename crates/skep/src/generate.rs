//! `skep completions` and `skep manual`: what shells and `man` want to know, made from the same table as the help.

use crate::args::Args;
use crate::error::Error;
use crate::output;
use clap::{Args as ClapArgs, CommandFactory};
use clap_complete::Shell;
use std::path::PathBuf;

#[derive(Debug, ClapArgs)]
pub(crate) struct CompletionsArgs {
    /// The shell
    pub(crate) shell: Shell,
}

#[derive(Debug, ClapArgs)]
pub(crate) struct ManualArgs {
    /// Folder to write skep.1, skep-up.1 and the others into; absent, print the page of `skep`
    #[arg(value_name = "FOLDER")]
    pub(crate) folder: Option<PathBuf>,
}

/// Prints the completions of a shell.
pub(crate) fn completions(args: &CompletionsArgs) -> Result<(), Error> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "skep", &mut script);
    output::write(&String::from_utf8_lossy(&script))
}

/// Prints the page of `skep`, or writes all pages.
pub(crate) fn manual(args: &ManualArgs) -> Result<(), Error> {
    let Some(folder) = &args.folder else {
        let mut page = Vec::new();
        let rendered = clap_mangen::Man::new(Args::command()).render(&mut page);
        rendered.map_err(|source| Error::System { what: "writing the page".into(), source })?;
        return output::write(&String::from_utf8_lossy(&page));
    };
    let written = std::fs::create_dir_all(folder).and_then(|()| clap_mangen::generate_to(Args::command(), folder));
    written.map_err(|source| Error::System { what: format!("writing {}", folder.display()), source })
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test")]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page() {
        let folder = tempfile::tempdir().unwrap();
        manual(&ManualArgs { folder: Some(folder.path().join("man1")) }).unwrap();
        let read = |name: &str| std::fs::read_to_string(folder.path().join("man1").join(name)).unwrap();
        assert!(read("skep.1").contains("skep\\-up(1)"), "the first page leads to the others");
        let up = read("skep-up.1");
        assert!(up.contains("\\-\\-use\\-only") && up.contains(".TH"), "{up}");
        assert!(!up.contains("end\\-with\\-stdin"), "what is hidden from the help is hidden here");
        assert!(read("skep-config-set.1").contains("skep config set"), "{}", read("skep-config-set.1"));
    }

    #[test]
    fn each_shell_completes_commands_and_settings() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish, Shell::PowerShell, Shell::Elvish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Args::command(), "skep", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("invite") && script.contains("cpu-percent"), "{shell}");
        }
    }
}
