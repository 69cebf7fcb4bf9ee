//! Disks and network: bytes a second, and how full the run's disk is.

use std::path::{Path, PathBuf};

use crate::os;
use crate::sampler::getter::{Getter, Moment, Tier, Trouble};
use crate::sampler::held::{Held, number};
use crate::sampler::rate::Rate;
use crate::sampler::row::{NameId, Row, float, percent};

/// The kernel counts sectors of this size, whatever the disk has.
const SECTOR_BYTES: u64 = 512;

/// Devices beyond so many are not counted.
const MOST_DEVICES: usize = 4096;

/// Bytes a second, of devices together: one that comes or goes does not count until it was seen twice.
#[derive(Default)]
struct Sum {
    /// In the order of the kernel's list, which rarely changes.
    devices: Vec<Device>,
    looks: u64,
}

struct Device {
    name: Box<[u8]>,
    rates: [Rate; 2],
    look: u64,
}

impl Sum {
    fn per_second<'a>(
        &mut self,
        counts: impl Iterator<Item = (&'a [u8], u64, u64)>,
        at_ns: u64,
    ) -> Option<(f64, f64)> {
        self.looks += 1;
        let (mut place, mut sum) = (0, None);
        for (name, read, written) in counts.take(MOST_DEVICES) {
            let device = self.device(name, place);
            let [reads, writes] = &mut device.rates;
            let read = reads.per_second(read, at_ns);
            let written = writes.per_second(written, at_ns);
            if let (Some(read), Some(written)) = (read, written) {
                let (reads, writes) = sum.unwrap_or((0.0, 0.0));
                sum = Some((reads + read, writes + written));
            }
            place += 1;
        }
        let looks = self.looks;
        self.devices.retain(|device| device.look == looks);
        sum
    }

    /// The device of a name, which is most often where it was before.
    fn device(&mut self, name: &[u8], place: usize) -> &mut Device {
        let is_it = |device: &Device| *device.name == *name;
        let found = if self.devices.get(place).is_some_and(is_it) {
            Some(place)
        } else {
            self.devices.iter().position(is_it)
        };
        let index = found.unwrap_or_else(|| {
            self.devices.push(Device {
                name: name.into(),
                rates: Default::default(),
                look: 0,
            });
            self.devices.len() - 1
        });
        // The kernel's order is kept, so that the next look finds it at once.
        let place = place.min(index);
        self.devices.swap(place, index);
        let device = &mut self.devices[place];
        device.look = self.looks;
        device
    }
}

/// The columns of a line.
fn columns(line: &[u8]) -> impl Iterator<Item = &[u8]> {
    line.split(u8::is_ascii_whitespace)
        .filter(|column| !column.is_empty())
}

fn lines(bytes: &[u8]) -> impl Iterator<Item = &[u8]> {
    bytes.split(|byte| *byte == b'\n')
}

/// Which disks there are is asked again after so many readings.
const LOOK_READINGS: u32 = 64;

/// What all disks read and write.
pub(super) struct Disks {
    /// All disks and their parts: the kernel asks each what it is about, which takes long where there are many.
    list: Held,
    /// Where each disk has a file of its own.
    blocks: PathBuf,
    /// The whole disks.
    whole: Vec<Disk>,
    readings: u32,
    sum: Sum,
    names: [NameId; 2],
}

struct Disk {
    name: Box<[u8]>,
    /// None where the system does not show it.
    stat: Option<Held>,
}

impl Disks {
    pub(super) fn new(proc: &Path, sys: &Path, row: &mut Row) -> Self {
        Self {
            list: Held::new(proc.join("diskstats")),
            blocks: sys.join("block"),
            whole: Vec::new(),
            readings: 0,
            sum: Sum::default(),
            names: ["disk/read", "disk/write"].map(|name| row.name(name)),
        }
    }

    /// Have files for the disks that there are now.
    fn look(&mut self) -> Result<(), Trouble> {
        let bytes = self.list.get()?;
        let all: Vec<&[u8]> = lines(bytes).filter_map(disk_name).collect();
        let whole = all.iter().filter(|name| is_whole(name, &all));
        if whole
            .clone()
            .copied()
            .eq(self.whole.iter().map(|disk| &*disk.name))
        {
            return Ok(());
        }
        let disk = |name: &&[u8]| {
            // As sysfs has it.
            let folder = String::from_utf8_lossy(name).replace('/', "!");
            let path = self.blocks.join(folder).join("stat");
            Disk {
                name: (*name).into(),
                stat: path.exists().then(|| Held::new(path)),
            }
        };
        self.whole = whole.take(MOST_DEVICES).map(disk).collect();
        Ok(())
    }
}

