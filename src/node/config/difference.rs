//! What differs between two configurations, by the names that the file gives to things.

use super::{Config, Provider, keys};
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash as _, Hasher as _};
use toml::de::{DeTable, DeValue};

/// Every setting of a file by its dotted name, as a number that changes when the setting does: a
/// secret need not be kept to be compared. Credentials are compared as they were read, since their
/// secrets may lie in other files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings(BTreeMap<String, u64>);

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Difference {
    /// Of those that a running node can change.
    pub changed: Vec<String>,
    /// Of those that it cannot.
    pub fixed: Vec<String>,
}

impl Settings {
    pub fn of(document: &DeTable<'_>) -> Self {
        let mut settings = BTreeMap::new();
        table(document, "", &mut settings);
        Self(settings)
    }

    fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    /// Takes over from another file what it says of the table `name`.
    pub fn take_over(&mut self, name: &str, from: &Self) {
        let of_it = |other: &str| {
            other.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        };
        self.0.retain(|other, _| !of_it(other));
        self.0.extend(
            from.0.iter().filter(|(other, _)| of_it(other)).map(|(name, value)| (name.clone(), *value)),
        );
    }

    /// Names of what is not the same in both. Of a table that only one has, its name alone.
    fn differing<'a>(&'a self, other: &'a Self) -> Vec<&'a str> {
        let names: BTreeSet<&str> = self.0.keys().chain(other.0.keys()).map(String::as_str).collect();
        let mut differing: Vec<&str> = Vec::new();
        for name in names {
            let below = |above: &&str| name.strip_prefix(*above).is_some_and(|rest| rest.starts_with('.'));
            if self.0.get(name) != other.0.get(name) && !differing.iter().any(below) {
                differing.push(name);
            }
        }
        differing
    }
}

impl Difference {
    pub fn between(before: &Config, after: &Config) -> Self {
        let names = before.settings.differing(&after.settings).into_iter().map(str::to_owned);
        let tls_appears = before.s3.tls.is_some() != after.s3.tls.is_some();
        let added: Vec<String> = after.added_to(before).map(|backend| setting_of(&backend.name)).collect();
        let fixed = |name: &String| match () {
            () if added.contains(name) && !before.settings.has(name) => false,
            () if is_fixed(name) || (tls_appears && name.starts_with("s3.tls")) => true,
            () => is_key_for_elsewhere(before, after, name),
        };
        let (mut fixed, mut changed): (Vec<_>, Vec<_>) = names.partition(fixed);
        fixed.extend(unnamed_embedded(before, after));
        let mut secrets = secret_files(before, after);
        secrets.retain(|name| !changed.contains(name));
        changed.extend(secrets);
        changed.extend(order(before, after));
        changed.extend(credentials(before, after));
        Self { changed, fixed }
    }
}

/// What the file calls a backend's table.
pub fn setting_of(backend: &str) -> String {
    format!("backends.{}", in_settings(backend))
}

/// Providers that both have, by what the file calls them.
fn providers<'a>(
    before: &'a Config,
    after: &'a Config,
) -> impl Iterator<Item = (String, &'a Provider, &'a Provider)> {
    after.backends.iter().filter_map(|backend| {
        let (was, is) = (before.provider(&backend.name)?, after.provider(&backend.name)?);
        Some((setting_of(&backend.name), was, is))
    })
}

/// The keys of a provider that lies elsewhere now are taken up with its place.
fn is_key_for_elsewhere(before: &Config, after: &Config, name: &str) -> bool {
    let key_of = |setting: &str| name.strip_prefix(setting).and_then(|rest| rest.strip_prefix('.'));
    providers(before, after).any(|(setting, was, is)| {
        !was.is_at_the_place_of(is) && key_of(&setting).is_some_and(|key| keys::SIGNING.contains(&key))
    })
}

/// Secrets of providers that changed in the files where they lie.
fn secret_files(before: &Config, after: &Config) -> Vec<String> {
    let renewed =
        |(_, was, is): &(String, &Provider, &Provider)| was.is_at_the_place_of(is) && !was.has_secret_of(is);
    let name = |(setting, ..): (String, &Provider, &Provider)| {
        let file = format!("{setting}.secret_access_key_file");
        if after.settings.has(&file) { file } else { format!("{setting}.secret_access_key") }
    };
    providers(before, after).filter(renewed).map(name).collect()
}

/// Without any backend in the file there is the embedded one; it is not there beside others that are.
fn unnamed_embedded(before: &Config, after: &Config) -> Option<String> {
    let unnamed = match before.embedded() {
        Some(backend) => !before.settings.has(&setting_of(&backend.name)),
        None => before.backends.is_empty(),
    };
    let gone = unnamed && !after.backends.is_empty() && after.embedded().is_none();
    gone.then(|| setting_of(store::EMBEDDED_NAME))
}

