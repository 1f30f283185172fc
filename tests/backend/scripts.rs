//! The scripted backend does what its script says, and no more.

use crate::suite::{body, fault, get, new_blob, put};
use backend::{Backend as _, Call, Fault, Faulty, Memory, NewReplica, Script, Trouble};
use std::time::Duration;
use types::ByteRange;

#[tokio::test]
async fn scripts_are_followed() {
    let script = Script::default();
    let faulty = Faulty::new(Memory::default(), script.clone());
    let blob = new_blob();
    let bytes = body(blob, 1_000_000);
    let whole = ByteRange::whole(1_000_000);

    script.once(Call::Finish, Trouble::Fail(Fault::Full));
    assert_eq!(fault(put(&faulty, NewReplica::of(blob), &bytes).await), Fault::Full);
    let location = faulty.locate(blob, None);
    assert_eq!(fault(faulty.head(&location).await), Fault::Absent);

    script.once(Call::Finish, Trouble::DoneThenFail(Fault::Unavailable));
    assert_eq!(fault(put(&faulty, NewReplica::of(blob), &bytes).await), Fault::Unavailable);
    assert_eq!(get(&faulty, &location, whole).await.unwrap(), bytes, "the work was done");

    script.times(Call::Next, Trouble::WrongByte, 1, 1);
    let read = get(&faulty, &location, whole).await.unwrap();
    assert_eq!(read.iter().zip(&bytes[..]).filter(|(a, b)| a != b).count(), 1);

    script.times(Call::Next, Trouble::BreakOff(Fault::Corrupt), 2, 1);
    assert_eq!(fault(get(&faulty, &location, whole).await), Fault::Corrupt);

    script.down(Trouble::Stall);
    assert!(tokio::time::timeout(Duration::from_millis(50), faulty.probe()).await.is_err());
    script.clear();
    faulty.probe().await.unwrap();
}