impl Getter for Disks {
    fn name(&self) -> &'static str {
        "disks"
    }

    fn tier(&self) -> Tier {
        Tier::Fast
    }

    fn read(&mut self, now: Moment, row: &mut Row) -> Result<(), Trouble> {
        if self.readings.is_multiple_of(LOOK_READINGS) {
            self.look()?;
        }
        self.readings = self.readings.wrapping_add(1);
        let at = now.monotonic_ns;
        let sum = if self.whole.iter().all(|disk| disk.stat.is_some()) {
            let counts = self.whole.iter_mut().filter_map(|disk| {
                let bytes = disk.stat.as_mut()?.read().ok()?;
                let (read, written) = transferred(columns(bytes))?;
                Some((&*disk.name, read, written))
            });
            self.sum.per_second(counts, at)
        } else {
            let whole = &self.whole;
            let counts = lines(self.list.get()?).filter_map(disk_counts);
            let counts = counts.filter(|(name, ..)| whole.iter().any(|disk| *disk.name == **name));
            self.sum.per_second(counts, at)
        };
        if let Some((read, written)) = sum {
            row.put(self.names[0], read);
            row.put(self.names[1], written);
        }
        Ok(())
    }
}

/// The third column of a line: numbers, a name, counts.
fn disk_name(line: &[u8]) -> Option<&[u8]> {
    columns(line).nth(2)
}

/// The name, and the bytes that were read and written.
fn disk_counts(line: &[u8]) -> Option<(&[u8], u64, u64)> {
    let mut columns = columns(line).skip(2);
    let name = columns.next()?;
    let (read, written) = transferred(columns)?;
    Some((name, read, written))
}

/// The bytes that were read and written, of the counts of a disk.
fn transferred<'a>(mut counts: impl Iterator<Item = &'a [u8]>) -> Option<(u64, u64)> {
    let mut sectors = |skipped| Some(number(counts.nth(skipped)?)?.saturating_mul(SECTOR_BYTES));
    Some((sectors(2)?, sectors(3)?))
}

/// Whether bytes of this disk are counted for no other: it is neither a part of one nor made of others.
fn is_whole(name: &[u8], all: &[&[u8]]) -> bool {
    let made: [&[u8]; 5] = [b"loop", b"ram", b"zram", b"dm-", b"md"];
    if made.iter().any(|start| name.starts_with(start)) {
        return false;
    }
    let digits = name.iter().rev().take_while(|byte| byte.is_ascii_digit());
    let stem = &name[..name.len() - digits.count()];
    let is_part = |whole: &[u8]| whole.len() < name.len() && all.contains(&whole);
    !is_part(stem) && !stem.strip_suffix(b"p").is_some_and(is_part)
}

/// What all network cards receive and send.
pub(super) struct Network {
    devices: Held,
    sum: Sum,
    names: [NameId; 2],
}

impl Network {
    pub(super) fn new(proc: &Path, row: &mut Row) -> Self {
        Self {
            devices: Held::new(proc.join("net/dev")),
            sum: Sum::default(),
            names: ["net/recv", "net/sent"].map(|name| row.name(name)),
        }
    }
}

impl Getter for Network {
    fn name(&self) -> &'static str {
        "network"
    }

    fn tier(&self) -> Tier {
        Tier::Fast
    }

    fn read(&mut self, now: Moment, row: &mut Row) -> Result<(), Trouble> {
        let counts = lines(self.devices.get()?).filter_map(card_counts);
        let counts = counts.filter(|(name, ..)| !is_of_others(name));
        if let Some((received, sent)) = self.sum.per_second(counts, now.monotonic_ns) {
            row.put(self.names[0], received);
            row.put(self.names[1], sent);
        }
        Ok(())
    }
}

