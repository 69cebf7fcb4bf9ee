//! Arrays of numbers, without numpy or torch: by the buffer protocol or `DLPack`.

use std::ffi::{CStr, c_void};
use std::ops::Range;

use pyo3::exceptions::{PyBufferError, PyOverflowError, PyTypeError};
use pyo3::ffi;
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyRange, PyTuple, PyType};
use runbus_core::integer::joined;
use runbus_core::journal::{Form, Values};

use super::integers::exact;
use super::numbers::{Called, Value, all_known, masked_as_nan, value_of};
use super::on_device::CPU_DEVICES;
use crate::text::type_name;

/// What the elements are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Element {
    F64,
    F32,
    F16,
    Bf16,
    Signed(u8),
    Unsigned(u8),
    Bool,
}

impl Element {
    /// By a format of the `struct` module, in the machine's byte order.
    fn of_format(format: &[u8], bytes: usize) -> Option<Self> {
        let code = match format {
            [code] | [b'@' | b'=', code] => *code,
            [b'<', code] if cfg!(target_endian = "little") => *code,
            [b'>' | b'!', code] if cfg!(target_endian = "big") => *code,
            _ => return None,
        };
        let size = u8::try_from(bytes).ok()?;
        Some(match code {
            b'd' => Self::F64,
            b'f' => Self::F32,
            b'e' => Self::F16,
            b'b' | b'h' | b'i' | b'l' | b'q' | b'n' => Self::Signed(size),
            b'B' | b'H' | b'I' | b'L' | b'Q' | b'N' => Self::Unsigned(size),
            b'?' => Self::Bool,
            _ => return None,
        })
    }

    fn of_dlpack(code: u8, bits: u8) -> Option<Self> {
        Some(match (code, bits) {
            (0, 8 | 16 | 32 | 64) => Self::Signed(bits / 8),
            (1, 8 | 16 | 32 | 64) => Self::Unsigned(bits / 8),
            (6, 8) => Self::Bool,
            (2, 64) => Self::F64,
            (2, 32) => Self::F32,
            (2, 16) => Self::F16,
            (4, 16) => Self::Bf16,
            _ => return None,
        })
    }

    fn bytes(self) -> isize {
        match self {
            Self::F64 => 8,
            Self::F32 => 4,
            Self::F16 | Self::Bf16 => 2,
            Self::Signed(bytes) | Self::Unsigned(bytes) => bytes.into(),
            Self::Bool => 1,
        }
    }
}

/// Keeps the memory of an array in place.
enum Owner<'py> {
    View(Box<ffi::Py_buffer>),
    /// Its destructor lets go of the tensor.
    Capsule {
        _capsule: Bound<'py, PyAny>,
    },
    Doubles {
        _values: Vec<f64>,
    },
    Integers {
        _values: Vec<i64>,
    },
}

impl Drop for Owner<'_> {
    fn drop(&mut self) {
        if let Self::View(view) = self {
            // SAFETY: filled by PyObject_GetBuffer, released once, and the GIL is held ('py).
            unsafe { ffi::PyBuffer_Release(&raw mut **view) };
        }
    }
}

/// An array whose numbers lie as no other array's do, as one of numpy's usual: of the narrow types of
/// `ml_dtypes`, such as JAX's bfloat16, of longer floats than doubles, or in another byte order.
fn made_usual<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = object.py();
    let Some(dtype) = object.getattr_opt(intern!(py, "dtype"))? else {
        return Ok(None);
    };
    let class = dtype.getattr_opt(intern!(py, "type"))?;
    let Some(class) = class.and_then(|class| class.cast_into::<PyType>().ok()) else {
        return Ok(None);
    };
    let usual = if class.module()? == "ml_dtypes" || class.name()? == "longdouble" {
        "float64".into_pyobject(py)?.into_any()
    } else if let Some(is_native) = dtype.getattr_opt(intern!(py, "isnative"))?
        && !is_native.is_truthy()?
    {
        dtype.call_method1(intern!(py, "newbyteorder"), ("=",))?
    } else {
        return Ok(None);
    };
    let array = py
        .import(intern!(py, "numpy"))?
        .call_method1(intern!(py, "asarray"), (object,))?;
    array
        .call_method1(intern!(py, "astype"), (usual,))
        .map(Some)
}

