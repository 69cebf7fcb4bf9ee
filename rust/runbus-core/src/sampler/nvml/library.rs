//! The driver's library.

use std::ffi::{OsStr, c_uint, c_void};
use std::path::Path;

use libloading::Library;
use nvml_wrapper::error::{NvmlError, nvml_try};
use nvml_wrapper::{Device, Nvml};

use crate::sampler::getter::Trouble;
use crate::sampler::late::Loaded;

static LOADED: Loaded<Driver> = Loaded::new();

/// What the linker finds on a machine with the driver.
const USUAL: &str = "libnvidia-ml.so.1";

type InstanceOf = unsafe extern "C" fn(*mut c_void, *mut c_uint) -> c_uint;

/// The driver.
pub(super) struct Driver {
    pub(super) nvml: Nvml,
    /// Which instance a handle is of: the one function that the wrapper does not have.
    instance_of: Option<InstanceOf>,
}

impl Driver {
    fn open(path: &OsStr) -> Result<Self, NvmlError> {
        let nvml = Nvml::builder().lib_path(path).init()?;
        // SAFETY: it is loaded already, and stays so: this counts one more user of it.
        let library = unsafe { Library::new(path) }?;
        // SAFETY: the type is that of the driver's header, and the library is never unloaded.
        let instance_of = unsafe { library.get::<InstanceOf>(b"nvmlDeviceGetGpuInstanceId") };
        let instance_of = instance_of.ok().map(|function| *function);
        std::mem::forget(library);
        Ok(Self { nvml, instance_of })
    }

    /// The number of the instance that a device is a part of.
    pub(super) fn instance_of(&self, device: &Device<'static>) -> Result<u32, NvmlError> {
        let instance_of = self.instance_of.ok_or(NvmlError::NotSupported)?;
        let mut number = 0;
        // SAFETY: the handle is of this driver, and there is room for a number.
        nvml_try(unsafe { instance_of(device.handle().cast(), &raw mut number) })?;
        Ok(number)
    }
}

/// The driver; that of the machine without a path.
pub(super) fn load(path: Option<&Path>) -> Result<&'static Driver, NvmlError> {
    let path = path.map_or(OsStr::new(USUAL), Path::as_os_str);
    LOADED.get(path, Driver::open)
}

/// What an error of the driver means for the one who asked.
pub(super) fn trouble(error: &NvmlError) -> Trouble {
    let text = error.to_string();
    match error {
        NvmlError::GpuLost | NvmlError::ResetRequired => Trouble::Lost(text),
        NvmlError::NotSupported
        | NvmlError::FailedToLoadSymbol(_)
        | NvmlError::FunctionNotFound
        | NvmlError::NoPermission
        | NvmlError::InvalidArg => Trouble::NotSupported(text),
        _ => Trouble::Failed(text),
    }
}