/// The name, and the bytes that were received and sent: `eth0: 1 2 3 4 5 6 7 8 9 …`.
fn card_counts(line: &[u8]) -> Option<(&[u8], u64, u64)> {
    // An alias has a colon in its name.
    let colon = line.iter().rposition(|byte| *byte == b':')?;
    let mut counts = columns(&line[colon + 1..]);
    let (received, sent) = (number(counts.next()?)?, number(counts.nth(7)?)?);
    Some((line[..colon].trim_ascii(), received, sent))
}

/// Whether what goes through an interface stays in the machine, or goes through another one, too.
fn is_of_others(name: &[u8]) -> bool {
    let starts: [&[u8]; 9] = [
        b"veth", b"docker", b"br-", b"virbr", b"bond", b"team", b"cni", b"flannel", b"cali",
    ];
    name == b"lo" || starts.iter().any(|start| name.starts_with(start))
}

/// How full the disk is that a folder lies on.
pub(super) struct Usage {
    folder: PathBuf,
    names: [NameId; 2],
}

impl Usage {
    pub(super) fn new(folder: PathBuf, row: &mut Row) -> Self {
        Self {
            folder,
            names: ["disk/free", "disk/used"].map(|name| row.name(name)),
        }
    }
}

impl Getter for Usage {
    fn name(&self) -> &'static str {
        "disk usage"
    }

    fn tier(&self) -> Tier {
        Tier::Slow
    }

    fn read(&mut self, _now: Moment, row: &mut Row) -> Result<(), Trouble> {
        let space = os::space(&self.folder)
            .map_err(|error| Trouble::Failed(format!("{}: {error}", self.folder.display())))?;
        row.put(self.names[0], float(space.free));
        // As df has it: what is kept for root is neither used nor free.
        let used = space.total.saturating_sub(space.unused);
        row.put_some(
            self.names[1],
            percent(used, used.saturating_add(space.free)),
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_counted_once() {
        let all = [
            "sda",
            "sda1",
            "sda12",
            "nvme0n1",
            "nvme0n1p2",
            "vda",
            "vda1",
            "dm-0",
            "md127",
            "loop3",
            "mmcblk0",
            "mmcblk0p1",
            "xvda1",
            "sdaa",
        ];
        let bytes = all.map(str::as_bytes);
        let mut whole: Vec<&str> = all
            .into_iter()
            .filter(|name| is_whole(name.as_bytes(), &bytes))
            .collect();
        whole.sort_unstable();
        assert_eq!(whole, ["mmcblk0", "nvme0n1", "sda", "sdaa", "vda", "xvda1"]);
        let cards = ["lo", "eth0", "docker0", "veth12", "ib0", "bond0", "enp3s0"];
        let own: Vec<&str> = cards
            .into_iter()
            .filter(|name| !is_of_others(name.as_bytes()))
            .collect();
        assert_eq!(own, ["eth0", "ib0", "enp3s0"]);
    }

    #[test]
    fn a_device_that_comes_does_not_make_a_spike() {
        let mut sum = Sum::default();
        let one = |count| [(&b"a"[..], count, 0)].into_iter();
        let two = |count| [(&b"b"[..], 1 << 50, 7), (&b"a"[..], count, 0)].into_iter();
        assert_eq!(sum.per_second(one(0), 0), None);
        assert_eq!(sum.per_second(two(10), 1_000_000_000), Some((10.0, 0.0)));
        assert_eq!(sum.per_second(two(20), 2_000_000_000), Some((10.0, 0.0)));
        assert_eq!(sum.per_second(one(30), 3_000_000_000), Some((10.0, 0.0)));
        assert_eq!(sum.devices.len(), 1);
    }

    #[test]
    fn lines_of_the_kernel_are_read_and_others_left_out() {
        let disk = b" 259  0 nvme0n1 11 0 22 0 33 0 44 0 0 5 5 0 0 0 0 0 0";
        assert_eq!(
            disk_counts(disk),
            Some((&b"nvme0n1"[..], 22 * 512, 44 * 512))
        );
        let card = b"  eth0:1:  10 1 0 0 0 0 0 0   20 2 0 0 0 0 0 0";
        assert_eq!(card_counts(card), Some((&b"eth0:1"[..], 10, 20)));
        for line in [
            &b""[..],
            b"Inter-|   Receive",
            b" face |bytes packets",
            b"259 0 sda 1 2",
        ] {
            assert_eq!(disk_counts(line), None);
            assert_eq!(card_counts(line), None);
        }
    }
}
