use std::fmt;
use std::path::Path;

/// How weights are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A JSON header and the values behind it.
    Safetensors,
    /// A `state_dict`, as `torch.save` writes it since PyTorch 1.6.
    PyTorch,
}

impl Format {
    /// The format that the name of a file asks for: PyTorch's behind `.pth` and `.pt`, else
    /// safetensors.
    pub fn of(path: &Path) -> Format {
        let extension = path.extension().and_then(|extension| extension.to_str());
        match extension.map(str::to_ascii_lowercase).as_deref() {
            Some("pth" | "pt") => Format::PyTorch,
            Some(_) | None => Format::Safetensors,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Format::Safetensors => "safetensors",
            Format::PyTorch => "pytorch",
        })
    }
}
