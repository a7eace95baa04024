//! `cargo xtask package`: what people install, in `target/package`: a Debian package and an archive, both around one binary that needs
//! no library of the system, so that they run on any Linux of this architecture.
//!
//! Installing starts nothing: a machine is lent by its owner's word only. The package brings the unit of the machine's service, disabled.
//! Files carry the time of the last commit, so that the same sources give the same packages.

use std::env::consts::ARCH;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::shell;

/// Where packages are made.
const FOLDER: &str = "target/package";
/// Each shell, and where Debian has its completions.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/skep"),
    ("zsh", "usr/share/zsh/vendor-completions/_skep"),
    ("fish", "usr/share/fish/vendor_completions.d/skep.fish"),
];

/// What the binary says of the service that starts it where the package puts it.
const PRINT_UNIT: &str = "service install --system --print --program /usr/bin/skep";

/// What was made.
pub struct Packages {
    pub deb: PathBuf,
    pub archive: PathBuf,
}

/// Builds all of them.
pub fn build(root: &Path) -> Result<Packages, String> {
    let binary = static_binary(root)?;
    let folder = root.join(FOLDER);
    let staged = folder.join("root");
    if folder.exists() {
        io("removing", &folder, fs::remove_dir_all(&folder))?;
    }
    stage(root, &binary, &staged)?;
    let time = shell::stdout(&mut shell::command("git", "log -1 --format=%ct", root))?;
    let made = Packages { deb: deb(root, &staged, &folder, &time)?, archive: archive(&staged, &folder, &time)? };
    for file in [&made.deb, &made.archive] {
        let bytes = fs::metadata(file).map_or(0, |metadata| metadata.len());
        println!("{}: {:.1} MB", file.display(), bytes as f64 / 1e6);
    }
    Ok(made)
}

/// The binary with the C library in it.
fn static_binary(root: &Path) -> Result<PathBuf, String> {
    // With a target that is named, what runs while building keeps the system's library.
    let target = format!("{ARCH}-unknown-linux-gnu");
    let mut command = shell::cargo("build --release --locked --package skep --target", root);
    command.arg(&target).env("RUSTFLAGS", "-C target-feature=+crt-static");
    shell::run(&mut command)?;
    Ok(root.join("target").join(target).join("release/skep"))
}

/// Lays out what the package holds.
fn stage(root: &Path, binary: &Path, staged: &Path) -> Result<(), String> {
    let place = |from: &Path, to: &str, mode: u32| {
        let to = staged.join(to);
        io("creating", &to, fs::create_dir_all(to.parent().unwrap_or(staged)))?;
        io("writing", &to, fs::copy(from, &to))?;
        io("writing", &to, fs::set_permissions(&to, fs::Permissions::from_mode(mode)))
    };
    place(binary, "usr/bin/skep", 0o755)?;
    for document in ["README.md", "LICENSE-MIT", "LICENSE-APACHE"] {
        place(&root.join(document), &format!("usr/share/doc/skep/{document}"), 0o644)?;
    }
    let written = |to: &str, text: String| {
        let to = staged.join(to);
        io("creating", &to, fs::create_dir_all(to.parent().unwrap_or(staged)))?;
        io("writing", &to, fs::write(&to, text))
    };
    let skep = staged.join("usr/bin/skep");
    for (shell, file) in COMPLETIONS {
        written(file, shell::stdout(&mut shell::command(&skep, &format!("completions {shell}"), root))?)?;
    }
    let unit = shell::stdout(&mut shell::command(&skep, PRINT_UNIT, root))?;
    written("usr/lib/systemd/system/skep.service", unit)?;
    let pages = staged.join("usr/share/man/man1");
    shell::run(shell::command(&skep, "manual", root).arg(&pages))?;
    shell::run(shell::command("gzip", "-n9r", root).arg(pages))
}

