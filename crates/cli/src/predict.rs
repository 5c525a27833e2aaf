use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use serde_json::json;
use striate::{Choices, Classifier, Model, data, is_network_file, zoo};

use crate::args::{self, Threads};
use crate::failure::Failure;
use crate::nearest;
use crate::output::{print, print_json};

/// The classes of pictures, the most probable first
#[derive(Args)]
#[command(after_long_help = "Examples:
  striate predict cat.jpg
  striate predict lenet5 --weights runs/lenet5/best seven.png
  striate predict model.onnx cat.jpg")]
pub(crate) struct Predict {
    /// A network (a name, or a file: .prototxt, .caffemodel, .onnx), then pictures. Without a network,
    /// SqueezeNet 1.1 with the weights in the program
    #[arg(required = true, value_names = ["[MODEL] IMAGE"])]
    arguments: Vec<String>,
    /// Weights: a file, or the directory of a checkpoint
    #[arg(long, value_name = "FILE")]
    weights: Option<PathBuf>,
    /// How many classes to show
    #[arg(long, value_name = "K", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    topk: u32,
    #[command(flatten)]
    threads: Threads,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Print a line of JSON for each picture as soon as it is told
    #[arg(long, conflicts_with = "json")]
    jsonl: bool,
}

impl Predict {
    pub(crate) fn run(self, quiet: bool) -> Result<(), Failure> {
        let (model, images) = split(&self.arguments)?;
        if images.is_empty() {
            return Err(Failure::Usage(String::from("found no picture, expected at least one")));
        }
        let choices = Choices { logits: true, ..Choices::default() };
        let name = model.unwrap_or("squeezenet1_1");
        let model = args::model(name, self.weights.as_deref(), &choices)?;
        args::warn_of_preparation(&model.network, quiet);
        let mut classifier = model.classifier(self.threads.threads)?;
        let mut documents = Vec::new();
        for image in images {
            let (document, text) = self.classify(&model, &mut classifier, image)?;
            if self.json {
                documents.push(document);
            } else if self.jsonl {
                print(&document.to_string())?;
            } else {
                print(&text)?;
            }
        }
        if self.json { print_json(&documents) } else { Ok(()) }
    }

    fn classify(
        &self,
        model: &Model,
        classifier: &mut Classifier,
        image: &str,
    ) -> Result<(serde_json::Value, String), Failure> {
        nearest::existing(Path::new(image))?;
        let picture = data::open(Path::new(image))?;
        let started = Instant::now();
        let classes = classifier.classify(&picture, self.topk as usize)?;
        let ms = started.elapsed().as_secs_f64() * 1e3;
        let name = &model.network.name;
        let mut text = format!("{image}  ({name}, {} weights, {ms:.1} ms)\n", model.weights);
        let mut top = Vec::new();
        for class in classes {
            let synset = class.synset.unwrap_or_default();
            let line = format!("  {:.3}  {:<28} {synset}", class.probability, class.label);
            text += line.trim_end();
            text.push('\n');
            top.push(json!({
                "class": class.index,
                "synset": class.synset,
                "label": class.label,
                "probability": class.probability,
            }));
        }
        let document = json!({
            "image": image, "model": name, "weights": model.weights, "top": top, "ms": ms,
        });
        Ok((document, text))
    }
}

/// The network, if the first argument names one, and the pictures.
fn split(arguments: &[String]) -> Result<(Option<&str>, &[String]), Failure> {
    let [first, rest @ ..] = arguments else { return Ok((None, &[])) };
    match zoo::find(first) {
        Ok(_) => Ok((Some(first), rest)),
        Err(_)
            if is_network_file(Path::new(first))
                || (Path::new(first).is_dir() && !rest.is_empty()) =>
        {
            Ok((Some(first), rest))
        }
        // What is neither a file nor looks like one was meant to be a network.
        Err(unknown) if !Path::new(first).exists() && !first.contains(['.', '/', '\\']) => {
            Err(Failure::Usage(unknown.to_string()))
        }
        Err(_) => Ok((None, arguments)),
    }
}