/// What an array of Python's objects holds, as a list: also a column that numpy makes such an array of.
fn as_list<'py>(object: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = object.py();
    let has_buffer = {
        // SAFETY: a live object and the GIL; only the slots of its type are looked at.
        unsafe { ffi::PyObject_CheckBuffer(object.as_ptr()) != 0 }
    };
    let array = if has_buffer {
        object.clone()
    } else if object.hasattr(intern!(py, "__array__"))?
        && !object.hasattr(intern!(py, "__dlpack__"))?
    {
        let numpy = py.import(intern!(py, "numpy"))?;
        numpy.call_method1(intern!(py, "asarray"), (object,))?
    } else {
        return Ok(None);
    };
    let Some(dtype) = array.getattr_opt(intern!(py, "dtype"))? else {
        return Ok(None);
    };
    let kind = dtype.getattr_opt(intern!(py, "kind"))?;
    let is_of_objects = kind.is_some_and(|kind| kind.eq("O").unwrap_or(false));
    if !is_of_objects || array.getattr(intern!(py, "ndim"))?.ne(1)? {
        return Ok(None);
    }
    array.call_method0(intern!(py, "tolist")).map(Some)
}

/// One dimension of numbers, which stays where it is as long as this value lives.
pub(crate) struct Array<'py> {
    start: *const u8,
    count: usize,
    /// Bytes from each element to the next.
    stride: isize,
    element: Element,
    _owner: Owner<'py>,
}

/// What many values came as.
pub(crate) enum Elements<'py> {
    /// Of one type.
    Array(Array<'py>),
    /// Integers beyond doubles among doubles, or integers beyond 64 bits.
    Mixed(Vec<Value>),
}

impl<'py> Elements<'py> {
    /// The elements of an array, a tensor of the CPU, or a list, tuple or range of numbers.
    pub(crate) fn of(what: &str, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let is_sequence = object.is_instance_of::<PyList>()
            || object.is_instance_of::<PyTuple>()
            || object.is_instance_of::<PyRange>();
        let list = if is_sequence { None } else { as_list(object)? };
        if !is_sequence && list.is_none() {
            return Array::of(what, object).map(Self::Array);
        }
        let numbers = list.as_ref().unwrap_or(object).try_iter()?.enumerate();
        let numbers = numbers.map(|(place, item)| value_of(Called::Element(what, place), &item?));
        let values = numbers.collect::<PyResult<Vec<Value>>>()?;
        if let Some(doubles) = all_known(&values) {
            return Ok(Self::Array(Array::of_doubles(doubles)));
        }
        let integers = values.iter().map(|value| match value {
            Value::Integer(integer) => Some(*integer),
            Value::Known(double) => joined(*double, 0),
            Value::Rounded(_) | Value::OnDevice(_) => None,
        });
        Ok(match integers.collect() {
            Some(integers) => Self::Array(Array::of_integers(integers)),
            None => Self::Mixed(values),
        })
    }
}

impl<'py> Array<'py> {
    /// An array or a tensor of the CPU.
    pub(crate) fn of(what: &str, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let object = &masked_as_nan(object)
            .map_err(|cause| refused(what, object.py(), cause))?
            .unwrap_or_else(|| object.clone());
        let array = if let Some(usual) = made_usual(object)? {
            Self::of_buffer(what, &usual)?.ok_or_else(|| not_an_array(what, object))?
        } else if let Some(array) = Self::of_buffer(what, object)? {
            array
        } else if object.hasattr(intern!(object.py(), "__dlpack__"))?
            // Columns of Arrow have nulls, which DLPack does not know and numpy makes NaN of.
            && !object.hasattr(intern!(object.py(), "__arrow_c_array__"))?
        {
            Self::of_dlpack(what, &without_gradient(object)?)?
        } else if object.hasattr(intern!(object.py(), "__array__"))?
            || object.hasattr(intern!(object.py(), "__array_interface__"))?
        {
            // Columns of pandas and polars, pictures: all come with numpy.
            let numpy = object.py().import(intern!(object.py(), "numpy"))?;
            let array = numpy.call_method1(intern!(object.py(), "asarray"), (object,))?;
            Self::of_buffer(what, &array)?.ok_or_else(|| not_an_array(what, object))?
        } else {
            return Err(not_an_array(what, object));
        };
        Ok(array)
    }

