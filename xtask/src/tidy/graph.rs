//! The crate graph (I2): components know the vocabulary and nobody else of the house.
use super::rule;
use crate::report::Violation;
use crate::tree::{Package, Place};

/// The one adapter that exists to drive a component's bytes: sockets around `PeerManager`.
const SOCKETS: (&str, &str) = ("adapters/net-tokio", "lightning-peer");

/// What a program must do without, at whatever depth, in its tests too: a tower that knew channels, routes or invoices could be
/// attacked through them, and would not be the small thing beside a node that its operator can read.
const DOES_WITHOUT: [(&str, [&str; 3]); 1] =
    [("apps/watchtower", ["lightning-channel", "lightning-router", "lightning-offers"])];

/// Checks every dependency between two packages of the workspace, those of tests included: what a
/// component's tests need from its sister would tie the two together as firmly as its code.
pub(crate) fn check(packages: &[Package]) -> Vec<Violation> {
    let mut violations = Vec::new();
    for package in packages {
        let manifest = format!("{}/Cargo.toml", package.folder);
        let Some(place) = Place::of(&package.folder) else {
            let message = format!("`{}` has no place in the crate graph of ARCH.md", package.name);
            violations.push(Violation::new(&manifest, 0, rule::CRATE_GRAPH, message));
            continue;
        };
        for dependency in &package.dependencies {
            let Some(target) = packages.iter().find(|other| other.name == dependency.name) else { continue };
            let Some(target_place) = Place::of(&target.folder) else { continue };
            let sockets = (package.folder.as_str(), target.folder.as_str()) == SOCKETS;
            if !sockets && !may_depend(place, target_place, dependency.dev) {
                let message = format!(
                    "{place:?} `{}` may not depend on {target_place:?} `{}`",
                    package.name, target.name
                );
                violations.push(Violation::new(&manifest, 0, rule::CRATE_GRAPH, message));
            }
        }
    }
    violations
        .extend(DOES_WITHOUT.iter().flat_map(|(folder, without)| depends_on(packages, folder, without)));
    violations
}

/// The ways by which the package in `folder` depends on what it must do without.
fn depends_on(packages: &[Package], folder: &str, without: &[&str]) -> Vec<Violation> {
    let Some(program) = packages.iter().find(|package| package.folder == folder) else { return Vec::new() };
    let manifest = format!("{folder}/Cargo.toml");
    let mut violations = Vec::new();
    let mut seen = vec![program.name.as_str()];
    let mut ways = vec![(program, program.name.clone())];
    while let Some((package, way)) = ways.pop() {
        for dependency in &package.dependencies {
            // What others need for their own tests is not built with the program.
            if (dependency.dev && package.folder != folder) || seen.contains(&dependency.name.as_str()) {
                continue;
            }
            seen.push(&dependency.name);
            let way = format!("{way} -> {}", dependency.name);
            if without.contains(&dependency.name.as_str()) {
                let message = format!("`{}` must do without `{}`: {way}", program.name, dependency.name);
                violations.push(Violation::new(&manifest, 0, rule::CRATE_GRAPH, message));
            }
            ways.extend(packages.iter().find(|other| other.name == dependency.name).map(|next| (next, way)));
        }
    }
    violations
}