/// The order of the backends, which `pack` goes by.
fn order(before: &Config, after: &Config) -> Option<String> {
    let names = |config: &Config, other: &Config| -> Vec<String> {
        let common = config.backends.iter().filter(|backend| other.backend(&backend.name).is_some());
        common.map(|backend| backend.name.clone()).collect()
    };
    (names(before, after) != names(after, before)).then(|| "the order of backends".to_owned())
}

/// Credentials that are not the same in both.
fn credentials(before: &Config, after: &Config) -> BTreeSet<String> {
    let missing = |from: &Config, of: &Config| -> Vec<String> {
        let all = of.buckets.iter().flat_map(|bucket| bucket.credentials.iter().map(move |c| (bucket, c)));
        let same = |bucket: &str, c: &super::buckets::Credential| {
            let home = from.buckets.iter().find(|other| other.name.as_str() == bucket);
            home.is_some_and(|home| home.credentials.iter().any(|other| other.is_same_as(c)))
        };
        let changed = all.filter(|(bucket, c)| !same(bucket.name.as_str(), c));
        changed
            .map(|(bucket, c)| format!("buckets.{}.credentials.{}", bucket.name, c.access_key_id))
            .collect()
    };
    let mut names: BTreeSet<_> = missing(before, after).into_iter().collect();
    names.extend(missing(after, before));
    names
}

/// Whether a node must be started again before this setting has an effect.
fn is_fixed(name: &str) -> bool {
    let matches = |patterns: &[&str]| patterns.iter().any(|pattern| covers(pattern, name));
    matches(keys::FIXED) && !matches(keys::FLEXIBLE)
}

/// `*` stands for one name.
fn covers(pattern: &str, name: &str) -> bool {
    let mut parts = name.split('.');
    pattern.split('.').all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part))
}

fn table(table: &DeTable<'_>, prefix: &str, settings: &mut BTreeMap<String, u64>) {
    for (key, value) in table.iter() {
        // Compared as they were read.
        if key.get_ref() != "credentials" {
            setting(value.get_ref(), &format!("{prefix}{}", key.get_ref()), settings);
        }
    }
}

fn setting(value: &DeValue<'_>, name: &str, settings: &mut BTreeMap<String, u64>) {
    match value {
        DeValue::Table(inner) => table(inner, &format!("{name}."), settings),
        DeValue::Array(items) if items.iter().any(|item| item.get_ref().is_table()) => {
            for (at, item) in items.iter().enumerate() {
                let DeValue::Table(inner) = item.get_ref() else { continue };
                let item = format!("{name}.{}", title(inner).unwrap_or_else(|| at.to_string()));
                settings.insert(item.clone(), 0);
                table(inner, &format!("{item}."), settings);
            }
        }
        other => {
            let mut digest = DefaultHasher::new();
            hash(other, &mut digest);
            settings.insert(name.to_owned(), digest.finish());
        }
    }
}

/// What a table of a list is called.
fn title(table: &DeTable<'_>) -> Option<String> {
    let named = ["name", "path"].iter().find_map(|key| table.get(*key));
    Some(in_settings(named?.get_ref().as_str()?))
}

/// A dot would look like the next level.
fn in_settings(name: &str) -> String {
    name.replace('.', "_")
}

