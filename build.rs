//! Has cargo look at the folders that are embedded: a file that is new in them is in no source that it watches.

fn main() {
    for folder in ["static", "packages/client", "migrations"] {
        println!("cargo::rerun-if-changed={folder}");
    }
}