    fn of_doubles(values: Vec<f64>) -> Self {
        Self {
            start: values.as_ptr().cast(),
            count: values.len(),
            stride: 8,
            element: Element::F64,
            _owner: Owner::Doubles { _values: values },
        }
    }

    fn of_integers(values: Vec<i64>) -> Self {
        Self {
            start: values.as_ptr().cast(),
            count: values.len(),
            stride: 8,
            element: Element::Signed(8),
            _owner: Owner::Integers { _values: values },
        }
    }

    fn of_buffer(what: &str, object: &Bound<'py, PyAny>) -> PyResult<Option<Self>> {
        // SAFETY: a live object and the GIL; the view is filled or an error set.
        let view = unsafe {
            if ffi::PyObject_CheckBuffer(object.as_ptr()) == 0 {
                return Ok(None);
            }
            let mut view = Box::new(ffi::Py_buffer::new());
            let flags = ffi::PyBUF_FORMAT | ffi::PyBUF_STRIDES;
            if ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut *view, flags) != 0 {
                // Of dates, say: numpy gives none of their bytes.
                return Err(refused(what, object.py(), PyErr::fetch(object.py())));
            }
            view
        };
        // From here on the view is released whatever happens.
        let owner = Owner::View(view);
        let Owner::View(view) = &owner else {
            return Ok(None);
        };
        let bytes = view.itemsize.unsigned_abs();
        let format = if view.format.is_null() {
            &b"B"[..]
        } else {
            // SAFETY: the exporter gives a text that ends with a zero and lives with the view.
            unsafe { CStr::from_ptr(view.format) }.to_bytes()
        };
        let Some(element) = Element::of_format(format, bytes) else {
            let format = String::from_utf8_lossy(format);
            return Err(PyTypeError::new_err(format!(
                "{what}: elements of format '{format}' are no numbers of this machine"
            )));
        };
        one_dimension(what, view.ndim.into())?;
        // SAFETY: with strides asked for, shape and strides have one entry a dimension.
        let (count, stride) = unsafe { (*view.shape, *view.strides) };
        Ok(Some(Self {
            start: view.buf.cast::<u8>().cast_const(),
            count: count.unsigned_abs(),
            stride,
            element,
            _owner: owner,
        }))
    }

    fn of_dlpack(what: &str, object: &Bound<'py, PyAny>) -> PyResult<Self> {
        let py = object.py();
        let capsule = object.call_method0(intern!(py, "__dlpack__"));
        let capsule = capsule.map_err(|cause| refused(what, py, cause))?;
        // SAFETY: by the protocol the capsule of this name holds a managed tensor, and its
        // destructor frees it: we neither rename it nor keep the pointer longer than the capsule.
        let tensor = unsafe {
            let pointer = ffi::PyCapsule_GetPointer(capsule.as_ptr(), c"dltensor".as_ptr());
            pointer.cast::<DlTensor>().as_ref()
        };
        let Some(tensor) = tensor else {
            return Err(PyErr::fetch(py));
        };
        if !CPU_DEVICES.contains(&tensor.device_type) {
            return Err(PyTypeError::new_err(format!(
                "{what}: the tensor is not in the memory of the CPU; copy it there first"
            )));
        }
        one_dimension(what, tensor.dimensions.into())?;
        let element = Element::of_dlpack(tensor.code, tensor.bits)
            .filter(|_| tensor.lanes == 1)
            .ok_or_else(|| {
                PyTypeError::new_err(format!("{what}: the tensor's elements are no real numbers"))
            })?;
        // SAFETY: one dimension, so one length and, unless NULL, one stride; both in elements.
        let (count, stride) = unsafe { (*tensor.shape, tensor.strides.as_ref().map_or(1, |s| *s)) };
        let too_large = |_| PyBufferError::new_err(format!("{what}: the tensor is too large"));
        let offset = usize::try_from(tensor.byte_offset).map_err(too_large)?;
        Ok(Self {
            start: tensor.data.cast::<u8>().wrapping_add(offset).cast_const(),
            count: usize::try_from(count).map_err(too_large)?,
            stride: isize::try_from(stride).map_err(too_large)? * element.bytes(),
            element,
            _owner: Owner::Capsule { _capsule: capsule },
        })
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// Each element of a range, in turn.
    #[inline]
    fn each<T: Copy>(&self, range: Range<usize>, mut visit: impl FnMut(usize, T)) {
        assert!(range.end <= self.count, "within the array");
        for (place, index) in range.enumerate() {
            // SAFETY: the index is within the array by the assertion, the exporter vouches for
            // shape and strides, and `T` is the type of the elements by the callers' match.
            visit(place, unsafe {
                let element = self.start.offset(self.stride * index.cast_signed());
                element.cast::<T>().read_unaligned()
            });
        }
    }

    /// The bits of the doubles that a range of elements is, or that are nearest to it.
    #[allow(clippy::cast_precision_loss, reason = "where `form` says so")]
    fn doubles(&self, range: Range<usize>, place: &mut [u64]) {
        assert_eq!(range.len(), place.len());
        let mut put = |index: usize, value: f64| place[index] = value.to_bits().to_le();
        match self.element {
            Element::F64 => self.each(range, put),
            Element::F32 => self.each(range, |i, v: f32| put(i, v.into())),
            Element::F16 => self.each(range, |i, v| put(i, half(v))),
            Element::Bf16 => {
                self.each(range, |i, v: u16| {
                    put(i, f32::from_bits(u32::from(v) << 16).into());
                });
            }
            Element::Signed(_) | Element::Unsigned(_) => {
                self.integers(range, |i, v| put(i, v as f64));
            }
            // Not as `bool`: the maker of the array vouches for one byte, not for its value.
            Element::Bool => self.each(range, |i, v: u8| put(i, f64::from(u8::from(v != 0)))),
        }
    }

    fn integers(&self, range: Range<usize>, mut visit: impl FnMut(usize, i128)) {
        match self.element {
            Element::Signed(1) => self.each(range, |i, v: i8| visit(i, v.into())),
            Element::Signed(2) => self.each(range, |i, v: i16| visit(i, v.into())),
            Element::Signed(4) => self.each(range, |i, v: i32| visit(i, v.into())),
            Element::Signed(_) => self.each(range, |i, v: i64| visit(i, v.into())),
            Element::Unsigned(1) => self.each(range, |i, v: u8| visit(i, v.into())),
            Element::Unsigned(2) => self.each(range, |i, v: u16| visit(i, v.into())),
            Element::Unsigned(4) => self.each(range, |i, v: u32| visit(i, v.into())),
            Element::Unsigned(_) => self.each(range, |i, v: u64| visit(i, v.into())),
            _ => {}
        }
    }

    /// Whether some elements are integers that neither doubles nor 64 bits with a sign hold.
    pub(crate) fn is_rounded(&self) -> bool {
        let mut is_rounded = false;
        if self.element == Element::Unsigned(8) {
            self.integers(0..self.count, |_, value| {
                let zeros = value.leading_zeros() + value.trailing_zeros();
                is_rounded |= value > i64::MAX.into() && u128::BITS - zeros > f64::MANTISSA_DIGITS;
            });
        }
        is_rounded
    }

    /// The elements as steps.
    pub(crate) fn steps(&self) -> PyResult<Vec<i64>> {
        if !matches!(self.element, Element::Signed(_) | Element::Unsigned(_)) {
            return Err(PyTypeError::new_err("steps must be ints"));
        }
        let mut steps = vec![0; self.count];
        let mut is_too_large = false;
        self.integers(0..self.count, |index, value| match i64::try_from(value) {
            Ok(step) => steps[index] = step,
            Err(_) => is_too_large = true,
        });
        if is_too_large {
            return Err(PyOverflowError::new_err("steps must fit into 64 bits"));
        }
        Ok(steps)
    }
}

