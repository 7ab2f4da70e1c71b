//! The files of `web/`, embedded into the program.
use std::sync::OnceLock;

use sha1::{Digest as _, Sha1};

/// A file that the program serves.
#[derive(Debug)]
pub(super) struct File {
    /// Its path below `web/`.
    pub(super) name: &'static str,
    pub(super) content: &'static [u8],
    etag: OnceLock<String>,
}

impl File {
    const fn new(name: &'static str, content: &'static [u8]) -> Self {
        Self { name, content, etag: OnceLock::new() }
    }

    /// The entity tag, which changes with the content. It is computed for the first request.
    pub(super) fn etag(&self) -> &str {
        self.etag.get_or_init(|| {
            let digits: String = Sha1::digest(self.content).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("\"{digits}\"")
        })
    }
}

/// The file with a name such as `chat/chat.js`.
pub(super) fn find(name: &str) -> Option<&'static File> {
    FILES.iter().find(|file| file.name == name)
}

macro_rules! files {
    ($($name:literal)*) => {
        [$(File::new($name, include_bytes!(concat!("../../../../web/", $name)))),*]
    };
}

static FILES: [File; 20] = files! {
    "chat/chat.css"
    "chat/chat.js"
    "chat/conversations.js"
    "chat/icon.svg"
    "chat/index.html"
    "chat/session.js"
    "chat/theme.css"
    "monitor/chart.js"
    "monitor/index.html"
    "monitor/monitor.css"
    "monitor/monitor.js"
    "vendor/LICENSE"
    "vendor/socket.io.esm.min.js"
    "vendor/socket.io.esm.min.js.map"
    "vendor/socket.io.js"
    "vendor/socket.io.js.map"
    "vendor/socket.io.min.js"
    "vendor/socket.io.min.js.map"
    "vendor/socket.io.msgpack.min.js"
    "vendor/socket.io.msgpack.min.js.map"
};

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn every_file_of_the_pages_is_embedded() {
        let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web");
        for folder in ["chat", "monitor", "vendor"] {
            for entry in fs::read_dir(web.join(folder)).unwrap() {
                let name = format!("{folder}/{}", entry.unwrap().file_name().into_string().unwrap());
                assert_eq!(find(&name).is_some(), name != "vendor/README.md", "{name}");
            }
        }
    }

    #[test]
    fn files_with_other_contents_have_other_tags() {
        let mut tags: Vec<_> = FILES.iter().map(File::etag).collect();
        tags.sort_unstable();
        tags.dedup();
        assert_eq!(tags.len(), FILES.len());
    }
}
