//! AMD's library of management.

use std::ffi::{CStr, OsStr, c_int};
use std::path::Path;

use libloading::Library;

use super::clocks;
use crate::sampler::getter::Trouble;
use crate::sampler::late::Loaded;

/// What the linker finds on a machine with `ROCm`: its runtime packages have only names with a version.
const USUAL: [&str; 4] = [
    "librocm_smi64.so",
    "librocm_smi64.so.1",
    "librocm_smi64.so.7",
    "librocm_smi64.so.6",
];

static LOADED: Loaded<Library> = Loaded::new();

/// What the functions return.
type Status = c_int;
type Of<T> = unsafe extern "C" fn(u32, *mut T) -> Status;
type Nth<N, T> = unsafe extern "C" fn(u32, N, *mut T) -> Status;
type Temperature = unsafe extern "C" fn(u32, u32, c_int, *mut i64) -> Status;
type Energy = unsafe extern "C" fn(u32, *mut u64, *mut f32, *mut u64) -> Status;

/// Whole as the library may write it: structures grew from version to version.
const ROOM: usize = 128;

/// Functions of the library by their names; one that an older version lacks is not supported.
#[derive(Clone, Copy)]
pub(super) struct Rocm(&'static Library);

impl Rocm {
    /// The library; that of the machine without a path.
    pub(super) fn load(path: Option<&Path>) -> Result<Self, Trouble> {
        match path {
            Some(path) => Self::load_one(path.as_os_str()),
            None => USUAL
                .iter()
                .find_map(|name| Self::load_one(OsStr::new(name)).ok())
                .ok_or_else(|| Trouble::NotSupported("no librocm_smi64".into())),
        }
    }

    fn load_one(path: &OsStr) -> Result<Self, Trouble> {
        LOADED.get(path, Self::open).map(Self)
    }

    fn open(path: &OsStr) -> Result<Library, Trouble> {
        // SAFETY: what the library does when it is loaded is its own affair, as it is for all its users.
        let library = unsafe { Library::new(path) }
            .map_err(|error| Trouble::NotSupported(error.to_string()))?;
        // SAFETY: the type is that of the header, here and below.
        let init = unsafe { library.get::<unsafe extern "C" fn(u64) -> Status>(b"rsmi_init") };
        let init = init.map_err(|error| Trouble::NotSupported(error.to_string()))?;
        // SAFETY: it takes no flags.
        told(unsafe { init(0) })?;
        Ok(library)
    }

    /// A function of this type.
    fn find<T: Copy>(self, name: &CStr) -> Result<T, Trouble> {
        // SAFETY: the callers name types of the header, and the library is never unloaded.
        let function = unsafe { self.0.get::<T>(name.to_bytes_with_nul()) };
        function
            .map(|function| *function)
            .map_err(|error| Trouble::NotSupported(error.to_string()))
    }

    /// How many devices there are.
    pub(super) fn count(self) -> Result<u32, Trouble> {
        let function: unsafe extern "C" fn(*mut u32) -> Status =
            self.find(c"rsmi_num_monitor_devices")?;
        let mut count = 0;
        // SAFETY: there is room for a number, here and below.
        told(unsafe { function(&raw mut count) })?;
        Ok(count)
    }

    /// A number of a device, by a function that has no other arguments.
    pub(super) fn of<T: Copy + Default>(self, name: &CStr, device: u32) -> Result<T, Trouble> {
        let function: Of<T> = self.find(name)?;
        let mut value = T::default();
        // SAFETY: as above.
        told(unsafe { function(device, &raw mut value) })?;
        Ok(value)
    }

    /// A number of a device, by a function that has one more argument: a sensor, or a kind of memory.
    pub(super) fn nth<N, T: Copy + Default>(
        self,
        name: &CStr,
        device: u32,
        number: N,
    ) -> Result<T, Trouble> {
        let function: Nth<N, T> = self.find(name)?;
        let mut value = T::default();
        // SAFETY: as above.
        told(unsafe { function(device, number, &raw mut value) })?;
        Ok(value)
    }

    /// The temperature of a sensor, in thousandths of a degree.
    pub(super) fn temperature(self, device: u32, sensor: u32) -> Result<i64, Trouble> {
        let function: Temperature = self.find(c"rsmi_dev_temp_metric_get")?;
        let mut value = 0;
        // SAFETY: as above; 0 asks for the temperature of now.
        told(unsafe { function(device, sensor, 0, &raw mut value) })?;
        Ok(value)
    }

    /// The energy counter, and its unit in microjoules.
    pub(super) fn energy(self, device: u32) -> Result<(u64, f32), Trouble> {
        let function: Energy = self.find(c"rsmi_dev_energy_count_get")?;
        let (mut count, mut unit, mut time) = (0, 0.0, 0);
        // SAFETY: as above.
        told(unsafe { function(device, &raw mut count, &raw mut unit, &raw mut time) })?;
        Ok((count, unit))
    }

    /// The frequency of a clock, in Hz.
    pub(super) fn clock(self, device: u32, kind: c_int) -> Result<u64, Trouble> {
        let function: Nth<c_int, u64> = self.find(c"rsmi_dev_gpu_clk_freq_get")?;
        let mut words = [0u64; ROOM];
        // SAFETY: the structure is smaller than this in all versions, and is aligned as its largest number is.
        told(unsafe { function(device, kind, words.as_mut_ptr()) })?;
        clocks::current(&words).ok_or_else(|| Trouble::Failed("no current frequency".into()))
    }

    /// Errors of a block that were corrected and that were not.
    pub(super) fn errors(self, device: u32, block: u64) -> Result<[u64; 2], Trouble> {
        let function: Nth<u64, u64> = self.find(c"rsmi_dev_ecc_count_get")?;
        let mut words = [0u64; ROOM];
        // SAFETY: as above.
        told(unsafe { function(device, block, words.as_mut_ptr()) })?;
        Ok([words[0], words[1]])
    }

    /// The bytes of a device's memory that a process has; none if it does not use the device.
    pub(super) fn memory_of(self, device: u32, process: u32) -> Result<Option<u64>, Trouble> {
        let function: Nth<u32, u64> = self.find(c"rsmi_compute_process_info_by_device_get")?;
        let mut words = [0u64; ROOM];
        // SAFETY: as above. This one has the process first.
        match told(unsafe { function(process, device, words.as_mut_ptr()) }) {
            // Two numbers of 32 bits, then bytes.
            Ok(()) => Ok(Some(words[1])),
            Err(Trouble::NotSupported(_)) => Ok(None),
            Err(trouble) => Err(trouble),
        }
    }
}

/// What a status means for the one who asked.
fn told(status: Status) -> Result<(), Trouble> {
    let text = |what: &str| format!("ROCm: {what} ({status})");
    match status {
        0 => Ok(()),
        1 => Err(Trouble::NotSupported(text("invalid arguments"))),
        2 | 9 => Err(Trouble::NotSupported(text("not supported"))),
        4 => Err(Trouble::NotSupported(text("no permission"))),
        10 => Err(Trouble::NotSupported(text("not found"))),
        // The number of a device that was there.
        7 => Err(Trouble::Lost(text("no such device"))),
        _ => Err(Trouble::Failed(text("failed"))),
    }
}
