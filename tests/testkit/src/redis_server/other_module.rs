//! A module beside the one under test, which runs commands for others.

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use tempfile::TempDir;

/// Its library, compiled once with the C compiler that Rust links with. Its commands are explained in its source.
#[track_caller]
pub fn caller() -> PathBuf {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        let folder = tempfile::tempdir().expect("temporary folder");
        let source = folder.path().join("caller.c");
        std::fs::write(&source, include_str!("caller.c")).expect("write");
        let library = folder.path().join("caller.so");
        let compiled = Command::new("cc")
            .args(["-shared", "-fPIC", "-O1", "-o"])
            .args([&library, &source])
            .output()
            .expect("cc");
        assert!(compiled.status.success(), "{}", String::from_utf8_lossy(&compiled.stderr));
        folder
    });
    folder.path().join("caller.so")
}
