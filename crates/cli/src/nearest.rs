//! What a mistyped name may have meant.

use std::path::Path;

use crate::failure::Failure;

/// As similar as this, and a name is offered.
const ALIKE: f64 = 0.8;

/// `; the nearest names are a, b`, or nothing if no name is like the wanted one.
pub(crate) fn offer<'n>(wanted: &str, names: impl Iterator<Item = &'n str>) -> String {
    let wanted = wanted.to_lowercase();
    let likeness = |name: &str| strsim::jaro_winkler(&wanted, &name.to_lowercase());
    let mut alike: Vec<(f64, &str)> =
        names.map(|name| (likeness(name), name)).filter(|(alike, _)| *alike >= ALIKE).collect();
    alike.sort_by(|a, b| b.0.total_cmp(&a.0).then(a.1.cmp(b.1)));
    let names: Vec<&str> = alike.into_iter().take(3).map(|(_, name)| name).collect();
    match names[..] {
        [] => String::new(),
        [name] => format!("; the nearest name is {name}"),
        _ => format!("; the nearest names are {}", names.join(", ")),
    }
}

/// Refuses a path at which there is nothing; what is there under a similar name is offered.
pub(crate) fn existing(path: &Path) -> Result<(), Failure> {
    existing_or(path, &[])
}

/// The same where some names stand for what is no path.
pub(crate) fn existing_or(path: &Path, names: &[&str]) -> Result<(), Failure> {
    // What cannot be looked at (permissions) is told by whoever reads it.
    if !matches!(path.try_exists(), Ok(false)) {
        return Ok(());
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let there: Vec<String> = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    let names = names.iter().copied().filter(|_| folder == Path::new("."));
    let offer = offer(&name, there.iter().map(String::as_str).chain(names));
    Err(Failure::failed(if folder.is_dir() {
        format!("{}: no such file or directory{offer}", path.display())
    } else {
        format!("{}: there is no directory {}", path.display(), folder.display())
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_alike_is_offered() {
        let offer = |wanted| offer(wanted, ["chelsea.png", "rocket.jpg", "README.md"].into_iter());
        assert_eq!(offer("chelse.png"), "; the nearest name is chelsea.png");
        assert_eq!(offer("Rockt.JPG"), "; the nearest name is rocket.jpg");
        assert_eq!(offer("xyz"), "");
    }
}
