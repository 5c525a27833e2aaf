use std::fmt;
use std::path::Path;

/// How weights are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// A JSON header and the values behind it.
    Safetensors,
    /// A `state_dict`, as `torch.save` writes it.
    PyTorch,
    /// Keras's `.weights.h5`, `.h5` and `.keras`.
    Keras,
    /// Caffe's `.caffemodel`.
    Caffe,
    /// A network in ONNX, with its weights.
    Onnx,
}

impl Format {
    /// The format that the name of a file asks for.
    pub fn of(path: &Path) -> Option<Format> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "safetensors" => Some(Format::Safetensors),
            "pth" | "pt" => Some(Format::PyTorch),
            "h5" | "hdf5" | "keras" => Some(Format::Keras),
            "caffemodel" => Some(Format::Caffe),
            "onnx" => Some(Format::Onnx),
            _ => None,
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Format::Safetensors => "safetensors",
            Format::PyTorch => "pytorch",
            Format::Keras => "keras",
            Format::Caffe => "caffe",
            Format::Onnx => "onnx",
        })
    }
}
