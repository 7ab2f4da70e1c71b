//! Every page of the guide is compiled with the documentation tests, and its links lead somewhere.
use std::{fs, path::Path};

/// The languages that a test compiles or runs: Rust by the documentation tests, Python by `e2e/guide.test.mjs`. A manifest
/// cannot run alone.
const TESTED: [&str; 5] = ["rust", "rust,no_run", "python", "toml", ""];

fn pages() -> Vec<(String, String)> {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide");
    let mut pages: Vec<_> = fs::read_dir(&guide)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".md"))
        .map(|name| (name.clone(), fs::read_to_string(guide.join(&name)).unwrap()))
        .collect();
    pages.sort();
    assert!(pages.len() > 10, "{pages:?}");
    pages
}

#[test]
fn every_page_is_compiled_and_listed() {
    let (library, contents) = (include_str!("../lib.rs"), include_str!("../../docs/guide/README.md"));
    for (name, text) in pages() {
        assert!(library.contains(&format!("docs/guide/{name}\"")), "{name} is not among the documentation tests");
        assert!(
            name == "README.md" || contents.contains(&format!("({name})")),
            "{name} is not in the table of contents"
        );
        for language in text.lines().filter_map(|line| line.strip_prefix("```")) {
            assert!(TESTED.contains(&language), "{name}: no test reads a block of `{language}`");
        }
    }
}

#[test]
fn links_lead_to_files_and_headings() {
    let guide = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/guide");
    for (name, text) in pages() {
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let linked =
                fs::read_to_string(guide.join(file)).unwrap_or_else(|error| panic!("{name}: {target}: {error}"));
            let anchors = linked.lines().filter_map(|line| line.strip_prefix("## "));
            // As GitHub names the anchor of a heading: without punctuation.
            let anchor_of = |text: &str| {
                text.to_lowercase().replace(|c: char| c.is_ascii_punctuation() && c != '-', "").replace(' ', "-")
            };
            let found = heading.is_empty() || anchors.map(anchor_of).any(|anchor| anchor == heading);
            assert!(found, "{name}: {target}: no such heading");
        }
    }
}
