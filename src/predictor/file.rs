//! Model files: safetensors with `weight [outputs, inputs]` and `bias [outputs]`, which `torch.nn.Linear` loads as they
//! are, and one metadata entry, `gradus`, that holds the schema as JSON.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use ndarray::{Array1, Array2};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use serde::{Deserialize, Serialize};

use super::Predictor;
use crate::data::Schema;
use crate::error::{Error, ErrorKind, Result};
use crate::files::AtomicFile;
use crate::model::{Linear, Model};
use crate::scalar::Scalar;

/// The version of the metadata this library writes, and the newest it reads.
const FORMAT_VERSION: u32 = 1;

/// The name of the metadata entry.
const ENTRY: &str = "gradus";

#[derive(Serialize, Deserialize)]
struct Metadata {
    format_version: u32,
    loss: String,
    #[serde(flatten)]
    schema: Schema,
}

/// A predictor read from a file, in the number type it was saved in.
#[derive(Debug, Clone)]
pub enum SavedPredictor {
    /// Saved as f32.
    F32(Predictor<f32>),
    /// Saved as f64.
    F64(Predictor<f64>),
}

impl<T: Scalar> Predictor<T> {
    /// Whether a model could be saved at `path`, without touching what is there: to be known before time is spent on
    /// training one.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) if not.
    pub fn check_writable(path: impl AsRef<Path>) -> Result<()> {
        // To open a pipe would be to use it up.
        let special = fs::metadata(&path).is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir());
        if special { Ok(()) } else { AtomicFile::create(path).map(drop) }
    }

    /// Saves the predictor. A model without a bias is saved with a bias of zeros. The file appears whole or not at all.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) if the file cannot be written.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        let unwritable = |error: String| Error::io(path, "write", std::io::Error::other(error));
        let outputs = self.model.outputs();
        let weight: Vec<u8> = self.model.weight().iter().flat_map(|&v| v.little_endian()).collect();
        let bias = match self.model.bias() {
            Some(bias) => bias.iter().flat_map(|&v| v.little_endian()).collect(),
            None => vec![0; outputs * size_of::<T>()],
        };
        let dtype = if T::NAME == "f32" { Dtype::F32 } else { Dtype::F64 };
        let view =
            |shape: Vec<usize>, bytes| TensorView::new(dtype, shape, bytes).map_err(|e| unwritable(e.to_string()));
        let tensors =
            [("weight", view(vec![outputs, self.model.inputs()], &weight)?), ("bias", view(vec![outputs], &bias)?)];
        let metadata =
            Metadata { format_version: FORMAT_VERSION, loss: self.loss.clone(), schema: self.schema.clone() };
        let json = serde_json::to_string(&metadata).map_err(|e| unwritable(e.to_string()))?;
        let entries = HashMap::from([(ENTRY.to_owned(), json)]);
        let bytes = safetensors::serialize(tensors, Some(entries)).map_err(|e| unwritable(e.to_string()))?;
        let mut file = AtomicFile::create(path)?;
        file.write_all(&bytes).map_err(|error| Error::io(path, "write", error))?;
        file.commit()
    }
}

impl SavedPredictor {
    /// Reads a predictor.
    ///
    /// # Errors
    /// [`Io`](ErrorKind::Io) if the file cannot be read, [`ModelFile`](ErrorKind::ModelFile) if it is no model of this
    /// library, is damaged, or was written by a newer version.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = fs::read(path).map_err(|error| Error::io(path, "read", error))?;
        parse(&bytes).map_err(|Refused { what, help }| {
            ErrorKind::ModelFile { path: path.to_owned(), what, help: help.to_owned() }.into()
        })
    }
}

/// Why bytes are no model.
struct Refused {
    what: String,
    help: &'static str,
}

const OTHER_FILE: &str = "a model file is what `gradus train DATA -o FILE` writes";
const DAMAGED: &str = "the file is damaged: train the model again";

fn refuse<T>(what: impl Into<String>, help: &'static str) -> std::result::Result<T, Refused> {
    Err(Refused { what: what.into(), help })
}

fn parse(bytes: &[u8]) -> std::result::Result<SavedPredictor, Refused> {
    if bytes.is_empty() {
        return refuse("the file is empty", OTHER_FILE);
    }
    let not_safetensors = |error| Refused { what: format!("not a whole safetensors file: {error}"), help: OTHER_FILE };
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(not_safetensors)?;
    let Some(entry) = header.metadata().as_ref().and_then(|entries| entries.get(ENTRY)) else {
        return refuse("safetensors without gradus's metadata", OTHER_FILE);
    };
    // The version first: the rest of a newer format may not be readable at all.
    let version: Version = serde_json::from_str(entry)
        .map_err(|error| Refused { what: format!("unreadable metadata: {error}"), help: DAMAGED })?;
    if version.format_version > FORMAT_VERSION {
        let what = format!("format version {}, newer than {FORMAT_VERSION}", version.format_version);
        return refuse(what, "use a newer gradus");
    }
    let metadata: Metadata = serde_json::from_str(entry)
        .map_err(|error| Refused { what: format!("unreadable metadata: {error}"), help: DAMAGED })?;
    let tensors = SafeTensors::deserialize(bytes).map_err(not_safetensors)?;
    let tensor = |name: &str| {
        tensors.tensor(name).map_err(|error| Refused { what: format!("tensor \"{name}\": {error}"), help: DAMAGED })
    };
    let (weight, bias) = (tensor("weight")?, tensor("bias")?);
    match weight.dtype() {
        Dtype::F32 => predictor(&weight, &bias, metadata).map(SavedPredictor::F32),
        Dtype::F64 => predictor(&weight, &bias, metadata).map(SavedPredictor::F64),
        other => refuse(format!("weights of type {other:?}"), "they must be F32 or F64"),
    }
}