impl Values for Array<'_> {
    fn count(&self) -> usize {
        self.count
    }

    /// Exactly, if 64 bits hold them.
    fn form(&self, range: Range<usize>) -> Form {
        let (mut are_doubles, mut fit) = (true, true);
        if matches!(self.element, Element::Signed(8) | Element::Unsigned(8)) {
            self.integers(range, |_, value| match i64::try_from(value) {
                Ok(value) => are_doubles &= exact(value).is_some(),
                Err(_) => fit = false,
            });
        }
        if are_doubles || !fit {
            Form::Doubles
        } else {
            Form::Integers
        }
    }

    fn ready(&self, range: Range<usize>, form: Form) -> Option<&[[u8; 8]]> {
        let is_ready = matches!(
            (self.element, form),
            (Element::F64, Form::Doubles) | (Element::Signed(8), Form::Integers)
        );
        if !is_ready || self.stride != 8 || cfg!(target_endian = "big") {
            return None;
        }
        assert!(
            range.start <= range.end && range.end <= self.count,
            "within the array"
        );
        // SAFETY: the range lies within the array, whose elements lie one behind the other, and which
        // stays where it is.
        Some(unsafe {
            std::slice::from_raw_parts(self.start.add(range.start * 8).cast(), range.len())
        })
    }

    fn put(&self, range: Range<usize>, form: Form, place: &mut [u64]) {
        match form {
            Form::Doubles => self.doubles(range, place),
            Form::Integers => self.integers(range, |index, value| {
                // As `form` says they fit.
                place[index] = i64::try_from(value)
                    .unwrap_or(i64::MAX)
                    .cast_unsigned()
                    .to_le();
            }),
        }
    }
}

