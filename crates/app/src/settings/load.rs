//! Loads the settings: options override environment variables, these override the file, and this the defaults.
use std::{
    ffi::OsString,
    fmt, io,
    path::{Path, PathBuf},
};

use super::{DEFINITIONS, Raw, Settings};

/// Where a setting was given, as errors name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Place {
    /// The TOML file.
    File(PathBuf),
    /// An environment variable.
    Environment,
    /// An option.
    CommandLine,
}

/// Why the settings could not be loaded.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("cannot read the settings file {}: {source}; check the path in --config or SOCKEYE_CONFIG", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the settings file {} is not TOML: {source}\n`sockeye config` prints a sample with every setting", path.display())]
    Syntax { path: PathBuf, source: toml::de::Error },
    #[error("{}: there is no setting `{name}`{}", written(place, name), advice(name, place))]
    Unknown { place: Place, name: String },
    #[error("{}: {problem}", written(place, name))]
    Value { place: Place, name: String, problem: String },
    #[error("the environment variable {0} is not UTF-8 text")]
    NotText(String),
    #[error("the settings are not valid: {0}")]
    Check(String),
}

impl Settings {
    /// Loads the settings: from the file that `config` or `SOCKEYE_CONFIG` names, then the environment, then the options.
    ///
    /// # Errors
    /// If the file cannot be read, a name is unknown, or a value is not of its setting's form.
    pub(crate) fn load(
        config: Option<PathBuf>,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
        options: &[(&'static str, Raw)],
    ) -> Result<Self, SettingsError> {
        let mut variables = variables(environment)?;
        let named = variables.iter().position(|(name, _)| name == "config").map(|index| variables.swap_remove(index).1);
        let mut settings = Self::default();
        if let Some(path) = config.or(named.map(PathBuf::from)) {
            settings.read(path)?;
        }
        variables.sort();
        for (name, value) in variables {
            settings.apply(Place::Environment, &name, &Raw::One(value))?;
        }
        for (name, raw) in options {
            settings.apply(Place::CommandLine, name, raw)?;
        }
        settings.check().map_err(SettingsError::Check)?;
        Ok(settings)
    }

    fn read(&mut self, path: PathBuf) -> Result<(), SettingsError> {
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(SettingsError::Read { path, source }),
        };
        self.apply_toml(&text, &path)
    }

    fn apply_toml(&mut self, text: &str, path: &Path) -> Result<(), SettingsError> {
        let table: toml::Table =
            text.parse().map_err(|source| SettingsError::Syntax { path: path.to_owned(), source })?;
        for (name, value) in &with_bus_lists(table) {
            let place = || Place::File(path.to_owned());
            if !is_known(name) {
                return Err(SettingsError::Unknown { place: place(), name: name.clone() });
            }
            let raw =
                raw(value).map_err(|problem| SettingsError::Value { place: place(), name: name.clone(), problem })?;
            self.apply(place(), name, &raw)?;
        }
        Ok(())
    }

    fn apply(&mut self, place: Place, name: &str, raw: &Raw) -> Result<(), SettingsError> {
        match self.set(name, raw) {
            Some(Ok(())) => Ok(()),
            Some(Err(problem)) => Err(SettingsError::Value { place, name: name.into(), problem }),
            None => Err(SettingsError::Unknown { place, name: name.into() }),
        }
    }
}

/// Writes tables `[[bus]]` as the lists `bus`, `bus_format` and `bus_channel`. What is wrong in them stays as it is, so that
/// the error names it.
fn with_bus_lists(mut table: toml::Table) -> toml::Table {
    let Some(toml::Value::Array(entries)) = table.get("bus") else { return table };
    let is_bus = |entry: &toml::Value| {
        let known =
            |(key, value): (&String, &toml::Value)| ["url", "format", "channel"].contains(&&**key) && value.is_str();
        entry.as_table().is_some_and(|entry| entry.contains_key("url") && entry.iter().all(known))
    };
    if entries.is_empty() || !entries.iter().all(is_bus) {
        return table;
    }
    let lists = [("bus", "url"), ("bus_format", "format"), ("bus_channel", "channel")].map(|(list, key)| {
        let items = entries.iter().map(|entry| entry.get(key).cloned().unwrap_or_else(|| "-".into()));
        (list.to_owned(), toml::Value::Array(items.collect()))
    });
    table.extend(lists);
    table
}

/// A TOML value as a setting takes it.
///
/// # Errors
/// If no setting takes values of this type.
pub(super) fn raw(value: &toml::Value) -> Result<Raw, String> {
    let text = |value: &toml::Value| match value {
        toml::Value::String(text) => Ok(text.clone()),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Boolean(truth) => Ok(truth.to_string()),
        other => {
            Err(format!("the value must be text, a number, true, false or a list of text, not a {}", other.type_str()))
        }
    };
    match value {
        toml::Value::Array(items) => items.iter().map(text).collect::<Result<_, _>>().map(Raw::Many),
        value => text(value).map(Raw::One),
    }
}

const PREFIX: &str = "SOCKEYE_";

/// The variables with the program's prefix, by the names of their settings.
fn variables(
    environment: impl IntoIterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, SettingsError> {
    environment
        .into_iter()
        .filter_map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            let setting = name.strip_prefix(PREFIX)?.to_ascii_lowercase();
            Some(value.into_string().map(|value| (setting, value)).map_err(|_| SettingsError::NotText(name)))
        })
        .collect()
}

