//! The files that the fuzzer begins with.

use std::error::Error;
use std::fs;
use std::path::Path;

use runbus_core::journal::{BlobWriter, MetricWriter, Options, Steps};
use runbus_core::segment::seal;

/// Make them in `folder`.
pub(crate) fn make(folder: &Path) -> Result<(), Box<dyn Error>> {
    // Without a mapping a file is as long as what is in it.
    let options = Options {
        is_mapped: false,
        ..Options::default()
    };
    let mut events = BlobWriter::create(&folder.join("events"), options)?;
    for blob in [&b"{}"[..], &[0xFF; 100], b""] {
        events.append(blob)?;
    }
    for (name, steps) in [("short", 2), ("long", 40)] {
        let journal = folder.join(name);
        write(&journal, steps, options)?;
        fs::copy(&journal, folder.join(format!("{name}-journal")))?;
        seal(&journal)?;
    }
    Ok(())
}

fn write(path: &Path, steps: i64, options: Options) -> Result<(), Box<dyn Error>> {
    let mut writer = MetricWriter::create(path, options)?;
    let one = writer.layout(&["loss"])?;
    let three = writer.layout(&["loss", "größe", "lr"])?;
    for step in 0..steps {
        writer.log(&one, Some(step * step), step * 999, &[0.5])?;
        writer.log(&three, None, step, &[0.25, f64::NAN, -0.0])?;
    }
    let steps_of_two = Steps::Regular {
        first: 7,
        stride: 3,
    };
    let name = one.single().ok_or("there is room for a name")?;
    writer.extend(name, steps_of_two, 5, &[0.5, 1.5][..])?;
    let each = Steps::Each(&[3, -1, i64::MAX]);
    writer.extend(name, each, 5, &[0.5, 1.5, 2.5][..])?;
    writer.log_integer(Some(name), 8, 5, i64::MAX)?;
    if let Some(closing) = writer.close(1) {
        closing.complete()?;
    }
    Ok(())
}
