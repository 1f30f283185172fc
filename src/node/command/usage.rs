//! `s3-orchestrator usage`: what lies where.

use super::{Ask, Global, Run, words};
use crate::admin::Nothing;
use crate::admin::usage::Usage;
use crate::usage::Account;
use std::process::ExitCode;

/// Show bytes, objects and quota of each bucket and backend.
#[derive(Debug, clap::Args)]
pub struct UsageArgs {
    #[command(flatten)]
    ask: Ask,
}

impl Run for UsageArgs {
    fn run(&self, _: &Global) -> anyhow::Result<ExitCode> {
        self.ask.show("usage", &Nothing {}, text)
    }
}

fn text(usage: &Usage) -> String {
    format!("Buckets:\n{}\nBackends:\n{}", accounts(&usage.buckets), accounts(&usage.backends))
}

pub fn accounts(accounts: &[Account]) -> String {
    table(accounts, None)
}

/// `last`: the name of one column more, and its cells.
pub fn table(accounts: &[Account], last: Option<(&str, Vec<String>)>) -> String {
    let row = |account: &Account| {
        vec![
            account.name.clone(),
            account.objects.to_string(),
            words::size(account.bytes),
            words::size(account.reserved_bytes),
            words::size(account.awaiting_cleanup_bytes),
            account.quota_bytes.map_or("-".to_owned(), words::size),
        ]
    };
    let mut rows: Vec<_> = accounts.iter().map(row).collect();
    let mut head = vec!["name", "objects", "size", "reserved", "awaiting cleanup", "quota"];
    if let Some((name, cells)) = last {
        head.push(name);
        rows.iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
    }
    words::table(&head, &rows)
}