fn may_depend(from: Place, to: Place, dev: bool) -> bool {
    match from {
        Place::Vocabulary | Place::Check => false,
        Place::Component => to == Place::Vocabulary,
        Place::Adapter => to == Place::Vocabulary || (dev && to == Place::Adapter),
        Place::App => matches!(to, Place::Vocabulary | Place::Component | Place::Adapter),
        Place::Trial => !matches!(to, Place::App | Place::Check),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::breaks;
    use crate::tree::Dependency;

    fn package(name: &str, folder: &str, dependencies: &[(&str, bool)]) -> Package {
        let dependencies =
            dependencies.iter().map(|&(name, dev)| Dependency { name: name.to_owned(), dev }).collect();
        Package {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            folder: folder.to_owned(),
            dependencies,
            test_binaries: Vec::new(),
        }
    }

    fn graph(package_under_test: Package) -> bool {
        let others = [
            package("lightning-traits", "lightning-traits", &[]),
            package("lightning-router", "lightning-router", &[]),
            package("lightning-peer", "lightning-peer", &[]),
            package("lightning-keys", "adapters/keys", &[]),
            package("lightning-node", "apps/node", &[]),
            package("sim", "sim", &[]),
        ];
        let packages: Vec<_> = others.into_iter().chain([package_under_test]).collect();
        breaks(&check(&packages), rule::CRATE_GRAPH)
    }

    #[test]
    fn the_house_as_drawn_stands() {
        assert!(!graph(package(
            "lightning-x",
            "lightning-x",
            &[("lightning-traits", false), ("bitcoin", false)]
        )));
        assert!(!graph(package("net", "adapters/net-tokio", &[("lightning-peer", false)])));
        assert!(!graph(package("wallet", "adapters/wallet", &[("lightning-keys", true)])));
        assert!(!graph(package(
            "tower",
            "apps/tower",
            &[("lightning-router", false), ("lightning-keys", false)]
        )));
        assert!(!graph(package("fuzz", "fuzz", &[("sim", false)])));
    }

    #[test]
    fn components_do_not_know_each_other() {
        assert!(graph(package("lightning-x", "lightning-x", &[("lightning-router", false)])));
        assert!(
            graph(package("lightning-x", "lightning-x", &[("lightning-router", true)])),
            "dev-dependency"
        );
        assert!(graph(package("lightning-x", "lightning-x", &[("lightning-keys", true)])), "adapter");
    }

    #[test]
    fn the_vocabulary_knows_nobody() {
        let traits = package("lightning-traits", "lightning-traits", &[("lightning-router", true)]);
        let packages = [traits, package("lightning-router", "lightning-router", &[])];
        assert!(breaks(&check(&packages), rule::CRATE_GRAPH));
    }

    #[test]
    fn adapters_know_no_component_but_the_sockets() {
        assert!(graph(package("keys", "adapters/other", &[("lightning-peer", false)])));
        assert!(graph(package("net", "adapters/net-tokio", &[("lightning-router", false)])));
        assert!(
            graph(package("wallet", "adapters/wallet", &[("lightning-keys", false)])),
            "adapter, not for tests"
        );
    }

    #[test]
    fn nobody_depends_on_programs_or_trials() {
        assert!(graph(package("tower", "apps/tower", &[("sim", true)])));
        assert!(graph(package("tower", "apps/tower", &[("lightning-node", false)])));
        assert!(graph(package("bench", "benches", &[("lightning-node", false)])));
    }

    #[test]
    fn the_watchtower_does_without_channels_at_any_depth() {
        let check_with = |tower: &[(&str, bool)], keys: &[(&str, bool)]| {
            let packages = [
                package("lightning-traits", "lightning-traits", &[]),
                package("lightning-monitor", "lightning-monitor", &[("lightning-traits", false)]),
                package("lightning-channel", "lightning-channel", &[]),
                package("lightning-keys", "adapters/keys", keys),
                package("lightning-watchtower", "apps/watchtower", tower),
            ];
            let found = check(&packages);
            found.iter().any(|violation| violation.to_string().contains("must do without"))
        };
        let keys = ("lightning-keys", false);
        assert!(!check_with(&[("lightning-monitor", false), keys], &[("lightning-channel", true)]));
        assert!(check_with(&[("lightning-channel", false)], &[]));
        assert!(check_with(&[("lightning-channel", true)], &[]), "for its tests");
        assert!(check_with(&[keys], &[("lightning-channel", false)]), "through an adapter");
    }

    #[test]
    fn an_unknown_folder_is_refused() {
        assert!(graph(package("x", "contrib/x", &[])));
    }
}
