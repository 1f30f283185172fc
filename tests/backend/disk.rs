//! A disk that is not there is absent, never empty.

use crate::kinds::SYNC;
use crate::suite::{body, everything, fault, get, new_blob, put};
use backend::{Backend as _, Disk, DiskOptions, Fault, NewReplica};
use std::fs;
use std::path::Path;
use types::ByteRange;

fn options(path: &Path, initialised: bool) -> DiskOptions {
    let (node, backend) = ("node-1".to_owned(), "usb".to_owned());
    DiskOptions { path: path.to_owned(), node, backend, initialised, sync: SYNC }
}

#[tokio::test]
async fn a_disk_that_is_not_mounted_is_absent_and_comes_back() {
    let place = tempfile::tempdir().unwrap();
    let (mount, elsewhere) = (place.path().join("mnt"), place.path().join("unplugged"));
    fs::create_dir(&mount).unwrap();
    let disk = Disk::new(options(&mount, false));
    let blob = new_blob();
    let bytes = body(blob, 1000);
    let location = put(&disk, NewReplica::of(blob), &bytes).await.unwrap().location;

    // Unplugged: its mount point is an empty directory.
    fs::rename(&mount, &elsewhere).unwrap();
    fs::create_dir(&mount).unwrap();
    let known = Disk::new(options(&mount, true));
    assert_eq!(fault(known.probe().await), Fault::Unavailable);
    assert_eq!(fault(known.head(&location).await), Fault::Unavailable);
    assert_eq!(fault(known.list("", None, 10).await), Fault::Unavailable);
    assert_eq!(fault(put(&known, NewReplica::of(new_blob()), &bytes).await), Fault::Unavailable);
    assert_eq!(fault(known.remove(std::slice::from_ref(&location)).await), Fault::Unavailable);
    assert!(known.open_file(&location).unwrap().is_err());
    assert_eq!(fs::read_dir(&mount).unwrap().count(), 0, "nothing is written to the mount point");
    // Whoever has used it in this run holds the old directory, and notices at the next probe.
    assert_eq!(fault(disk.probe().await), Fault::Unavailable);
    assert_eq!(fs::read_dir(&mount).unwrap().count(), 0);

    fs::remove_dir(&mount).unwrap();
    fs::rename(&elsewhere, &mount).unwrap();
    for disk in [&known, &disk] {
        disk.probe().await.unwrap();
        assert_eq!(get(disk, &location, ByteRange::whole(1000)).await.unwrap(), bytes);
    }
}

#[tokio::test]
async fn a_directory_belongs_to_one_backend_of_one_node() {
    let place = tempfile::tempdir().unwrap();
    Disk::new(options(place.path(), false)).attach().unwrap();
    Disk::new(options(place.path(), true)).attach().unwrap();
    for (node, backend) in [("node-2", "usb"), ("node-1", "other")] {
        let other = DiskOptions {
            node: node.to_owned(),
            backend: backend.to_owned(),
            ..options(place.path(), false)
        };
        assert_eq!(fault(Disk::new(other).attach()), Fault::Refused);
    }
    assert_eq!(fault(Disk::new(options(&place.path().join("missing"), false)).attach()), Fault::Unavailable);
}

#[tokio::test]
async fn what_else_lies_on_a_disk_is_listed_and_left_alone() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir_all(place.path().join("photos/2026")).unwrap();
    fs::write(place.path().join("photos/2026/a.jpg"), "jpeg").unwrap();
    fs::write(place.path().join("photos.txt"), "text").unwrap();
    std::os::unix::fs::symlink("/etc/passwd", place.path().join("link")).unwrap();
    let disk = Disk::new(options(place.path(), false));
    let blob = new_blob();
    put(&disk, NewReplica::of(blob), &body(blob, 9)).await.unwrap();
    let names: Vec<_> = everything(&disk, "").await;
    let names: Vec<_> = names.iter().map(|location| location.as_str()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[0].starts_with("blobs/"), "{names:?}");
    assert_eq!(names[1..], ["photos.txt", "photos/2026/a.jpg"]);
    let adopted = backend::Location::new("photos/2026/a.jpg");
    assert_eq!(get(&disk, &adopted, ByteRange::whole(4)).await.unwrap(), b"jpeg");
    for outside in ["link", "../x", "/etc/passwd", "photos/../../x", "photos", ""] {
        let location = backend::Location::new(outside);
        assert!(get(&disk, &location, ByteRange::whole(1)).await.is_err(), "{outside:?}");
    }
}
