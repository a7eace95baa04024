//! Compiles the crate again when the page was built again: files that are new are in no dependency list yet.

fn main() {
    println!("cargo:rerun-if-changed=page/dist");
}
