//! A bucket as a directory, beside the same files on the file system below, and beside rclone's mount of the same node.

use crate::Scale;
use crate::fill::fill;
use crate::http::{Connection, Spec, head};
use crate::report::{Limit, Report, median, median_ratio};
use crate::yardstick;
use anyhow::{Context as _, Result, bail, ensure};
use std::fs::{self, File};
use std::hint::black_box;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use testkit::{BucketConfig, Node};

const FILES: &str = "names";
const LARGE: &str = "large-files";
/// Not mounted: what a PUT costs without.
const PLAIN: &str = "plain";
const BLOCK_BYTES: usize = 1 << 20;
const RANDOM_READS: u64 = 20_000;

/// A node with two buckets mounted, and a plain directory with the same files.
struct Bench {
    node: Node,
    below: tempfile::TempDir,
    mounts: Vec<Place>,
}

/// Unmounted with its node, before the directory goes.
struct Place(Option<tempfile::TempDir>);

impl Place {
    fn new() -> Result<Self> {
        Ok(Self(Some(tempfile::Builder::new().prefix("s3o-bench-").tempdir()?)))
    }

    fn path(&self) -> PathBuf {
        self.0.as_ref().map(|dir| dir.path().to_owned()).unwrap_or_default()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Some(dir) = self.0.take() else { return };
        let _ = Command::new("umount").arg("-l").arg(dir.path()).stderr(Stdio::null()).status();
        // Never what may still be mounted on it.
        let _ = fs::remove_dir(dir.keep());
    }
}

fn name(number: u64, _: u64) -> String {
    format!("all/object-{number:08}.dat")
}

pub fn measure(scale: &Scale, report: &mut Report) -> Result<()> {
    let bench = Bench::start(scale)?;
    bench.large(scale, report)?;
    bench.names(scale, report)?;
    bench.small_files(scale, report)?;
    bench.puts(scale, report)?;
    bench.rclone(scale, report)?;
    bench.rename(scale, report)
}

impl Bench {
    fn start(scale: &Scale) -> Result<Self> {
        let mut config = crate::node_config();
        config.buckets = [FILES, LARGE, PLAIN].map(BucketConfig::new).to_vec();
        let mounts = vec![Place::new()?, Place::new()?];
        for (place, bucket) in mounts.iter().zip([FILES, LARGE]) {
            let path = place.path();
            let path = path.display();
            config
                .more
                .push(format!("[[mounts]]\nbucket = \"{bucket}\"\npath = \"{path}\"\nread_only = false\n"));
        }
        // What is compared is the way of a PUT, not the disk.
        config.durability = Some("process-crash".to_owned());
        let mut node = Node::prepare(config)?;
        fill(&node.data_dir(), &[(FILES, scale.names)], name)?;
        let below = tempfile::Builder::new().tempdir_in(node.data_dir().parent().context("a directory")?)?;
        fs::create_dir(below.path().join("all"))?;
        for number in 0..scale.names {
            fs::write(below.path().join(name(number, 0)), number.to_le_bytes())?;
        }
        node.run()?;
        Ok(Self { node, below, mounts })
    }

    fn files(&self) -> PathBuf {
        self.mounts.first().map(Place::path).unwrap_or_default()
    }

    fn large_files(&self) -> PathBuf {
        self.mounts.get(1).map(Place::path).unwrap_or_default()
    }

    /// How much faster the mount is than the file system below; the first round warms the caches.
    fn faster(
        &self,
        rounds: usize,
        mut act: impl FnMut(&Path) -> Result<()>,
        ours: &Path,
    ) -> Result<(f64, String)> {
        let (mut here, mut there) = (vec![], vec![]);
        for round in 0..=rounds {
            let times = [timed(|| act(self.below.path()))?, timed(|| act(ours))?];
            if round > 0 {
                there.push(times[0]);
                here.push(times[1]);
            }
        }
        let how = format!("{:.1} ms, below {:.1} ms", median(&here) * 1e3, median(&there) * 1e3);
        Ok((median_ratio(&there, &here), how))
    }

