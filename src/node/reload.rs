//! Putting another configuration into force while the node runs.
//!
//! Everything is read and checked before anything changes. Requests under way keep what they began
//! with.

use crate::command::serve::ServeArgs;
use crate::config::{self, Change, Config, Difference, LoadError, Problem, changes};
use crate::node::Node;
use crate::workers::{lifecycle, multipart_expiry, scrub, snapshots};
use crate::{config_file, options, service, telemetry};
use std::fmt;
use std::path::Path;
use store::{ExpiryRule, OrderError, StoreError};
use types::BucketName;

/// What the configuration in force was made of. Whoever changes it holds its lock.
pub struct Control {
    /// They win over the file, also at a reload.
    args: ServeArgs,
    /// As the file was at the start, with the backends that came since: what a reload cannot change is
    /// compared with it.
    at_start: Config,
    /// As the file is, without changes by command.
    configured: Config,
    changes: Vec<Change>,
}

/// What a reload did.
#[derive(Debug)]
pub struct Reloaded {
    pub difference: Difference,
    pub warnings: Vec<Problem>,
    /// Of changes by command that have no effect.
    pub notes: Vec<String>,
}

#[derive(Debug)]
pub enum ReloadError {
    /// Nothing was changed.
    Bad(LoadError),
    /// A new backend cannot be opened, and nothing was changed; or the store is in trouble.
    Store(OrderError),
}

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bad(why) => why.fmt(f),
            Self::Store(why) => why.fmt(f),
        }
    }
}

impl Control {
    pub fn new(args: &ServeArgs, configured: &Config, changes: Vec<Change>) -> Self {
        let (at_start, configured) = (configured.clone(), configured.clone());
        Self { args: args.clone(), at_start, configured, changes }
    }

    pub fn changes(&self) -> &[Change] {
        &self.changes
    }

    /// What cannot change stays as it was at the start.
    fn read(&self, file: &Path) -> Result<(config::Loaded, Vec<Change>), LoadError> {
        let mut loaded = config::load(file, &config_file::environment)?;
        self.args.apply(&mut loaded.config);
        let changes = changes::load(&self.at_start.data_dir)?;
        Ok((loaded, changes))
    }
}

impl Node {
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let mut control = self.control.lock().await;
        let _told = service::Reloading::begin();
        let file = self.config().file.clone();
        // A configuration is a few kilobytes: reading it holds up one thread for a moment.
        let (loaded, changes) =
            tokio::task::block_in_place(|| control.read(&file)).map_err(ReloadError::Bad)?;
        let config = loaded.config;
        let fixed = Difference::between(&control.at_start, &config).fixed;
        let mut changed = Difference::between(&control.configured, &config).changed;
        // The keys of a backend that went elsewhere before.
        changed.retain(|name| !fixed.contains(name));
        let difference = Difference { changed, fixed };
        let before = self.config();
        let enforced = self.enforce(&control.at_start, &config, &changes).await;
        let mut notes = enforced.map_err(ReloadError::Store)?;
        notes.extend(another_data_dir(&control.at_start, &config));
        control.at_start.take_in_backends(&config);
        // It waits for the kernel.
        notes.extend(tokio::task::block_in_place(|| self.mounts.follow(&before.mounts, &config.mounts)));
        let filter = telemetry::configured(&config.log);
        if let Err(why) = self.log.set_filter(&filter) {
            tracing::warn!(filter, why, "what is logged stays as it was");
        }
        self.needs_restart.store(difference.fixed.clone().into());
        (control.configured, control.changes) = (config, changes);
        notes.iter().for_each(|note| tracing::warn!("{note}"));
        tracing::info!(changed = ?difference.changed, needs_restart = ?difference.fixed, "configuration reloaded");
        Ok(Reloaded { difference, warnings: loaded.warnings, notes })
    }

    /// Adds to, or replaces, what was changed by command: durable before it is in force.
    pub async fn change_credentials(
        &self,
        control: &mut Control,
        changes: Vec<Change>,
    ) -> Result<(), OrderError> {
        let data_dir = &control.at_start.data_dir;
        tokio::task::block_in_place(|| changes::save(data_dir, &changes)).map_err(StoreError::from)?;
        self.enforce(&control.at_start, &control.configured, &changes).await?;
        control.changes = changes;
        Ok(())
    }

    /// The store first: the face must not name a bucket that is not there yet.
    async fn enforce(
        &self,
        at_start: &Config,
        configured: &Config,
        changes: &[Change],
    ) -> Result<Vec<String>, OrderError> {
        let mut config = configured.clone();
        config.keep_fixed(at_start);
        let notes = changes::apply(&mut config, changes);
        self.store.change(options::settings_of_store(&config)).await?;
        self.face.replace(options::of_face(&config, &self.store));
        if let (Some(live), Some(tls)) = (&self.tls, &config.s3.tls) {
            live.replace(tls.identity.clone(), tls.handshake_timeout);
        }
        self.webhooks.apply(&config.webhooks).await?;
        let expiry_changed = config.s3.multipart_expiry != self.config().s3.multipart_expiry;
        let rules_changed = rules(&config) != rules(&self.config());
        let scrub_changed = config.scrub != self.config().scrub;
        let snapshots_changed = config.snapshots != self.config().snapshots;
        self.config.store(config.into());
        // They sleep as long as the old settings made them.
        for (name, changed) in [
            (multipart_expiry::NAME, expiry_changed),
            (lifecycle::NAME, rules_changed),
            (scrub::NAME, scrub_changed),
            (snapshots::NAME, snapshots_changed),
        ] {
            if let Some(job) = self.jobs.find(name).filter(|_| changed) {
                job.run_now();
            }
        }
        Ok(notes)
    }
}

/// Worth more than a name: the next start would find other objects there, or none.
fn another_data_dir(at_start: &Config, config: &Config) -> Option<String> {
    let (now, next) = (at_start.data_dir.display(), config.data_dir.display());
    (at_start.data_dir != config.data_dir).then(|| {
        format!(
            "data_dir differs: this node goes on with {now}, the next start takes {next} and what is there"
        )
    })
}

fn rules(config: &Config) -> Vec<(BucketName, Vec<ExpiryRule>)> {
    config.buckets.iter().map(|bucket| (bucket.name.clone(), bucket.lifecycle.clone())).collect()
}
