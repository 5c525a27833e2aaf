//! The layering check: who may import whom (ARCHITECTURE.md, *Floors*).

use std::collections::BTreeMap;
use std::process::Command;

/// The house, from the ground up. A crate imports from lower floors; neighbours do not know each
/// other unless [`STAIRS`] says so.
const FLOORS: &[&[&str]] = &[
    &["striate-tensor", "striate-kernels"],
    &["striate-graph"],
    &["striate-zoo", "striate-render", "striate-formats", "striate-data"],
    &["striate-exec", "striate-train"],
    &["striate"],
    &["striate-cli"],
];

/// Imports within a floor: (importer, imported).
const STAIRS: &[(&str, &str)] = &[("striate-train", "striate-exec")];

/// Crates that must not see anything of ours but the ones named.
const NARROW: &[(&str, &[&str])] =
    &[("striate-tensor", &[]), ("striate-kernels", &[]), ("striate-zoo", &["striate-graph"])];

/// Doors use the front, not the rooms behind it.
const DOORS: &[(&str, &str)] = &[("striate-cli", "striate")];

/// Reads the workspace's dependencies and names every edge that goes the wrong way.
pub fn check() -> Result<String, String> {
    let edges = workspace_edges()?;
    let floor: BTreeMap<&str, usize> = FLOORS
        .iter()
        .enumerate()
        .flat_map(|(level, crates)| crates.iter().map(move |name| (*name, level)))
        .collect();
    let mut wrong = Vec::new();
    for (importer, imported) in &edges {
        let (importer, imported) = (importer.as_str(), imported.as_str());
        // Crates of dev/ have no floor: they may import anything, and nothing else imports them.
        let Some(&from) = floor.get(importer) else { continue };
        let Some(&to) = floor.get(imported) else {
            wrong.push(format!("{importer} imports {imported}, which has no floor"));
            continue;
        };
        let stairs = STAIRS.contains(&(importer, imported));
        if to >= from && !stairs {
            wrong.push(format!("{importer} (floor {from}) imports {imported} (floor {to})"));
        }
        for (name, allowed) in NARROW {
            if importer == *name && !allowed.contains(&imported) {
                wrong.push(format!("{importer} may import only {allowed:?}, not {imported}"));
            }
        }
        for (door, front) in DOORS {
            if importer == *door && imported != *front {
                wrong.push(format!("{door} is a door: it imports {front}, not {imported}"));
            }
        }
    }
    if wrong.is_empty() {
        Ok(format!("floors: {} imports, all downwards", edges.len()))
    } else {
        Err(format!("imports against the floors:\n  {}", wrong.join("\n  ")))
    }
}

/// Every (importer, imported) pair among the workspace's own crates, dev-dependencies left out:
/// what a test reads does not reach a user.
fn workspace_edges() -> Result<Vec<(String, String)>, String> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| String::from("cargo"));
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .output()
        .map_err(|e| format!("cargo metadata: {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).map_err(|e| format!("cargo metadata: {e}"))?;
    let packages = metadata["packages"].as_array().ok_or("cargo metadata: no packages")?;
    let ours: Vec<&str> = packages.iter().filter_map(|p| p["name"].as_str()).collect();
    let mut edges = Vec::new();
    for package in packages {
        let importer = package["name"].as_str().unwrap_or_default();
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let imported = dependency["name"].as_str().unwrap_or_default();
            if ours.contains(&imported) && dependency["kind"].as_str() != Some("dev") {
                edges.push((importer.to_owned(), imported.to_owned()));
            }
        }
    }
    Ok(edges)
}