    fn large(&self, scale: &Scale, report: &mut Report) -> Result<()> {
        let (ours, bytes) = (self.large_files(), scale.large_bytes);
        write(&self.below.path().join("whole"), bytes)?;
        write(&ours.join("whole"), bytes)?;
        fs::copy(self.below.path().join("whole"), self.below.path().join("pieces"))?;
        // Two blobs: the kernel cannot read them by itself.
        write(&ours.join("pieces"), bytes / 2)?;
        append(&ours.join("pieces"), bytes / 2)?;
        // Pages that were read ahead, here as there: those that were written lie in pieces of other sizes.
        run(&mut Command::new("sync"))?;
        fs::write("/proc/sys/vm/drop_caches", "3").context("dropping caches")?;
        // As on a machine that was just started. The kernel gives FUSE single pages, which in fragmented memory lie
        // anywhere: that costs the second read up to a fifth, and says nothing of the node.
        let _ = fs::write("/proc/sys/vm/compact_memory", "1");
        let whole = |dir: &Path| read_through(&dir.join("whole"));
        let (ratio, how) = self.faster(scale.rounds, whole, &ours)?;
        report.figure("read of 1 GiB, passthrough", ratio, "x", Limit::AtLeast(0.95), &how);
        let pieces = |dir: &Path| read_through(&dir.join("pieces"));
        let (ratio, how) = self.faster(scale.rounds, pieces, &ours)?;
        report.figure("second read of 1 GiB, without", ratio, "x", Limit::AtLeast(0.9), &how);
        let random = |dir: &Path| read_here_and_there(&dir.join("whole"), bytes);
        let (ratio, how) = self.faster(scale.rounds, random, &ours)?;
        report.figure("4 KiB random reads, warm", ratio, "x", Limit::AtLeast(0.9), &how);
        let copy = |dir: &Path| {
            let _ = fs::remove_file(dir.join("copy"));
            run(Command::new("cp").arg(self.below.path().join("whole")).arg(dir.join("copy")))
        };
        let (ratio, how) = self.faster(scale.rounds, copy, &ours)?;
        let how =
            format!("{how}; MD5 alone, for the ETag, {:.1} ms", bytes as f64 / yardstick::md5(bytes) * 1e3);
        report.figure("cp in of 1 GiB", ratio, "x", Limit::AtLeast(0.4), &how);
        Ok(())
    }

    fn names(&self, scale: &Scale, report: &mut Report) -> Result<()> {
        let ours = self.files();
        let list = |dir: &Path| run(Command::new("ls").args(["-l", "-U"]).arg(dir.join("all")));
        let cold = |dir: &Path| {
            // Dentries and inodes of everything: root only.
            fs::write("/proc/sys/vm/drop_caches", "2").context("dropping caches")?;
            list(dir)
        };
        let (ratio, how) = self.faster(scale.rounds, cold, &ours)?;
        report.figure(
            "cold list and stat of 100,000, times as long",
            1.0 / ratio,
            "x",
            Limit::AtMost(3.0),
            &how,
        );
        let (ratio, how) = self.faster(scale.rounds, list, &ours)?;
        report.figure("ls -l of 100,000, times as long", 1.0 / ratio, "x", Limit::AtMost(1.5), &how);
        let there =
            |dir: &Path| (0..scale.names).try_for_each(|number| stat(&dir.join(name(number, 0)), true));
        let (ratio, how) = self.faster(scale.rounds, there, &ours)?;
        report.figure("stat of 100,000 names, warm", ratio, "x", Limit::AtLeast(0.6), &how);
        let missing = |dir: &Path| {
            (0..scale.names).try_for_each(|number| stat(&dir.join(format!("all/none-{number}")), false))
        };
        let (ratio, how) = self.faster(scale.rounds, missing, &ours)?;
        report.figure("stat of 100,000 missing names, warm", ratio, "x", Limit::AtLeast(0.6), &how);
        Ok(())
    }

    fn small_files(&self, scale: &Scale, report: &mut Report) -> Result<()> {
        let read = |dir: &Path| read_small(dir, scale.small_files);
        let (ratio, how) = self.faster(scale.rounds, read, &self.files())?;
        report.figure("10,000 small files by cat", ratio, "x", Limit::AtLeast(0.2), &how);
        Ok(())
    }

    /// PUTs of one connection, in turns to a bucket without a mount and to one with.
    fn puts(&self, scale: &Scale, report: &mut Report) -> Result<()> {
        let known: Vec<String> = (0..64).map(|number| name(number, 0)).collect();
        let unknown: Vec<String> = (0..64).map(|number| format!("unknown/{number}")).collect();
        for (what, keys, limit) in
            [("known to the kernel", &known, 50.0), ("unknown to the kernel", &unknown, 10.0)]
        {
            let (mut with, mut without) = (vec![], vec![]);
            for at in 0..scale.requests / 2 {
                let key = &keys[usize::try_from(at)? % keys.len()];
                // The kernel believes it again.
                if limit > 10.0 {
                    stat(&self.files().join(key), true)?;
                }
                without.push(self.put(2, PLAIN, key)? * 1e6);
                with.push(self.put(0, FILES, key)? * 1e6);
            }
            let cost = median(&with) - median(&without);
            let how = format!("PUT {:.0} us, without a mount {:.0} us", median(&with), median(&without));
            report.figure(
                &format!("cost for a PUT of a name {what}"),
                cost,
                "us",
                Limit::AtMost(limit),
                &how,
            );
        }
        Ok(())
    }

    fn put(&self, credential: usize, bucket: &str, key: &str) -> Result<f64> {
        let path = format!("{bucket}/{key}");
        let head = head(&self.node, credential, &Spec { length: 8, ..Spec::new("PUT", &path) })?;
        let mut connection = Connection::open(self.node.addr())?;
        Ok(connection.expect_ok(&head, b"12345678")?.as_secs_f64())
    }

