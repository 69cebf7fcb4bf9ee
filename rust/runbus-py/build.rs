//! Builds the programs that the package carries, for this target: `runbus-wrap`, static, and
//! `runbus-sample`, which loads the libraries of drivers.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// Small.
const SETTINGS: [&str; 3] = [
    "profile.release.opt-level='s'",
    "profile.release.lto='fat'",
    "profile.release.strip=true",
];

/// A program, and what is told of a package without it.
struct Program {
    name: &'static str,
    package: &'static str,
    arguments: &'static [&'static str],
    flags: &'static str,
    without: &'static str,
}

const PROGRAMS: [Program; 2] = [
    Program {
        name: "runbus-wrap",
        package: "../runbus-wrap",
        // Without unwinding, and at a fixed place: what is relocated is memory of its own.
        arguments: &["--config", "profile.release.panic='abort'"],
        flags: "-Ctarget-feature=+crt-static\x1f-Crelocation-model=static",
        without: "jobs will run under the shell script",
    },
    Program {
        name: "runbus-sample",
        package: "../runbus-core",
        arguments: &["--no-default-features", "--bin=runbus-sample"],
        // A static program loads no libraries.
        flags: "-Ctarget-feature=-crt-static",
        without: "only jobs that call init() will be sampled",
    },
];

fn main() {
    for program in &PROGRAMS {
        println!("cargo::rerun-if-changed={}", program.package);
        program.build();
    }
}

impl Program {
    fn build(&self) {
        let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
        let carried = out.join(self.name);
        let target = env::var("TARGET").expect("cargo sets it");
        let built = Command::new(env::var_os("CARGO").expect("cargo sets it"))
            .args(["build", "--quiet", "--release", "--target", &target])
            .args(SETTINGS.iter().flat_map(|setting| ["--config", setting]))
            .args(self.arguments)
            .arg("--manifest-path")
            .arg(Path::new(self.package).join("Cargo.toml"))
            .arg("--target-dir")
            .arg(out.join("programs"))
            .env("CARGO_ENCODED_RUSTFLAGS", self.flags)
            // What a lint or a coverage tool puts around the compiler is not for these programs.
            .env_remove("RUSTC_WRAPPER")
            .env_remove("RUSTC_WORKSPACE_WRAPPER")
            .status();
        let folder = out.join("programs").join(&target).join("release");
        if built.is_ok_and(|status| status.success())
            && fs::copy(folder.join(self.name), &carried).is_ok()
        {
            return;
        }
        println!(
            "cargo::warning={} could not be built: {}",
            self.name, self.without
        );
        fs::write(carried, b"").expect("OUT_DIR can be written to");
    }
}
