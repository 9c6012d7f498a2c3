//! The workspace as the checks see it: its packages, and its source files read once.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::report::Failure;

/// Where a package stands in the crate graph (`ARCH.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// `lightning-traits`.
    Vocabulary,
    /// One of the five `lightning-*` crates with a structure in it.
    Component,
    /// `adapters/*`.
    Adapter,
    /// `apps/*`.
    App,
    /// `sim`, `fuzz`, `benches`, `tests/*`: never published, and no product code may see them.
    Trial,
    /// `xtask`.
    Check,
}

impl Place {
    /// The place of a package by its folder; nothing for a folder that the blueprint does not know.
    pub(crate) fn of(folder: &str) -> Option<Self> {
        match folder.split('/').next()? {
            "lightning-traits" => Some(Self::Vocabulary),
            name if name.starts_with("lightning-") => Some(Self::Component),
            "adapters" => Some(Self::Adapter),
            "apps" => Some(Self::App),
            "benches" | "fuzz" | "sim" | "tests" => Some(Self::Trial),
            "xtask" => Some(Self::Check),
            _ => None,
        }
    }

    /// Whether users get this package, so that it needs a changelog.
    pub(crate) fn is_shipped(self) -> bool {
        matches!(self, Self::Vocabulary | Self::Component | Self::Adapter | Self::App)
    }

    /// Whether I1 binds its sources.
    pub(crate) fn is_pure(self) -> bool {
        matches!(self, Self::Vocabulary | Self::Component)
    }
}

/// One package of the workspace.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    /// Its name.
    pub(crate) name: String,
    /// Its version.
    pub(crate) version: String,
    /// Its folder, relative to the root.
    pub(crate) folder: String,
    /// The names of all its dependencies of every kind.
    pub(crate) dependencies: Vec<Dependency>,
    /// The binaries that its tests become: the library's own, and one for each file or folder in `tests/`.
    pub(crate) test_binaries: Vec<String>,
}

/// One line of a manifest's dependency tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// The package depended upon.
    pub(crate) name: String,
    /// Whether only tests need it.
    pub(crate) dev: bool,
}

/// One Rust source.
#[derive(Clone, Debug)]
pub(crate) struct SourceFile {
    /// Path relative to the root, with `/`.
    pub(crate) path: String,
    /// Its text.
    pub(crate) text: String,
}

/// The workspace.
#[derive(Clone, Debug)]
pub(crate) struct Tree {
    /// The folder of the root manifest.
    pub(crate) root: PathBuf,
    /// All members.
    pub(crate) packages: Vec<Package>,
    /// All `.rs` files, in order of their paths.
    pub(crate) sources: Vec<SourceFile>,
}

impl Tree {
    /// The workspace that this program belongs to.
    pub(crate) fn of_workspace() -> Result<Self, Failure> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."));
        let mut sources = Vec::new();
        collect_sources(root, root, &mut sources)?;
        sources.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { root: root.to_owned(), packages: packages(root)?, sources })
    }

    /// The text of a file of the workspace.
    pub(crate) fn read(&self, path: &str) -> Result<String, Failure> {
        read(&self.root.join(path))
    }

    /// The names of the files in a folder, in order.
    pub(crate) fn files(&self, folder: &str) -> Result<Vec<String>, Failure> {
        let path = self.root.join(folder);
        let failure = |error| Failure::Io { path: path.clone(), error };
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(failure)? {
            names.extend(entry.map_err(failure)?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    /// Every crate that is compiled on Linux, with its licence.
    pub(crate) fn licences(&self) -> Result<Vec<(String, Option<String>)>, Failure> {
        let metadata = metadata(&self.root, &["--filter-platform", "x86_64-unknown-linux-gnu"])?;
        let packages =
            metadata.get("packages").and_then(Value::as_array).ok_or_else(|| unknown_shape("packages"))?;
        let text = |package: &Value, key: &str| Some(package.get(key)?.as_str()?.to_owned());
        packages
            .iter()
            .map(|package| Some((text(package, "name")?, text(package, "license"))))
            .collect::<Option<_>>()
            .ok_or_else(|| unknown_shape("packages"))
    }

    /// The package that a source belongs to.
    pub(crate) fn package_of(&self, source: &str) -> Option<&Package> {
        self.packages
            .iter()
            .filter(|package| {
                source.strip_prefix(package.folder.as_str()).is_some_and(|rest| rest.starts_with('/'))
            })
            .max_by_key(|package| package.folder.len())
    }
}

/// Reads a file, naming it if that fails.
pub(crate) fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| Failure::Io { path: path.to_owned(), error })
}