    fn rclone(&self, scale: &Scale, report: &mut Report) -> Result<()> {
        let place = Place::new()?;
        let Some(mut rclone) = self.mount_by_rclone(&place.path())? else {
            report.skip("rclone mount of the same node", "rclone is not installed");
            return Ok(());
        };
        let ours = self.files();
        let find = |dir: &Path| run(Command::new("find").arg(dir.join("all")).args(["-size", "-100k"]));
        let small = |dir: &Path| read_small(dir, scale.small_files / 10);
        let measured: Result<_> = (|| {
            // Once: a second time it would answer from its own memory for five minutes.
            let theirs = [timed(|| find(&place.path()))?, timed(|| small(&place.path()))?];
            fs::write("/proc/sys/vm/drop_caches", "3").context("dropping caches")?;
            Ok((theirs, [timed(|| find(&ours))?, timed(|| small(&ours))?]))
        })();
        let _ = rclone.kill();
        let _ = rclone.wait();
        let (theirs, ours) = measured?;
        for (at, (what, limit)) in
            [("find, to rclone mount", 20.0), ("small files, to rclone mount", 5.0)].into_iter().enumerate()
        {
            let how = format!("{:.1} ms, rclone {:.1} ms", ours[at] * 1e3, theirs[at] * 1e3);
            report.figure(what, theirs[at] / ours[at], "x", Limit::AtLeast(limit), &how);
        }
        Ok(())
    }

    fn mount_by_rclone(&self, place: &Path) -> Result<Option<Child>> {
        let bucket = &self.node.config().buckets[0];
        let credential = &bucket.credentials[0];
        let mut command = Command::new("rclone");
        command.env("RCLONE_CONFIG", "/dev/null").env("AWS_ACCESS_KEY_ID", &credential.access_key);
        command.env("AWS_SECRET_ACCESS_KEY", &credential.secret);
        let endpoint = format!("http://{}", self.node.addr());
        command.arg("mount").arg(format!(":s3:{FILES}")).arg(place);
        command.args(["--s3-provider=Other", "--s3-env-auth", "--s3-region=us-east-1", "--read-only"]);
        command.arg(format!("--s3-endpoint={endpoint}")).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let mut child = match command.spawn() {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            child => child?,
        };
        let until = Instant::now() + Duration::from_secs(20);
        while !place.join("all").is_dir() {
            if child.try_wait()?.is_some() || Instant::now() > until {
                let _ = child.kill();
                let _ = child.wait();
                bail!("rclone does not mount");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(Some(child))
    }

    fn rename(&self, scale: &Scale, report: &mut Report) -> Result<()> {
        let (from, to) = (self.files().join("all"), self.files().join("other"));
        let mut times = vec![];
        for round in 0..scale.rounds {
            let (from, to) = if round % 2 == 0 { (&from, &to) } else { (&to, &from) };
            times.push(timed(|| Ok(fs::rename(from, to)?))?);
        }
        let how = format!("{} keys", scale.names);
        report.figure("rename of a directory of 100,000", median(&times), "s", Limit::AtMost(2.0), &how);
        Ok(())
    }
}

fn timed(act: impl FnOnce() -> Result<()>) -> Result<f64> {
    let begun = Instant::now();
    act()?;
    Ok(begun.elapsed().as_secs_f64())
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.stdout(Stdio::null()).status()?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

fn stat(path: &Path, there: bool) -> Result<()> {
    ensure!(fs::metadata(path).is_ok() == there, "{}", path.display());
    Ok(())
}

fn write(path: &Path, bytes: u64) -> Result<()> {
    pour(File::create(path)?, bytes)
}

fn append(path: &Path, bytes: u64) -> Result<()> {
    pour(File::options().append(true).open(path)?, bytes)
}

fn pour(mut file: File, bytes: u64) -> Result<()> {
    use std::io::Write as _;
    let block: Vec<u8> = (0..BLOCK_BYTES).map(|at| (at * 31 % 251) as u8).collect();
    for _ in 0..bytes / BLOCK_BYTES as u64 {
        file.write_all(&block)?;
    }
    Ok(())
}

fn read_through(path: &Path) -> Result<()> {
    use std::io::Read as _;
    let mut file = File::open(path)?;
    let mut block = vec![0; BLOCK_BYTES];
    while file.read(&mut block)? > 0 {
        black_box(&block);
    }
    Ok(())
}

fn read_here_and_there(path: &Path, bytes: u64) -> Result<()> {
    let file = File::open(path)?;
    let mut block = [0; 4096];
    let mut place: u64 = 1;
    for _ in 0..RANDOM_READS {
        place = place.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        file.read_exact_at(&mut block, (place >> 16) % (bytes / 4096) * 4096)?;
        black_box(&block);
    }
    Ok(())
}

/// By one program that opens them all.
fn read_small(dir: &Path, count: u64) -> Result<()> {
    let files: Vec<PathBuf> = (0..count).map(|number| dir.join(name(number, 0))).collect();
    files.chunks(1000).try_for_each(|some| run(Command::new("cat").args(some)))
}
