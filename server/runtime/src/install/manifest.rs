//! The list of a component's files, by which a later start sees that it is whole.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::error::{IoContext, RuntimeError};
use crate::unpack::share_file;

/// The manifest's file name.
const MANIFEST: &str = "MANIFEST";

/// Lists every file below `folder` with its size, as the last thing written there.
pub(super) fn write(folder: &Path) -> Result<(), RuntimeError> {
    let mut files = Vec::new();
    collect(folder, folder, &mut files)?;
    files.sort();
    let mut text = String::new();
    for (path, size) in files {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{size} {path}");
    }
    let path = folder.join(MANIFEST);
    fs::write(&path, text).on("write", &path)?;
    share_file(&path)
}

/// Whether every file of the manifest is there with its size.
pub(super) fn is_intact(folder: &Path) -> bool {
    let Ok(text) = fs::read_to_string(folder.join(MANIFEST)) else { return false };
    !text.is_empty()
        && text.lines().all(|line| {
            line.split_once(' ').is_some_and(|(size, path)| {
                fs::metadata(folder.join(path))
                    .is_ok_and(|metadata| size.parse() == Ok(metadata.len()))
            })
        })
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, u64)>) -> Result<(), RuntimeError> {
    for entry in fs::read_dir(folder).on("read", folder)? {
        let entry = entry.on("read", folder)?;
        let path = entry.path();
        let metadata = entry.metadata().on("look at", &path)?;
        if metadata.is_dir() {
            collect(root, &path, files)?;
        } else if let Ok(relative) = path.strip_prefix(root) {
            files.push((relative.to_string_lossy().into_owned(), metadata.len()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_or_shortened_file_shows() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("sub dir/file");
        fs::create_dir(dir.path().join("sub dir")).unwrap();
        fs::write(&file, "whole").unwrap();
        assert!(!is_intact(dir.path()), "no manifest yet");
        write(dir.path()).unwrap();
        assert!(is_intact(dir.path()));
        fs::write(&file, "").unwrap();
        assert!(!is_intact(dir.path()), "a shortened file");
        fs::remove_file(&file).unwrap();
        assert!(!is_intact(dir.path()), "a missing file");
    }
}
