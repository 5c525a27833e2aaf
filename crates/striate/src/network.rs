use std::path::{Path, PathBuf};

use striate_formats::{Format, FormatError, caffe, onnx};
use striate_graph::{Graph, Shape};

use crate::ModelError;

/// A network that a file defines: `.onnx`, Caffe's `.prototxt`, or a `.caffemodel`, which says what
/// its layers are.
#[derive(Clone, Debug)]
pub struct Definition {
    /// What the file is called, without its folder and extension.
    pub name: String,
    /// The network, its nodes called as in the file.
    pub graph: Graph,
    /// What a reader should know: what was left out, or taken for something else.
    pub warnings: Vec<String>,
}

/// Whether a file of that name defines a network, rather than holding weights of one.
pub fn is_definition(path: &Path) -> bool {
    matches!(kind(path), Some(Kind::Prototxt | Kind::Caffemodel | Kind::Onnx))
}

/// Reads the network that a file defines. `input` is what is fed, where the file does not say it, or
/// another is wanted.
///
/// # Errors
/// [`ModelError::NoNetwork`] if the file does not define one; as [`caffe::read`] and [`onnx::read`].
pub fn define(path: &Path, input: Option<Shape>) -> Result<Definition, ModelError> {
    let name = name(path);
    if let Some(Kind::Prototxt) = kind(path) {
        let (graph, warnings) = caffe::define(path, input)?;
        return Ok(Definition { name, graph, warnings });
    }
    let striate_formats::Model { graph, warnings, .. } = read(path, None, input)?;
    Ok(Definition { name, graph, warnings })
}

/// What a file of a network is called in tables and code.
pub(crate) fn name(path: &Path) -> String {
    path.file_stem().map_or_else(String::new, |stem| stem.to_string_lossy().into_owned())
}

/// The network of a file with its weights; those of a `.prototxt` are in another file.
pub(crate) fn read(
    path: &Path,
    weights: Option<&Path>,
    input: Option<Shape>,
) -> Result<striate_formats::Model, ModelError> {
    let beside = |extension: &str| Some(path.with_extension(extension)).filter(|p| p.is_file());
    let read = match kind(path) {
        Some(Kind::Prototxt) => {
            let place = || path.display().to_string();
            let weights: PathBuf = weights
                .map(Path::to_owned)
                .or_else(|| beside("caffemodel"))
                .ok_or_else(|| ModelError::NoWeights(place()))?;
            caffe::read(&weights, Some(path), input)?
        }
        Some(Kind::Caffemodel) => caffe::read(path, beside("prototxt").as_deref(), input)?,
        Some(Kind::Onnx) => onnx::read(path, &onnx::ReadOptions { input, logits: false })?,
        None => return Err(ModelError::NoNetwork(path.display().to_string())),
    };
    if let (Some(weights), Some(Kind::Caffemodel | Kind::Onnx)) = (weights, kind(path)) {
        return Err(FormatError::Unsupported {
            place: weights.display().to_string(),
            found: String::from("other weights"),
            expected: format!("none: {} has its own", path.display()),
        }
        .into());
    }
    Ok(read)
}

#[derive(Clone, Copy)]
enum Kind {
    Prototxt,
    Caffemodel,
    Onnx,
}

fn kind(path: &Path) -> Option<Kind> {
    let extension = path.extension()?.to_str()?;
    match Format::of(path) {
        Some(Format::Caffe) => Some(Kind::Caffemodel),
        Some(Format::Onnx) => Some(Kind::Onnx),
        Some(Format::Safetensors | Format::PyTorch | Format::Keras) => None,
        None => extension.eq_ignore_ascii_case("prototxt").then_some(Kind::Prototxt),
    }
}
