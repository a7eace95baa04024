//! Compiles the crate again when the page was built again: files that are new are in no dependency list yet.

use std::io::{self, Write};

fn main() -> io::Result<()> {
    writeln!(io::stdout(), "cargo:rerun-if-changed=page/dist")
}