/// The object's own error becomes the cause of one that says what it is about.
fn refused(what: &str, py: Python<'_>, cause: PyErr) -> PyErr {
    let error = PyTypeError::new_err(format!("{what}: {}", cause.value(py)));
    error.set_cause(py, Some(cause));
    error
}

fn not_an_array(what: &str, object: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!(
        "{what} must be an array of numbers, not {}",
        type_name(object)
    ))
}

/// A tensor that needs a gradient does not give its memory away; without it, it does.
fn without_gradient<'py>(object: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = object.py();
    let needs = object.getattr_opt(intern!(py, "requires_grad"))?;
    if needs.is_some_and(|needs| needs.is_truthy().unwrap_or(false)) {
        return object.call_method0(intern!(py, "detach"));
    }
    Ok(object.clone())
}

fn one_dimension(what: &str, dimensions: i64) -> PyResult<()> {
    if dimensions == 1 {
        return Ok(());
    }
    Err(PyTypeError::new_err(format!(
        "{what} must have one dimension, not {dimensions}"
    )))
}

/// A half-precision float as a double.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (bits >> 10 & 0x1F, bits & 0x3FF);
    let magnitude = match exponent {
        0 => f64::from(fraction) * 2.0_f64.powi(-24),
        // The bits of a NaN are kept where numpy keeps them.
        31 => f64::from_bits(0x7FF0 << 48 | u64::from(fraction) << 42),
        _ => f64::from(fraction + 0x400) * 2.0_f64.powi(i32::from(exponent) - 25),
    };
    f64::from_bits(magnitude.to_bits() | u64::from(bits >> 15) << 63)
}

/// The start of a `DLManagedTensor` of `DLPack` before version 1, which every exporter still gives.
#[repr(C)]
struct DlTensor {
    data: *mut c_void,
    device_type: i32,
    device_id: i32,
    dimensions: i32,
    code: u8,
    bits: u8,
    lanes: u16,
    shape: *const i64,
    strides: *const i64,
    byte_offset: u64,
}
