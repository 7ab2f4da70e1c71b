use super::{DEFINITIONS, Definition};

/// A TOML file with every setting, its description and its default.
pub(crate) fn sample() -> String {
    let mut text = String::from(
        "# The settings of sockeye, with their defaults. An environment variable, such as SOCKEYE_LISTEN, overrides this file;\n\
         # an option, such as --listen, overrides both.\n\
         # A time needs a unit (ms, s, m, h, d); a size may have one (KB, KiB, MB, MiB, GB, GiB).\n",
    );
    for Definition { name, docs, default, .. } in DEFINITIONS {
        text.push('\n');
        for line in *docs {
            text.push_str(&format!("#{line}\n"));
        }
        text.push_str(&format!("{name} = {}\n", default()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{Raw, Settings};

    #[test]
    fn the_sample_holds_the_defaults() {
        let table: toml::Table = sample().parse().unwrap();
        assert_eq!(table.len(), DEFINITIONS.len());
        // Settings of every type start with another value than their default, so that the sample has to set them.
        let mut settings = Settings::default();
        for name in ["ping_interval", "drain_limit", "connect_timeout"] {
            settings.set(name, &Raw::One("1ms".into())).unwrap().unwrap();
        }
        for name in ["max_payload", "outbox_bytes", "max_rooms"] {
            settings.set(name, &Raw::One("1".into())).unwrap().unwrap();
        }
        settings.set("listen", &Raw::Many(vec!["localhost:1".into()])).unwrap().unwrap();
        settings.set("log", &Raw::One("trace".into())).unwrap().unwrap();
        for (name, value) in &table {
            let raw = super::super::load::raw(value).unwrap();
            settings.set(name, &raw).unwrap().unwrap();
        }
        assert_eq!(settings, Settings::default());
    }

    #[test]
    fn the_committed_sample_is_the_printed_one() {
        assert_eq!(include_str!("../../sockeye.toml"), sample(), "run `cargo run -- config > crates/app/sockeye.toml`");
    }
}
