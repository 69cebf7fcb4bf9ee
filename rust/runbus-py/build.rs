//! Builds the wrapper program that the package carries: `runbus-wrap`, static, for this target.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Small, without unwinding, and at a fixed place: what is relocated is memory of its own.
const SETTINGS: [&str; 4] = [
    "profile.release.opt-level='s'",
    "profile.release.panic='abort'",
    "profile.release.lto='fat'",
    "profile.release.strip=true",
];
const FLAGS: &str = "-Ctarget-feature=+crt-static\x1f-Crelocation-model=static";

fn main() {
    let manifest = Path::new("../runbus-wrap/Cargo.toml");
    println!("cargo::rerun-if-changed=../runbus-wrap");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    let carried = out.join("runbus-wrap");
    let target = env::var("TARGET").expect("cargo sets it");
    let built = Command::new(env::var_os("CARGO").expect("cargo sets it"))
        .args(["build", "--quiet", "--release", "--target", &target])
        .args(SETTINGS.iter().flat_map(|setting| ["--config", setting]))
        .arg("--manifest-path")
        .arg(manifest)
        .arg("--target-dir")
        .arg(out.join("wrap"))
        .env("CARGO_ENCODED_RUSTFLAGS", FLAGS)
        // What a lint or a coverage tool puts around the compiler is not for this program.
        .env_remove("RUSTC_WRAPPER")
        .env_remove("RUSTC_WORKSPACE_WRAPPER")
        .status();
    let program = out.join("wrap").join(&target).join("release/runbus-wrap");
    if built.is_ok_and(|status| status.success()) && fs::copy(program, &carried).is_ok() {
        return;
    }
    // Where no static program can be linked, the shell script does the same job.
    println!("cargo::warning=runbus-wrap could not be built: jobs will run under the shell script");
    fs::write(carried, b"").expect("OUT_DIR can be written to");
}
