//! A node's life: configuration, address, store, face, workers; then the order to stop, and the
//! same in reverse.
//!
//! The address is taken first, so that a node that cannot have it leaves nothing behind; clients
//! that come early wait in its queue until the store is open.

use crate::admin::Admin;
use crate::audit_file::AuditFile;
use crate::command::serve::ServeArgs;
use crate::config::{Change, Config, LogFormat, S3, changes};
use crate::jobs::Jobs;
use crate::mounts::Mounts;
use crate::node::Node;
use crate::observe::{Health, Metrics, Monitoring, Traces, Watcher};
use crate::reload::Control;
use crate::reports::Reports;
use crate::telemetry::Log;
use crate::webhooks::Webhooks;
use crate::workers::Workers;
use crate::{config_file, first_run, hints, options, process, service, telemetry};
use anyhow::Context as _;
use arc_swap::ArcSwap;
use s3api::{Edge, LiveOptions, Tls};
use std::fs::DirBuilder;
use std::io::Write as _;
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 1024;
/// The face keeps `shutdown_grace` itself; this is for one that does not come back.
const GRACE_BEYOND: Duration = Duration::from_secs(10);

pub fn serve(args: &ServeArgs, format: Option<LogFormat>) -> anyhow::Result<()> {
    let mut runtime = tokio::runtime::Builder::new_multi_thread();
    let runtime = runtime.enable_all().thread_name("node").build()?;
    let outcome = runtime.block_on(run(args, format));
    // A blocking thread that hangs on a disk must not keep a stopped node alive.
    runtime.shutdown_timeout(Duration::from_secs(1));
    outcome
}

async fn run(args: &ServeArgs, format: Option<LogFormat>) -> anyhow::Result<()> {
    // Before anything else: a signal during the start is an order too.
    let stop = stop_on_signal()?;
    let (reload, reopen) = (signal(SignalKind::hangup())?, signal(SignalKind::user_defined1())?);
    let mut prepared = prepare(args)?;
    let metrics = Arc::new(Metrics::new());
    let health = Arc::new(Health::new(stop.clone()));
    let monitoring = Monitoring::start(prepared.monitor.take(), &health, &metrics)?;
    let config = &prepared.config;
    let (log, store) = match start(config, format).await {
        Ok(started) => started,
        Err(error) => return Err(prepared.undo(error)),
    };
    let node = Arc::new(prepared.assemble(args, log, store, metrics).await?);
    health.started(&node);
    if let Err(error) = mount(&node).await {
        return Err(prepared.undo(error));
    }
    tokio::spawn(reload_on_signal(Arc::clone(&node), reload));
    tokio::spawn(reopen_on_signal(node.log.clone(), reopen));
    let face = Arc::new(s3api::Face::new(node.store.clone(), node.face.clone()));
    let workers = Workers::start(&node).await;
    let admin = start_admin(&node);
    announce(config, node.address, monitoring.address, prepared.first_run);
    let deadline = late(stop.clone(), config.s3.shutdown_grace + GRACE_BEYOND);
    tokio::select! {
        _ = s3api::server::serve(face, prepared.listener, node.face.clone(), edge(&node), ordered(stop)) => {}
        () = deadline => tracing::error!("requests did not end in time; they are cut off"),
    }
    if let Some(admin) = admin {
        admin.stop().await;
    }
    unmount(&node).await;
    node.webhooks.stop();
    workers.stop().await;
    node.store.close().await;
    monitoring.stop().await;
    finish_traces(node.log.traces.clone()).await;
    tracing::info!("stopped");
    Ok(())
}

/// What is settled before the store is opened.
struct Prepared {
    /// As the file has it.
    configured: Config,
    changes: Vec<Change>,
    /// Both together: what is in force.
    config: Config,
    listener: TcpListener,
    monitor: Option<TcpListener>,
    first_run: bool,
}

