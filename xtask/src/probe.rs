//! Compiles all components together without std (I1): for a machine without operating system, and into one
//! WebAssembly module that must not import anything. What has no import cannot ask for the time.
//!
//! The probe is a package of its own, generated under `target/` so that features which the rest of the
//! workspace switches on cannot leak into it; its sources are in `xtask/probe/`. Each proof is followed by a
//! plant: the same build with std, or with an import, which must be noticed.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use crate::report::Failure;
use crate::tree::{Place, Tree, cargo};
use crate::wasm;

const TARGET: &str = "wasm32-unknown-unknown";

/// The component crates compile without std, and the check notices std.
pub(crate) fn nostd(tree: &Tree) -> Result<(), Failure> {
    let probe = Probe::generate(tree)?;
    probe.cargo(&["check"])?;
    // The language item is then defined twice: by std, and by the panic handler of the probe.
    let planted = probe.output(&["check", "--features", "planted-std"])?;
    let message = String::from_utf8_lossy(&planted.stderr);
    if planted.status.success() || !message.contains("E0152") {
        let message = format!("std was planted and not noticed\n{message}");
        return Err(Failure::Blind { check: "nostd", message });
    }
    println!("nostd: {} crates compile without std", probe.crates.len());
    Ok(())
}

/// One module with every component in it imports nothing, and the check notices an import.
pub(crate) fn wasm(tree: &Tree) -> Result<(), Failure> {
    let probe = Probe::generate(tree)?;
    let module = probe.module(&["build", "--target", TARGET])?;
    if let Some(name) = probe.crates.iter().find(|name| !module.names.contains(&name.replace('-', "_"))) {
        let message = format!("nothing of {name} is linked; call something of it in xtask/probe/");
        return Err(Failure::Blind { check: "wasm", message });
    }
    for import in &module.imports {
        println!("{TARGET}: imports {import}");
    }
    if !module.imports.is_empty() {
        return Err(Failure::Violations { check: "wasm", count: module.imports.len() });
    }
    let planted = probe.module(&["build", "--target", TARGET, "--features", "planted-import"])?;
    if planted.imports != ["env.planted"] {
        let message = format!("an import was planted and these were seen: {:?}", planted.imports);
        return Err(Failure::Blind { check: "wasm", message });
    }
    println!("wasm: {} crates in one module without import", probe.crates.len());
    Ok(())
}

/// The generated package.
struct Probe {
    folder: PathBuf,
    crates: Vec<String>,
}

impl Probe {
    fn generate(tree: &Tree) -> Result<Self, Failure> {
        let folder = tree.root.join("target").join("xtask").join("probe");
        fs::create_dir_all(&folder).map_err(|error| Failure::Io { path: folder.clone(), error })?;
        let pure =
            tree.packages.iter().filter(|package| Place::of(&package.folder).is_some_and(Place::is_pure));
        let crates: Vec<_> = pure.map(|package| package.name.clone()).collect();
        let root = tree.root.display().to_string();
        write(&folder.join("Cargo.toml"), &manifest(&root, &crates))?;
        // The versions that everybody else gets; cargo drops what the probe does not need.
        write(&folder.join("Cargo.lock"), &tree.read("Cargo.lock")?)?;
        Ok(Self { folder, crates })
    }

    fn output(&self, arguments: &[&str]) -> Result<Output, Failure> {
        let mut command = Command::new(cargo());
        command.args(arguments).args(["--quiet", "--target-dir", "build"]).current_dir(&self.folder);
        // Everything compiled is linked, called or not: an import hides nowhere.
        command.env(
            "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
            "-Awarnings -Clink-dead-code -Clink-arg=--no-gc-sections",
        );
        command.env("CARGO_BUILD_RUSTFLAGS", "-Awarnings"); // clippy judges the crates; an error here should stand alone
        for name in ["CARGO_ENCODED_RUSTFLAGS", "CARGO_TARGET_DIR", "RUSTFLAGS"] {
            command.env_remove(name);
        }
        if std::env::var_os("CC_wasm32_unknown_unknown").is_none() {
            command.env("CC_wasm32_unknown_unknown", "clang");
        }
        command.output().map_err(|error| failed(arguments, &error.to_string()))
    }

    fn cargo(&self, arguments: &[&str]) -> Result<(), Failure> {
        let output = self.output(arguments)?;
        if output.status.success() {
            return Ok(());
        }
        Err(failed(arguments, &String::from_utf8_lossy(&output.stderr)))
    }

    fn module(&self, arguments: &[&str]) -> Result<wasm::Module, Failure> {
        self.cargo(arguments)?;
        let path = self.folder.join("build").join(TARGET).join("debug").join("probe.wasm");
        let bytes = fs::read(&path).map_err(|error| Failure::Io { path: path.clone(), error })?;
        wasm::parse(&bytes).ok_or_else(|| Failure::Parse {
            file: path.display().to_string(),
            message: "is not a WebAssembly module".to_owned(),
        })
    }
}

fn failed(arguments: &[&str], message: &str) -> Failure {
    Failure::Command {
        command: format!("cargo {} (probe)", arguments.join(" ")),
        message: message.to_owned(),
    }
}

fn write(path: &Path, text: &str) -> Result<(), Failure> {
    fs::write(path, text).map_err(|error| Failure::Io { path: path.to_owned(), error })
}

fn manifest(root: &str, crates: &[String]) -> String {
    let dependency = |name: &String| {
        format!("{name} = {{ path = {:?}, default-features = false }}\n", format!("{root}/{name}"))
    };
    let dependencies: String = crates.iter().map(dependency).collect();
    format!(
        r#"[package]
name = "probe"
version = "0.0.0"
edition = "2024"

[workspace]

[lib]
path = {:?}
crate-type = ["cdylib"]
test = false

[features]
planted-std = ["lightning-traits/std"]
planted-import = []

[dependencies]
bitcoin = {{ version = "0.32", default-features = false }}
{dependencies}
[profile.dev]
panic = "abort"
codegen-units = 1
debug = false
opt-level = 1
"#,
        format!("{root}/xtask/probe/lib.rs")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manifest_takes_every_crate_without_its_features() {
        let text = manifest("/root", &["lightning-traits".to_owned(), "lightning-peer".to_owned()]);
        assert!(
            text.contains("lightning-peer = { path = \"/root/lightning-peer\", default-features = false }\n")
        );
        assert_eq!(text.matches("default-features = false").count(), 3);
    }
}
