use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use super::{Header, LENGTH, METADATA};
use crate::atomic::write_output;
use crate::limits::HEADER;
use crate::tensors::{Writing, check};
use crate::{Dtype, FormatError};
use safetensors::tensor::TensorInfo;

/// Writes tensors in the order of their names, as the `safetensors` crate does, and metadata in
/// the order of its keys: the same content gives the same bytes.
pub(crate) fn write(
    path: &Path,
    tensors: &[Writing<'_>],
    metadata: &BTreeMap<String, String>,
    dtype: Dtype,
) -> Result<(), FormatError> {
    let unwritable = |reason| FormatError::Unwritable { place: path.display().to_string(), reason };
    check(path, tensors, dtype)?;
    let mut sorted = tensors.to_vec();
    sorted.sort_by_key(|tensor| tensor.name);
    let mut header = Header { metadata: metadata.clone(), tensors: BTreeMap::new(), count: 0 };
    let mut end = 0;
    for tensor in &sorted {
        if tensor.name == METADATA {
            return Err(unwritable(format!("a tensor cannot be called `{METADATA}`")));
        }
        let start = end;
        end += tensor.len() * dtype.size();
        let (shape, data_offsets) = (tensor.shape.to_vec(), (start, end));
        let info = TensorInfo { dtype: foreign(dtype), shape, data_offsets };
        header.tensors.insert(String::from(tensor.name), info);
    }
    let mut json = serde_json::to_vec(&header).map_err(|error| unwritable(error.to_string()))?;
    // So that the values are aligned.
    json.resize(json.len().next_multiple_of(LENGTH as usize), b' ');
    if json.len() as u64 > HEADER {
        return Err(unwritable(format!("names and metadata of more than {HEADER} bytes")));
    }
    write_output(path, |file| {
        file.write_all(&(json.len() as u64).to_le_bytes())?;
        file.write_all(&json)?;
        sorted.iter().try_for_each(|tensor| tensor.write(file, dtype))
    })
}

fn foreign(dtype: Dtype) -> safetensors::Dtype {
    match dtype {
        Dtype::F64 => safetensors::Dtype::F64,
        Dtype::F32 => safetensors::Dtype::F32,
        Dtype::F16 => safetensors::Dtype::F16,
        Dtype::BF16 => safetensors::Dtype::BF16,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::TensorFile;
    use striate_tensor::View;

    fn written(tensors: &[(&str, View<'_>)], metadata: &BTreeMap<String, String>) -> Vec<u8> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("file");
        let tensors: Vec<_> = tensors.iter().map(Writing::of).collect();
        write(&path, &tensors, metadata, Dtype::F32).unwrap();
        std::fs::read(path).unwrap()
    }

    /// A whole file with metadata and tensors of ranks 0 to 2.
    pub(in crate::safetensors) fn good() -> Vec<u8> {
        let metadata = [("format", "pt"), ("a", "ä\n\"")].map(|(k, v)| (k.into(), v.into()));
        let values: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let view = |shape, n: usize| View { shape, data: &values[..n] };
        let tensors = [("w", view(&[3, 4], 12)), ("b", view(&[3], 3)), ("s", view(&[], 1))];
        written(&tensors, &metadata.into())
    }

    #[test]
    fn files_are_those_of_the_reference_writer() {
        use safetensors::tensor::TensorView;
        let views = [("w", [2, 2], 4), ("a.b", [1, 3], 3)]
            .map(|(name, shape, n)| (name, shape, vec![1.5f32; n]));
        let ours: Vec<_> =
            views.iter().map(|(name, shape, data)| (*name, View { shape, data })).collect();
        let bytes = views
            .each_ref()
            .map(|(.., v)| v.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<_>>());
        let theirs = views.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
            (*name, TensorView::new(safetensors::Dtype::F32, shape.to_vec(), bytes).unwrap())
        });
        let expected = safetensors::serialize(theirs, None).unwrap();
        assert_eq!(written(&ours, &BTreeMap::new()), expected);
    }

    #[test]
    fn metadata_comes_first_in_the_order_of_its_keys() {
        let bytes = good();
        assert_eq!(bytes, good());
        let header = r#"{"__metadata__":{"a":"ä\n\"","format":"pt"},"b":{"dtype":"F32","#;
        assert!(bytes[8..].starts_with(header.as_bytes()));
        let (len, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(len % 8, 0);
        let file = TensorFile::parse(bytes, "bytes").unwrap();
        let theirs = metadata.metadata().clone().unwrap();
        assert_eq!(file.listing().metadata, theirs.into_iter().collect());
        assert_eq!(file.tensor(&file.listing().tensors[2]).unwrap().data()[11], 11.0);
    }
}
