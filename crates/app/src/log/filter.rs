use std::{fmt, str::FromStr};

use tracing_subscriber::filter::Targets;

/// Which messages are logged: a level, or levels for parts of the program.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct LogFilter {
    text: String,
    targets: Targets,
}

/// The levels by which messages are chosen, the most silent first.
const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl LogFilter {
    pub(super) fn targets(&self) -> &Targets {
        &self.targets
    }
}

impl Default for LogFilter {
    fn default() -> Self {
        Self { text: "info".into(), targets: Targets::new().with_default(tracing::Level::INFO) }
    }
}

impl FromStr for LogFilter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let advice = format!("write one of {}, or a filter such as `info,sockeye_engine=debug`", LEVELS.join(", "));
        for directive in text.split(',') {
            let level = directive.rsplit('=').next().unwrap_or_default().trim();
            if !LEVELS.iter().any(|known| known.eq_ignore_ascii_case(level)) {
                return Err(format!("there is no level `{level}`; {advice}"));
            }
        }
        let targets = text.parse().map_err(|error| format!("`{text}` is not a filter: {error}; {advice}"))?;
        Ok(Self { text: text.into(), targets })
    }
}

impl fmt::Display for LogFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_level_is_refused_and_the_levels_are_named() {
        for valid in ["debug", "INFO", "off", "info,sockeye_engine=debug", "sockeye=warn"] {
            assert!(valid.parse::<LogFilter>().is_ok(), "{valid}");
        }
        for wrong in ["loud", "", "info,", "sockeye=loud", "sockeye", "info,sockeye_engine", "a=b=info"] {
            let error = wrong.parse::<LogFilter>().unwrap_err();
            assert!(LEVELS.iter().all(|level| error.contains(level)), "{wrong}: {error}");
        }
        assert!("loud".parse::<LogFilter>().unwrap_err().contains("`loud`"));
        assert_eq!("info".parse(), Ok(LogFilter::default()));
    }
}