impl Prepared {
    fn new(
        configured: Config,
        listener: TcpListener,
        monitor: Option<TcpListener>,
        first_run: bool,
    ) -> anyhow::Result<Self> {
        let changes = changes::load(&configured.data_dir)?;
        let mut config = configured.clone();
        for note in changes::apply(&mut config, &changes) {
            // The log is not there yet.
            let _ = writeln!(std::io::stderr(), "{note}");
        }
        Ok(Self { configured, changes, config, listener, monitor, first_run })
    }

    async fn assemble(
        &self,
        args: &ServeArgs,
        log: Log,
        store: Store,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Node> {
        store.listen(Arc::clone(&metrics) as Arc<dyn store::Listener>);
        // Before the first request: no change may go by unnoted.
        let webhooks = Webhooks::start(&store, &self.config.webhooks, &metrics, options::now).await?;
        let tls =
            self.config.s3.tls.as_ref().map(|tls| Tls::new(tls.identity.clone(), tls.handshake_timeout));
        Ok(Node {
            metrics,
            webhooks,
            tls,
            face: LiveOptions::new(options::of_face(&self.config, &store)),
            mounts: Mounts::new(&store),
            store,
            config: ArcSwap::from_pointee(self.config.clone()),
            control: Control::new(args, &self.configured, self.changes.clone()).into(),
            needs_restart: ArcSwap::default(),
            stuck: ArcSwap::default(),
            jobs: Jobs::default(),
            reports: Reports::default(),
            log,
            address: self.listener.local_addr()?,
            started: Instant::now(),
        })
    }

    /// A first start that fails leaves no configuration behind, so that the next is a first again.
    fn undo(&self, error: anyhow::Error) -> anyhow::Error {
        if self.first_run {
            // What cannot be removed will be found and used by the next start: no harm.
            let _ = std::fs::remove_file(&self.config.file);
            // Only if it is empty.
            let _ = std::fs::remove_dir(&self.config.data_dir);
        }
        error
    }
}

fn prepare(args: &ServeArgs) -> anyhow::Result<Prepared> {
    let Some(file) = config_file::locate(args.config.as_deref()) else {
        return prepare_first(args);
    };
    let mut config = config_file::load(&file)?;
    args.apply(&mut config);
    let help = format!("change s3.listen in {}, or give --listen", file.display());
    let listener = bind(config.s3.listen, &help)?;
    let help = format!("change admin.listen in {}", file.display());
    let monitor = config.admin.listen.map(|address| bind(address, &help)).transpose()?;
    Prepared::new(config, listener, monitor, false)
}

fn prepare_first(args: &ServeArgs) -> anyhow::Result<Prepared> {
    let listen = args.listen.unwrap_or(S3::default().listen);
    let listener = bind(listen, "give another one: s3-orchestrator serve --listen 127.0.0.1:9001")?;
    let file = first_run::create(listen, args.data_dir.as_deref())?;
    let config = config_file::load(&file)?;
    Prepared::new(config, listener, None, true)
}

fn bind(address: SocketAddr, help: &str) -> anyhow::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let listen = |socket: TcpSocket| {
        // A restart must not wait for the last connections of the node before it to be forgotten.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    socket.and_then(listen).with_context(|| format!("cannot listen on {address} ({help})"))
}

async fn start(config: &Config, format: Option<LogFormat>) -> anyhow::Result<(Log, Store)> {
    let traces = Traces::new(&config.telemetry)?;
    let audit = config.log.audit_file.as_deref();
    let audit =
        audit.map(|path| AuditFile::open(path).with_context(|| format!("opening {}", path.display())));
    let log = telemetry::init(format, &config.log, audit.transpose()?, traces)?;
    process::raise_open_files();
    Ok((log, open(config).await?))
}

/// A node that cannot have its admin socket serves all the same.
fn start_admin(node: &Arc<Node>) -> Option<Admin> {
    let started = Admin::start(node);
    started.map_err(|error| tracing::error!(%error, "no admin socket: commands cannot reach this node")).ok()
}

/// Opens the store beside the threads that serve sockets: it reads the disk.
async fn open(config: &Config) -> anyhow::Result<Store> {
    let data_dir = config.data_dir.clone();
    let store_options = options::of_store(config);
    let opened = tokio::task::spawn_blocking(move || {
        make_private_dir(&data_dir).with_context(|| format!("cannot create {}", data_dir.display()))?;
        Store::open_dir(store_options).with_context(|| format!("cannot open {}", data_dir.display()))
    });
    opened.await.context("opening the store")?
}

/// Beside the threads that serve sockets: it waits for the kernel.
async fn mount(node: &Arc<Node>) -> anyhow::Result<()> {
    let node = Arc::clone(node);
    let started = tokio::task::spawn_blocking(move || {
        node.mounts.start(&node.config().mounts).inspect_err(|_| node.mounts.stop())
    });
    started.await.context("mounting")?
}

async fn unmount(node: &Arc<Node>) {
    let node = Arc::clone(node);
    if let Err(error) = tokio::task::spawn_blocking(move || node.mounts.stop()).await {
        tracing::error!(%error, "unmounting");
    }
}

fn make_private_dir(dir: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let mode = std::fs::metadata(dir)?.permissions().mode();
    if mode & 0o077 != 0 {
        let dir = dir.display();
        tracing::warn!("other users may look into {dir}; chmod 700 it");
    }
    Ok(())
}

fn announce(config: &Config, address: SocketAddr, monitor: Option<SocketAddr>, first_run: bool) {
    let mut text = hints::first_line(config, address) + "\n";
    text.extend(monitor.map(|address| hints::monitor_line(address) + "\n"));
    // The log of a service is not read by one who has just started it.
    if first_run || !service::is_managed() {
        text.push_str(&hints::usage(config, address, first_run).unwrap_or_default());
    }
    let mut out = std::io::stdout();
    // A node whose standard output is closed serves all the same.
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    service::ready(&hints::first_line(config, address));
    tracing::info!(%address, data_dir = %config.data_dir.display(), "listening");
}

/// Becomes true at the first SIGTERM or SIGINT. The second ends the process at once.
fn stop_on_signal() -> anyhow::Result<watch::Receiver<bool>> {
    let mut term = signal(SignalKind::terminate())?;
    let mut int = signal(SignalKind::interrupt())?;
    let (ordered, stop) = watch::channel(false);
    tokio::spawn(async move {
        next(&mut term, &mut int).await;
        tracing::info!("stopping");
        service::stopping();
        ordered.send_replace(true);
        next(&mut term, &mut int).await;
        std::process::exit(1);
    });
    Ok(stop)
}

/// A SIGUSR1 says that the audit file was moved away.
async fn reopen_on_signal(log: Log, mut usr1: Signal) {
    while usr1.recv().await.is_some() {
        log.reopen();
    }
}

/// What watches and guards the S3 face.
fn edge(node: &Node) -> Edge {
    let observer = Arc::new(Watcher::new(&node.metrics, node.log.traces.is_some()));
    Edge { observer, tls: node.tls.clone(), ..Edge::default() }
}

/// It waits for the collector.
async fn finish_traces(traces: Option<Traces>) {
    if let Some(traces) = traces {
        let finished = tokio::task::spawn_blocking(move || traces.finish()).await;
        if let Err(error) = finished {
            tracing::warn!(%error, "not every trace was sent");
        }
    }
}

/// A SIGHUP asks for the configuration to be read anew; the answer is in the log.
async fn reload_on_signal(node: Arc<Node>, mut hangup: Signal) {
    while hangup.recv().await.is_some() {
        node.log.reopen();
        if let Err(error) = node.reload().await {
            tracing::error!(%error, "the configuration stays as it was");
        }
    }
}

async fn next(term: &mut Signal, int: &mut Signal) {
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

async fn ordered(mut stop: watch::Receiver<bool>) {
    // An error is a sender that is gone, and with it the runtime.
    let _ = stop.wait_for(|stop| *stop).await;
}

async fn late(stop: watch::Receiver<bool>, after: Duration) {
    ordered(stop).await;
    tokio::time::sleep(after).await;
}
