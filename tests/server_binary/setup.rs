//! `setup`: what it brings, and how it fails.

use crate::fixture::binary::{Ended, Home};
use std::path::Path;

/// What a failed setup left, other than the lock that marks the folder.
fn left(cache: &Path) -> Vec<String> {
    let Ok(entries) = std::fs::read_dir(cache) else { return Vec::new() };
    let names = entries.map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned());
    names.filter(|name| name != "install.lock").collect()
}

#[test]
fn setup_names_the_folders_and_downloads_nothing_twice() {
    let home = Home::new();
    // without Python: nothing can be fetched
    let ended = Ended::of(home.server(["setup"]).env("PATH", home.folder()));
    assert_eq!(ended.stderr, "", "no step was necessary");
    let said = ended.ok();
    let mut lines = said.lines();
    let cache = lines.next().and_then(|l| l.strip_prefix("Ready in ")).expect(&said);
    let cache = cache.trim_end_matches(':');
    for part in ["PostgreSQL", "ONNX Runtime", "Models"] {
        let line = lines.next().expect(&said).trim_start();
        let path = Path::new(line.strip_prefix(part).expect(&said).trim_start());
        assert!(path.starts_with(cache) && path.exists(), "{said}");
    }
    assert!(!home.data_dir().exists());
}

#[test]
fn what_is_brought_along_is_not_set_up() {
    let home = Home::new();
    let mut command = home.server(["setup", "--lexical-only"]);
    // nothing is wanted, so a cache that cannot be is no matter
    command
        .env("DATABASE_URL", "postgres://ada@localhost/switchy")
        .env("SWITCHY_CACHE_DIR", "/dev/null/x");
    let said = Ended::of(&mut command).ok();
    assert_eq!(said.matches("yours").count(), 3, "{said}");
}

#[test]
fn without_python_a_sentence_says_what_to_install_and_nothing_is_left() {
    let home = Home::new();
    let cache = home.folder().join("cache");
    for command in ["setup", "migrate"] {
        let mut command = home.server([command]);
        command.env("SWITCHY_CACHE_DIR", &cache).env("PATH", home.folder());
        let ended = Ended::of(&mut command);
        let sentence = ended.sentence();
        assert!(sentence.contains("'python3' was not found"), "{sentence}");
        assert!(sentence.contains("install Python"), "{sentence}");
        assert_eq!(left(&cache), [""; 0]);
    }
}

#[test]
fn a_cache_that_cannot_be_written_is_named() {
    let home = Home::new();
    let file = home.folder().join("file");
    std::fs::write(&file, "not a folder").expect("written");
    for cache in [file.clone(), file.join("below")] {
        let ended = Ended::of(home.server(["setup"]).env("SWITCHY_CACHE_DIR", &cache));
        let sentence = ended.sentence();
        assert!(sentence.contains(&*cache.to_string_lossy()), "{sentence}");
        assert!(sentence.contains("SWITCHY_CACHE_DIR"), "{sentence}");
    }
    assert_eq!(std::fs::read_to_string(&file).expect("the file"), "not a folder");
}

#[test]
fn a_data_folder_that_cannot_be_is_named() {
    let home = Home::new();
    let file = home.folder().join("file");
    std::fs::write(&file, "not a folder").expect("written");
    for data in [file.clone(), file.join("below")] {
        let ended = Ended::of(home.serve().env("SWITCHY_DATA_DIR", &data));
        let sentence = ended.sentence();
        assert!(sentence.contains(&*file.to_string_lossy()), "{sentence}");
        assert!(sentence.contains("SWITCHY_DATA_DIR"), "{sentence}");
    }
}
