//! Every way to read a file, for those who try files of all kinds.

use std::path::Path;

use runbus_core::archive::{Wanted, aggregates, names, read};
use runbus_core::journal::{BlobReader, MetricReader};
use runbus_core::segment::Segment;

/// Read the file as a journal and as a segment; an error is an answer.
pub(crate) fn read_everything(path: &Path) {
    let files = [vec![path.to_path_buf()]];
    let _ = read(&files, &Wanted::All, None);
    let _ = read(&files, &Wanted::Matching(vec!["l*".into()]), None);
    let _ = aggregates(&files);
    let _ = names(&files);
    if let Ok(segment) = Segment::open(path) {
        let _ = segment.damage();
    }
    if let Ok(mut reader) = MetricReader::open(path) {
        while reader.poll(1000).is_ok_and(|points| points.count > 0) {}
        while reader.poll_rest(1000).is_ok_and(|points| points.count > 0) {}
        let _ = reader.check();
    }
    if let Ok(mut reader) = BlobReader::open(path, 0) {
        while reader.poll(10, 1000).is_ok_and(|blobs| !blobs.is_empty()) {}
    }
}