fn hash(value: &DeValue<'_>, digest: &mut DefaultHasher) {
    value.type_str().hash(digest);
    match value {
        DeValue::String(text) => text.hash(digest),
        DeValue::Integer(number) => (number.as_str(), number.radix()).hash(digest),
        DeValue::Float(number) => number.as_str().hash(digest),
        DeValue::Boolean(boolean) => boolean.hash(digest),
        DeValue::Datetime(time) => time.to_string().hash(digest),
        DeValue::Array(items) => items.iter().for_each(|item| hash(item.get_ref(), digest)),
        DeValue::Table(table) => table.iter().for_each(|(key, value)| {
            key.get_ref().hash(digest);
            hash(value.get_ref(), digest);
        }),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use std::path::Path;

    fn config(text: &str) -> Config {
        super::super::parse(text, Path::new("x"), Path::new(""), 0o600, &|_| None).0.unwrap()
    }

    const BEFORE: &str = r#"
data_dir = "a"
[s3]
max_connections = 5
[[buckets]]
name = "app-1"
quota = "1GB"
[[buckets.credentials]]
access_key_id = "A"
secret_access_key = "secret-of-a"
[[backends]]
name = "local"
kind = "embedded"
quota = "5GB"
"#;

    fn difference(edits: &[(&str, &str)]) -> Difference {
        let after = edits.iter().fold(BEFORE.to_owned(), |text, (from, to)| text.replace(from, to));
        Difference::between(&config(BEFORE), &config(&after))
    }

    #[test]
    fn the_same_is_no_difference() {
        assert_eq!(difference(&[]), Difference::default());
    }

    #[test]
    fn changes_have_the_names_of_the_file() {
        let found = difference(&[
            ("= 5\n", "= 6\nhead_timeout = \"5s\"\n"),
            ("1GB", "2GB"),
            ("5GB", "6GB"),
            ("secret-of-a", "another-secret"),
        ]);
        assert_eq!(
            found.changed,
            [
                "backends.local.quota",
                "buckets.app-1.quota",
                "s3.head_timeout",
                "s3.max_connections",
                "buckets.app-1.credentials.A",
            ]
        );
        assert!(found.fixed.is_empty());
    }

    #[test]
    fn what_needs_a_start_is_told_apart() {
        let found = difference(&[
            ("\"a\"", "\"b\""),
            ("[s3]", "[s3]\nlisten = \"127.0.0.1:1\""),
            ("[[backends]]", "[[buckets]]\nname = \"app-2\"\nquota = \"1GB\"\n[[backends]]"),
        ]);
        assert_eq!(found.changed, ["buckets.app-2"]);
        assert_eq!(found.fixed, ["data_dir", "s3.listen"]);
    }

    const USB: &str = "\n[[backends]]\nname = \"usb\"\nkind = \"disk\"\npath = \"u\"\n";

    #[test]
    fn a_backend_may_come_but_not_go_or_move() {
        let more = format!("{BEFORE}{USB}quota = \"1GB\"\n");
        let added = Difference::between(&config(BEFORE), &config(&more));
        assert_eq!((added.changed, added.fixed), (vec!["backends.usb".to_owned()], vec![]));
        let gone = Difference::between(&config(&more), &config(BEFORE));
        assert_eq!((gone.changed, gone.fixed), (vec![], vec!["backends.usb".to_owned()]));
        let moved = more.replace("\"u\"", "\"v\"").replace("\"1GB\"\n[[b", "\"2GB\"\n[[b");
        let moved = Difference::between(&config(&more), &config(&moved));
        assert_eq!(moved.fixed, ["backends.usb.path"]);
        let renamed = Difference::between(&config(BEFORE), &config(&BEFORE.replace("local", "main")));
        assert_eq!((renamed.changed, renamed.fixed.len()), (vec![], 2), "there is one embedded backend");
        let turned = BEFORE.replace("[[backends]]", &format!("{USB}[[backends]]"));
        let turned = Difference::between(&config(&more), &config(&turned)).changed;
        assert_eq!(turned, ["backends.usb.quota", "the order of backends"]);
    }

    const FAR: &str = r#"
[[backends]]
name = "far"
kind = "s3"
endpoint = "http://localhost:1"
bucket = "b"
access_key_id = "one"
secret_access_key = "secret-one"
"#;

    #[test]
    fn keys_of_a_provider_change_where_its_place_does_not() {
        let before = format!("{BEFORE}{FAR}");
        let renewed = before.replace("\"one\"", "\"two\"").replace("secret-one", "secret-two");
        let keys = ["backends.far.access_key_id", "backends.far.secret_access_key"];
        let found = Difference::between(&config(&before), &config(&renewed));
        assert_eq!((found.changed, found.fixed), (keys.map(str::to_owned).to_vec(), vec![]));
        let mut kept = config(&renewed);
        kept.keep_fixed(&config(&before));
        assert_eq!(kept.provider("far").unwrap().secret.expose(), "secret-two");

        let moved = renewed.replace("\"b\"", "\"c\"");
        let found = Difference::between(&config(&before), &config(&moved));
        assert_eq!((found.changed.len(), found.fixed.len()), (0, 3), "they are keys for another place");
        let mut kept = config(&moved);
        kept.keep_fixed(&config(&before));
        assert_eq!(kept.provider("far").unwrap().secret.expose(), "secret-one");
    }

    #[test]
    fn the_backend_that_no_file_names_is_thought_of() {
        let bare = config(&BEFORE[..BEFORE.find("[[backends]]").unwrap()]);
        let named = Difference::between(&bare, &config(BEFORE));
        assert_eq!((named.changed, named.fixed), (vec!["backends.local".to_owned()], vec![]));
        let without = BEFORE[..BEFORE.find("[[backends]]").unwrap()].to_owned() + USB;
        let lost = Difference::between(&bare, &config(&without));
        assert_eq!(
            (lost.changed, lost.fixed),
            (vec!["backends.usb".to_owned()], vec!["backends.embedded".to_owned()])
        );
    }
}