fn deb(root: &Path, staged: &Path, folder: &Path, time: &str) -> Result<PathBuf, String> {
    let files = root.join("packaging/debian");
    let version = env!("CARGO_PKG_VERSION");
    let kilobytes = shell::stdout(&mut shell::command("du", "-sk --apparent-size .", staged))?;
    let control = io("reading", &files, fs::read_to_string(files.join("control.in")))?
        .replace("{version}", version)
        .replace("{architecture}", &architecture()?)
        .replace("{kilobytes}", kilobytes.split_whitespace().next().unwrap_or("0"))
        .replace("{repository}", env!("CARGO_PKG_REPOSITORY"));
    let scripts = staged.join("DEBIAN");
    io("creating", &scripts, fs::create_dir_all(&scripts))?;
    io("writing", &scripts, fs::write(scripts.join("control"), control))?;
    for script in ["prerm", "postrm"] {
        let to = scripts.join(script);
        io("writing", &to, fs::copy(files.join(script), &to))?;
        io("writing", &to, fs::set_permissions(&to, fs::Permissions::from_mode(0o755)))?;
    }
    let file = folder.join(format!("skep_{version}_{}.deb", architecture()?));
    let mut build = shell::command("dpkg-deb", "--root-owner-group -Zxz --build", root);
    let built = shell::run(build.arg(staged).arg(&file).env("SOURCE_DATE_EPOCH", time));
    io("removing", &scripts, fs::remove_dir_all(&scripts))?;
    built.map(|()| file)
}

/// The same files in one folder, for a system without Debian's packages.
fn archive(staged: &Path, folder: &Path, time: &str) -> Result<PathBuf, String> {
    let name = format!("skep-{}-{}-linux", env!("CARGO_PKG_VERSION"), ARCH);
    let file = folder.join(format!("{name}.tar.gz"));
    let mut tar = shell::command("tar", "--sort=name --owner=0 --group=0 --numeric-owner", staged);
    tar.arg("--use-compress-program=gzip -n9").arg("-cf").arg(&file).args([
        format!("--mtime=@{time}"),
        format!("--transform=s,^usr,{name},"),
        "usr".to_owned(),
    ]);
    shell::run(&mut tar)?;
    Ok(file)
}

/// The architecture by Debian's name.
fn architecture() -> Result<String, String> {
    match ARCH {
        "x86_64" => Ok("amd64".to_owned()),
        "aarch64" => Ok("arm64".to_owned()),
        other => Err(format!("there is no name of Debian's here for {other}")),
    }
}

fn io<T>(what: &str, path: &Path, result: std::io::Result<T>) -> Result<T, String> {
    result.map_err(|error| format!("{what} {}: {error}", path.display()))
}

/// Installs the package in a root of its own, runs it there, and takes it away again.
pub fn check(root: &Path, packages: &Packages) -> Result<(), String> {
    let system = root.join(FOLDER).join("system");
    for folder in ["var/lib/dpkg/info", "var/lib/dpkg/updates", "home"] {
        io("creating", &system, fs::create_dir_all(system.join(folder)))?;
    }
    io("writing", &system, fs::write(system.join("var/lib/dpkg/status"), ""))?;
    let dpkg = |arguments: &str| {
        let mut dpkg = shell::command("dpkg", "--log=/dev/null --force-not-root --force-script-chrootless", root);
        dpkg.arg(format!("--root={}", system.display())).args(arguments.split_whitespace());
        dpkg
    };
    shell::run(dpkg("--install").arg(&packages.deb))?;
    let skep = system.join("usr/bin/skep");
    says_its_version(&mut Command::new(&skep))?;
    // Nothing of this machine is in that root: what runs there needs no library.
    if shell::stdout(&mut shell::command("id", "-u", root))? == "0" {
        says_its_version(Command::new("chroot").arg(&system).arg("/usr/bin/skep"))?;
    }
    let unit = system.join("usr/lib/systemd/system/skep.service");
    let unit = io("reading", &unit, fs::read_to_string(&unit))?;
    if !unit.contains("\nExecStart=/usr/bin/skep up\n") {
        return Err(format!("the unit does not start what is installed:\n{unit}"));
    }
    shell::run(&mut dpkg("--purge skep"))?;
    let left: Vec<_> = ["usr/bin/skep", "usr/lib/systemd", "usr/share/doc/skep", "usr/share/man/man1"]
        .into_iter()
        .filter(|path| system.join(path).exists())
        .collect();
    if left.is_empty() { Ok(()) } else { Err(format!("a purge leaves {}", left.join(", "))) }
}

fn says_its_version(command: &mut Command) -> Result<(), String> {
    let expected = format!("skep {}", env!("CARGO_PKG_VERSION"));
    let said = shell::stdout(command.arg("--version"))?;
    if said == expected { Ok(()) } else { Err(format!("it calls itself {said}, not {expected}")) }
}
