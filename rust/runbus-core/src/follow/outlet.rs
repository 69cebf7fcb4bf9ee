//! What one writer wrote, on its way to those who follow.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use super::{Batch, Content, News};
use crate::aggregate::{LiveWindows, WindowRows};
use crate::frame::Points;

/// One look gathers no more points than this, and the last row.
pub(super) const MOST_POINTS: usize = 65_536;

/// What a look is for.
#[derive(Clone, Copy)]
pub(super) struct Look {
    pub(super) now: Instant,
    /// How wide the windows are, in nanoseconds; 0 for none.
    pub(super) width_ns: i64,
    /// Writers of later attempts are left alone.
    pub(super) last_attempt: u64,
    /// The writer is gone, or asked to be read as far as it got.
    pub(super) to_the_end: bool,
    /// Close the windows.
    pub(super) is_last: bool,
}

/// What one writer wrote, on its way out.
pub(super) struct Outlet {
    writer: Arc<str>,
    /// So many names were reported.
    names: usize,
    windows: Option<LiveWindows>,
}

impl Outlet {
    pub(super) fn new(writer: &str) -> Self {
        Self {
            writer: writer.into(),
            names: 0,
            windows: None,
        }
    }

    /// Tell of new points, and of the windows that are over.
    pub(super) fn tell<'a>(
        &mut self,
        names: impl ExactSizeIterator<Item = &'a str>,
        points: Points,
        position: u64,
        look: &Look,
        news: &mut News,
    ) {
        let mut rows = WindowRows::default();
        self.cut(&points, look, &mut rows);
        if points.count == 0 && rows.count == 0 {
            return;
        }
        let total = names.len();
        let mut new: Vec<Box<str>> = names.skip(self.names).map(Box::from).collect();
        self.names = total;
        let batch = |new_names: Vec<Box<str>>, content| Batch {
            writer: Arc::clone(&self.writer),
            new_names,
            content,
            position,
        };
        if points.count > 0 {
            news.points += points.count;
            let content = Content::Points(points);
            news.batches.push(batch(mem::take(&mut new), content));
        }
        if rows.count > 0 {
            let width_ns = self.windows.as_ref().map_or(0, LiveWindows::width_ns);
            let rows = Box::new(rows);
            let content = Content::Windows { width_ns, rows };
            news.batches.push(batch(new, content));
        }
    }

    fn cut(&mut self, points: &Points, look: &Look, rows: &mut WindowRows) {
        if look.width_ns == 0 {
            self.windows = None;
            return;
        }
        let windows = match &mut self.windows {
            Some(windows) if windows.width_ns() == look.width_ns => windows,
            place => place.insert(LiveWindows::new(look.width_ns)),
        };
        windows.add(points, look.now, rows);
        if look.is_last {
            windows.close_all(rows);
        } else {
            windows.close_due(look.now, rows);
        }
    }
}