fn collect_sources(root: &Path, folder: &Path, out: &mut Vec<SourceFile>) -> Result<(), Failure> {
    let failure = |error| Failure::Io { path: folder.to_owned(), error };
    for entry in fs::read_dir(folder).map_err(failure)? {
        let path = entry.map_err(failure)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if path.is_dir() {
            if name != "target" && !name.starts_with('.') {
                collect_sources(root, &path, out)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            out.push(SourceFile { path: relative(root, &path), text: read(&path)? });
        }
    }
    Ok(())
}

fn relative(root: &Path, path: &Path) -> String {
    let inside = path.strip_prefix(root).unwrap_or(path);
    inside.components().filter_map(|part| part.as_os_str().to_str()).collect::<Vec<_>>().join("/")
}

fn packages(root: &Path) -> Result<Vec<Package>, Failure> {
    let metadata = metadata(root, &["--no-deps", "--offline"])?;
    parse_packages(root, &metadata).ok_or_else(|| unknown_shape("packages"))
}

/// What `cargo metadata` prints with `options`.
fn metadata(root: &Path, options: &[&str]) -> Result<Value, Failure> {
    let arguments = [&["metadata", "--format-version", "1"], options].concat();
    let command = format!("cargo {}", arguments.join(" "));
    let failed = |message: String| Failure::Command { command: command.clone(), message };
    let output = Command::new(cargo())
        .args(&arguments)
        .current_dir(root)
        .output()
        .map_err(|error| failed(error.to_string()))?;
    if !output.status.success() {
        return Err(failed(String::from_utf8_lossy(&output.stderr).into_owned()));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
}

fn unknown_shape(part: &str) -> Failure {
    Failure::Parse { file: "cargo metadata".to_owned(), message: format!("unknown shape of {part}") }
}

fn parse_packages(root: &Path, metadata: &Value) -> Option<Vec<Package>> {
    metadata
        .get("packages")?
        .as_array()?
        .iter()
        .map(|package| {
            let manifest = Path::new(package.get("manifest_path")?.as_str()?);
            let dependencies = package.get("dependencies")?.as_array()?;
            Some(Package {
                name: package.get("name")?.as_str()?.to_owned(),
                version: package.get("version")?.as_str()?.to_owned(),
                folder: relative(root, manifest.parent()?),
                dependencies: dependencies.iter().map(parse_dependency).collect::<Option<_>>()?,
                test_binaries: package.get("targets")?.as_array()?.iter().filter_map(test_binary).collect(),
            })
        })
        .collect()
}

/// The name of a target's test binary without its hash.
fn test_binary(target: &Value) -> Option<String> {
    let kinds = target.get("kind")?.as_array()?;
    let is_tested = kinds.iter().any(|kind| matches!(kind.as_str(), Some("lib" | "test")));
    is_tested.then_some(target.get("name")?.as_str()?.replace('-', "_"))
}

fn parse_dependency(value: &Value) -> Option<Dependency> {
    Some(Dependency {
        name: value.get("name")?.as_str()?.to_owned(),
        dev: value.get("kind")?.as_str() == Some("dev"),
    })
}

/// The cargo that runs us, or the one on the path.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}
