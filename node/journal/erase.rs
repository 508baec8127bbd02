//! Erasure: overwrite what is sealed, keep what is proven.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use crate::error::{Error, Result};
use crate::event::Location;
use crate::format::{STATE_ERASED, segment_file};
use crate::io::{Access, IoFile};
use crate::map::Map;

/// Zeros written at a time.
const CHUNK: usize = 256 * 1024;

/// An erasure that cannot be done, or one that may have been done in part.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing was touched.
    Refused(Error),
    /// A write or a barrier failed.
    Disk(Error),
}

/// Overwrites the sealed parts at the locations with zeros and syncs. All locations are checked before the first byte is touched:
/// an index row that has rotted must not wipe another event.
///
/// Crash in the midst: some parts are zero, some not; leaves and chain stand. Doing it again finishes it.
pub(crate) fn erase(map: &Map, locations: &[Location]) -> std::result::Result<(), Failure> {
    let mut by_segment: BTreeMap<u32, Vec<Location>> = BTreeMap::new();
    for location in locations {
        check(map, location).map_err(Failure::Refused)?;
        by_segment
            .entry(location.segment)
            .or_default()
            .push(*location);
    }
    for (segment, locations) in by_segment {
        let name = segment_file(segment);
        let failed = |e| Failure::Disk(Error::io("erasing in", name.as_str(), e));
        // A file of its own: a failed barrier here must not be swallowed from the writer's next one.
        let file = map.io.open(&name, Access::Write).map_err(failed)?;
        for location in locations {
            let _alone = map.erasing.write().unwrap_or_else(PoisonError::into_inner);
            overwrite(&*file, &location).map_err(failed)?;
        }
        file.sync_data().map_err(failed)?;
    }
    Ok(())
}

fn check(map: &Map, location: &Location) -> Result<()> {
    let seq = location.seq;
    let frame = map.find(seq)?;
    let found = frame
        .event(seq)
        .map(|event| event.location(seq, frame.segment, frame.offset));
    if found != Some(*location) {
        return Err(Error::WrongLocation { seq });
    }
    if frame.header.next_seq() == map.head().next_seq {
        return Err(Error::EraseTooEarly { seq });
    }
    Ok(())
}

/// Zeros first, the state byte last: what claims to be erased is.
fn overwrite(file: &dyn IoFile, location: &Location) -> std::io::Result<()> {
    let zeros = [0; CHUNK];
    let mut at = location.offset;
    let end = location.offset + location.sealed_len();
    if at == end {
        return Ok(());
    }
    while at < end {
        let len = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
        file.write_all_at(zeros.get(..len).unwrap_or(&zeros), at)?;
        at += len as u64;
    }
    file.write_all_at(&[STATE_ERASED], location.offset - 1)
}
