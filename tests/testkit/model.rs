//! What a key may hold after a crash: one state where the last write was answered, several where it was not.

use crate::body::Content;
use std::collections::BTreeMap;

/// `None`: no such key.
pub type State = Option<Content>;

/// The possible states of every key that one client owns.
#[derive(Debug, Default)]
pub struct Model {
    keys: BTreeMap<String, Vec<State>>,
}

impl Model {
    /// The states that a key may be in; an untouched key is absent.
    pub fn allowed(&self, key: &str) -> Vec<State> {
        self.keys.get(key).cloned().unwrap_or_else(|| vec![None])
    }

    /// The state, where only one is possible.
    pub fn certain(&self, key: &str) -> Option<State> {
        match self.allowed(key).as_slice() {
            [only] => Some(*only),
            _ => None,
        }
    }

    /// An acknowledged change: nothing else is possible any more.
    pub fn acknowledged(&mut self, key: &str, state: State) {
        self.keys.insert(key.to_owned(), vec![state]);
    }

    /// A change without an answer: it happened or it did not.
    pub fn maybe(&mut self, key: &str, state: State) {
        let mut allowed = self.allowed(key);
        if !allowed.contains(&state) {
            allowed.push(state);
        }
        self.keys.insert(key.to_owned(), allowed);
    }

    /// What a reader saw settles the matter, or breaks a promise.
    pub fn observed(&mut self, key: &str, state: State) -> Result<(), String> {
        let allowed = self.allowed(key);
        self.acknowledged(key, state);
        if allowed.contains(&state) {
            return Ok(());
        }
        let kind = match (state, allowed.as_slice()) {
            (None, _) => "LOST",
            (Some(_), [None]) => "UNDELETED",
            (Some(_), _) => "WRONG VERSION",
        };
        Err(format!("{kind}: {key} holds {state:?}, allowed is {allowed:?}"))
    }

    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.keys.keys().map(String::as_str)
    }

    /// The keys that certainly exist, with their contents.
    pub fn present(&self) -> impl Iterator<Item = (&str, Content)> {
        self.keys.iter().filter_map(|(key, allowed)| match allowed.as_slice() {
            [Some(content)] => Some((key.as_str(), *content)),
            _ => None,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::body::Bodies;

    #[test]
    fn acknowledged_is_certain_and_unanswered_is_either() {
        let bodies = Bodies::new(1);
        let (a, b) = (Some(bodies.content("k", 1, 10)), Some(bodies.content("k", 2, 10)));
        let mut model = Model::default();
        assert!(model.observed("k", None).is_ok());
        model.acknowledged("k", a);
        assert!(model.observed("k", None).unwrap_err().starts_with("LOST"));
        model.acknowledged("k", a);
        model.maybe("k", b);
        assert_eq!(model.certain("k"), None);
        assert!(model.observed("k", b).is_ok());
        assert!(model.observed("k", a).unwrap_err().starts_with("WRONG"));
        model.acknowledged("k", None);
        assert!(model.observed("k", a).unwrap_err().starts_with("UNDELETED"));
        model.maybe("k", None);
        assert!(model.observed("k", None).is_ok());
    }
}