#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

fn predictor<T: Scalar>(
    weight: &TensorView<'_>,
    bias: &TensorView<'_>,
    metadata: Metadata,
) -> std::result::Result<Predictor<T>, Refused> {
    let Metadata { loss, schema, .. } = metadata;
    let expected = [schema.outputs(), schema.feature_names().len()];
    let fits = weight.shape() == expected && bias.shape() == [expected[0]] && weight.dtype() == bias.dtype();
    if !fits {
        let what = format!(
            "weight {:?} and bias {:?} where the schema takes {expected:?} and {:?}",
            weight.shape(),
            bias.shape(),
            &expected[..1]
        );
        return refuse(what, DAMAGED);
    }
    let values = |tensor: &TensorView<'_>| -> Vec<T> {
        tensor.data().chunks_exact(size_of::<T>()).map(T::from_little_endian).collect()
    };
    let (weight, bias) = (values(weight), values(bias));
    if weight.iter().chain(&bias).any(|value| !value.is_finite()) {
        return refuse("a parameter is not finite", DAMAGED);
    }
    let weight = Array2::from_shape_vec(expected, weight).expect("the shape was compared");
    let model = Linear::from_parts(weight, Some(Array1::from_vec(bias)));
    model
        .and_then(|model| Predictor::new(model, schema, loss))
        .map_err(|error| Refused { what: error.to_string(), help: DAMAGED })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{CsvOptions, SchemaOptions, Table};
    use ndarray::array;

    fn predictor() -> Predictor<f64> {
        let table = Table::<f64>::parse("a.csv", "x,c,y\n1,a,1.5\n2,b,2.5\n", &CsvOptions::default()).unwrap();
        let (schema, _) = Schema::infer(&table, &SchemaOptions::default()).unwrap();
        let model = Linear::from_parts(array![[0.1, 2.0, -1e-300]], Some(array![3.0])).unwrap();
        Predictor::new(model, schema, "mse").unwrap()
    }

    fn saved() -> Vec<u8> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("m.safetensors");
        predictor().save(&path).unwrap();
        fs::read(path).unwrap()
    }

    fn refusal(bytes: &[u8]) -> String {
        match parse(bytes) {
            Ok(_) => panic!("it was taken for a model"),
            Err(refused) => format!("{}; {}", refused.what, refused.help),
        }
    }

    #[test]
    fn what_is_saved_loads_with_the_same_bits() {
        let Ok(SavedPredictor::F64(loaded)) = parse(&saved()) else { panic!("not read") };
        assert_eq!(loaded.model().weight(), predictor().model().weight());
        assert_eq!(loaded.schema(), predictor().schema());
        assert_eq!(loaded.loss(), "mse");
        assert_eq!(saved(), saved());
    }

    #[test]
    fn what_is_no_model_is_refused_with_the_reason() {
        let bytes = saved();
        assert!(refusal(b"").contains("empty"));
        assert!(refusal(b"a,b\n1,2\n").contains("not a whole safetensors file"));
        for cut in [4, 20, bytes.len() - 1] {
            assert!(refusal(&bytes[..cut]).contains("not a whole safetensors file"), "cut at {cut}");
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(text.contains(r#"{\"format_version\":1,"#));
        let change = |from: &str, to: &str| {
            let at = bytes.windows(from.len()).position(|w| w == from.as_bytes()).unwrap();
            let mut changed = bytes.clone();
            changed[at..at + from.len()].copy_from_slice(to.as_bytes());
            changed
        };
        assert!(refusal(&change("version\\\":1", "version\\\":9")).contains("format version 9, newer than 1"));
        assert!(refusal(&change("\"gradus\"", "\"grades\"")).contains("without gradus's metadata"));
        assert!(refusal(&change("\"bias\"", "\"base\"")).contains("tensor \"bias\""));
        assert!(refusal(&change("one-hot", "one-hat")).contains("unreadable metadata"));
        let mut nan = bytes.clone();
        let end = nan.len();
        nan[end - 8..].copy_from_slice(&f64::NAN.to_le_bytes());
        assert!(refusal(&nan).contains("not finite"));
    }
}
