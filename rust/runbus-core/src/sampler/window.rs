//! Rows that tell of more than one tick.

use super::row::{NameId, Row, float};

/// Gathers what is read at several ticks into one row.
///
/// A measured value becomes the mean of those that were read, a total the last one.
pub(super) struct Window {
    ticks: u64,
    /// In the order in which they were first read.
    gathered: Vec<Gathered>,
}

struct Gathered {
    name: NameId,
    sum: f64,
    count: u64,
}

impl Window {
    /// A window of so many ticks; none if each tick is a row.
    pub(super) fn of(ticks: u64) -> Option<Self> {
        (ticks > 1).then_some(Self {
            ticks,
            gathered: Vec::new(),
        })
    }

    /// Take what the row holds out of it; at the last tick of a window the row holds what came together.
    pub(super) fn take(&mut self, tick: u64, row: &mut Row) {
        for (name, value) in row.values() {
            let is_total = row.is_total(*name);
            match self.gathered.iter_mut().find(|one| one.name == *name) {
                Some(one) if !is_total => {
                    one.sum += value;
                    one.count += 1;
                }
                Some(one) => one.sum = *value,
                None => self.gathered.push(Gathered {
                    name: *name,
                    sum: *value,
                    count: 1,
                }),
            }
        }
        row.truncate(0);
        if tick.is_multiple_of(self.ticks) {
            self.end(row);
        }
    }

    /// Put what came together into the row.
    pub(super) fn end(&mut self, row: &mut Row) {
        for one in self.gathered.drain(..) {
            if row.is_total(one.name) {
                row.put_exact(one.name, one.sum);
            } else {
                row.put(one.name, one.sum / float(one.count));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_of_a_window_has_means_and_the_last_of_totals() {
        let mut row = Row::new("");
        let (util, energy, temp) = (row.name("util"), row.name("energy"), row.name("temp"));
        let mut window = Window::of(3).unwrap();
        for (tick, value) in [(7, 10.0), (8, 20.0), (9, 60.0)] {
            row.put(util, value);
            row.put_exact(energy, value);
            if tick == 8 {
                row.put(temp, 40.0);
            }
            window.take(tick, &mut row);
            assert_eq!(row.is_empty(), tick != 9);
        }
        let told: Vec<(&str, f64)> = row.iter().collect();
        assert_eq!(told, [("util", 30.0), ("energy", 60.0), ("temp", 40.0)]);
        row.truncate(0);
        row.put(util, 5.0);
        window.take(10, &mut row);
        window.end(&mut row);
        assert_eq!(row.iter().collect::<Vec<_>>(), [("util", 5.0)]);
    }

    #[test]
    fn a_window_of_one_tick_is_none() {
        assert!(Window::of(1).is_none());
    }
}