fn is_known(name: &str) -> bool {
    DEFINITIONS.iter().any(|definition| definition.name == name)
}

/// The name of a setting as it is written at this place.
fn written(place: &Place, name: &str) -> impl fmt::Display {
    match place {
        Place::File(path) => format!("{}, `{name}`", path.display()),
        Place::Environment => format!("environment variable {PREFIX}{}", name.to_ascii_uppercase()),
        Place::CommandLine => format!("option --{}", name.replace('_', "-")),
    }
}

/// Suggests the setting that was probably meant.
fn advice(name: &str, place: &Place) -> impl fmt::Display {
    let distance = |known: &str| strsim::damerau_levenshtein(known, name);
    let close = |known: &&str| distance(known) <= 2.max(name.len() / 3);
    let meant = DEFINITIONS.iter().map(|definition| definition.name).filter(close).min_by_key(|known| distance(known));
    match (meant, place) {
        (Some(meant), Place::Environment) => format!("; did you mean {PREFIX}{}?", meant.to_ascii_uppercase()),
        (Some(meant), _) => format!("; did you mean `{meant}`?"),
        (None, _) => "; `sockeye config` prints every setting".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn environment(pairs: &[(&str, &str)]) -> Vec<(OsString, OsString)> {
        pairs.iter().map(|(name, value)| (OsString::from(name), OsString::from(value))).collect()
    }

    fn file(text: &str) -> Result<Settings, SettingsError> {
        let mut settings = Settings::default();
        settings.apply_toml(text, Path::new("sockeye.toml")).map(|()| settings)
    }

    #[test]
    fn options_override_the_environment_and_that_the_file_and_that_the_defaults() {
        let mut settings = file("ping_interval = \"1s\"\nping_timeout = \"1s\"\nmax_rooms = 7").unwrap();
        assert_eq!(settings.max_rooms, 7);
        assert_eq!(settings.drain_limit, Duration::from_secs(10));
        for (name, value) in [("ping_interval", "2s"), ("ping_timeout", "2s")] {
            settings.apply(Place::Environment, name, &Raw::One(value.into())).unwrap();
        }
        settings.apply(Place::CommandLine, "ping_interval", &Raw::One("3s".into())).unwrap();
        assert_eq!(settings.ping_interval, Duration::from_secs(3));
        assert_eq!(settings.ping_timeout, Duration::from_secs(2));

        let variables = environment(&[("SOCKEYE_MAX_ROOMS", "5"), ("SOCKEYE_LOG", "debug"), ("HOME", "/")]);
        let options = [("max_rooms", Raw::One("6".into()))];
        let settings = Settings::load(None, variables, &options).unwrap();
        assert_eq!((settings.max_rooms, settings.log.to_string()), (6, "debug".into()));
    }

    #[test]
    fn an_unknown_name_is_an_error_with_a_suggestion() {
        let error = file("ping_intervall = \"1s\"").unwrap_err().to_string();
        assert!(error.contains("sockeye.toml") && error.contains("did you mean `ping_interval`?"), "{error}");
        let error = Settings::load(None, environment(&[("SOCKEYE_LISTN", "x")]), &[]).unwrap_err().to_string();
        assert!(error.contains("SOCKEYE_LISTN") && error.contains("did you mean SOCKEYE_LISTEN?"), "{error}");
        let error = file("[completely_else]").unwrap_err().to_string();
        assert!(error.contains("`sockeye config`"), "{error}");
    }

    #[test]
    fn a_wrong_value_names_its_place_and_what_was_expected() {
        let error = file("ping_interval = 25").unwrap_err().to_string();
        assert!(error.contains("`ping_interval`") && error.contains("25s"), "{error}");
        let error = file("max_rooms = true").unwrap_err().to_string();
        assert!(error.contains("`true` is not a number"), "{error}");
        let error = file("log_events = \"perhaps\"").unwrap_err().to_string();
        assert!(error.contains("neither `true` nor `false`"), "{error}");
        let error = file("max_rooms = 1.5").unwrap_err().to_string();
        assert!(error.contains("not a float"), "{error}");
        let error = Settings::load(None, environment(&[("SOCKEYE_LISTEN", ":1")]), &[]).unwrap_err().to_string();
        assert!(error.contains("SOCKEYE_LISTEN") && error.contains("127.0.0.1:8000"), "{error}");
        let options = [("log", Raw::One("loud".into()))];
        let error = Settings::load(None, environment(&[]), &options).unwrap_err().to_string();
        assert!(error.contains("option --log: there is no level `loud`; write one of off, error,"), "{error}");
        let options = [("monitor_interval", Raw::One("0s".into()))];
        let error = Settings::load(None, environment(&[]), &options).unwrap_err().to_string();
        assert!(error.contains("`monitor_interval` must be longer than 0"), "{error}");
    }

    #[test]
    fn the_option_and_the_variable_name_the_file() {
        let missing = |option: Option<&str>, variable: &[(&str, &str)]| {
            Settings::load(option.map(PathBuf::from), environment(variable), &[]).unwrap_err().to_string()
        };
        let variable = [("SOCKEYE_CONFIG", "/nonexistent/variable.toml")];
        let error = missing(None, &variable);
        assert!(error.contains("/nonexistent/variable.toml") && error.contains("--config"), "{error}");
        let error = missing(Some("/nonexistent/option.toml"), &variable);
        assert!(error.contains("/nonexistent/option.toml"), "{error}");
    }
}
