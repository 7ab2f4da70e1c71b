use super::{DEFINITIONS, Definition};

/// A TOML file with every setting, what it is for, and its default.
pub(crate) fn sample() -> String {
    let mut text = String::from(
        "# The settings of sockeye, with their defaults. Each may also be given by an environment variable, such as\n\
         # SOCKEYE_LISTEN, which wins over this file, or by an option, such as --listen, which wins over both.\n\
         # Times are written with their unit (ms, s, m, h, d); sizes may have one (KB, KiB, MB, MiB, GB, GiB).\n",
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
    fn the_sample_says_the_defaults() {
        let table: toml::Table = sample().parse().unwrap();
        assert_eq!(table.len(), DEFINITIONS.len());
        // Every setting starts out different from its default as far as its type allows, so that the sample has to set it.
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
