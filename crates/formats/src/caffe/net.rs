//! A network as Caffe has it: layers that name the values they read and give.

use std::collections::HashMap;

use super::message::{Message, Value};
use super::schema::upgraded;
use crate::limits::LAYERS;

/// Types of layers that give what is fed to a network.
const SOURCES: [&str; 7] =
    ["Input", "Data", "ImageData", "MemoryData", "HDF5Data", "WindowData", "DummyData"];

/// Types of layers that judge a network or swallow values: they are no part of it.
const JUDGES: [&str; 9] = [
    "Accuracy",
    "ContrastiveLoss",
    "EuclideanLoss",
    "HingeLoss",
    "InfogainLoss",
    "MultinomialLogisticLoss",
    "SigmoidCrossEntropyLoss",
    "Silence",
    "SoftmaxWithLoss",
];

pub(super) struct Layer<'m> {
    pub(super) name: &'m str,
    /// Its type, as V2 calls it.
    pub(super) kind: &'m str,
    /// Names of the values it reads.
    pub(super) bottoms: Vec<&'m str>,
    /// Names of the values it gives, which may be those it reads.
    pub(super) tops: Vec<&'m str>,
    pub(super) message: &'m Message,
}

/// The layers of a network, both formats of them. With `testing` alone those that Caffe has in its
/// phase TEST: a `.caffemodel` has those of the phase in which it was saved.
///
/// # Errors
/// The name of the layer, and what it is.
pub(super) fn layers(net: &Message, testing: bool) -> Result<Vec<Layer<'_>>, (String, String)> {
    let mut layers = Vec::new();
    for message in net.messages(&["layer", "layers"]) {
        let name = message.texts("name").last().unwrap_or_default();
        let refused = |found: &str| Err((name.to_owned(), found.to_owned()));
        if message.get("layer").is_some() {
            return refused("a layer of the format of before 2013");
        }
        if layers.len() == LAYERS {
            return refused("one of more than 16384 layers");
        }
        if testing && !in_test(message) {
            continue;
        }
        let kind = match message.get("type") {
            Some(Value::Text(kind)) => kind.as_str(),
            Some(Value::Word(word)) => upgraded(word),
            _ => return refused("a layer without a type"),
        };
        let tops: Vec<&str> = message.texts("top").collect();
        let name = if name.is_empty() { tops.first().copied().unwrap_or_default() } else { name };
        layers.push(Layer {
            name,
            kind,
            bottoms: message.texts("bottom").collect(),
            tops,
            message,
        });
    }
    Ok(layers)
}

/// Caffe's `Net::FilterNet`, with the phase TEST, level 0 and no stage.
fn in_test(layer: &Message) -> bool {
    let level = |rule: &Message, name| rule.numbers(name).ok().and_then(|all| all.last().copied());
    let meets = |rule: &Message| {
        rule.word("phase", "TEST").is_ok_and(|phase| phase == "TEST")
            && level(rule, "min_level").is_none_or(|least| least <= 0.0)
            && level(rule, "max_level").is_none_or(|most| most >= 0.0)
            && rule.texts("stage").next().is_none()
    };
    match layer.messages(&["include"]).next() {
        Some(_) => layer.messages(&["include"]).any(meets),
        None => !layer.messages(&["exclude"]).any(meets),
    }
}

impl<'m> Layer<'m> {
    /// Whether it gives what is fed to the network.
    pub(super) fn is_source(&self) -> bool {
        SOURCES.contains(&self.kind)
    }

    /// Whether it is no part of the network that is judged.
    pub(super) fn is_judge(&self) -> bool {
        JUDGES.contains(&self.kind)
    }

    /// The message of its attributes.
    pub(super) fn attributes(&self, name: &str) -> &'m Message {
        self.message.message(name)
    }
}

/// For each layer, which earlier one it is one with: a Scale with the BatchNorm whose result no one
/// else reads. Caffe's BatchNorm has no γ and β of its own.
pub(super) fn merged(layers: &[Layer]) -> Vec<Option<usize>> {
    let mut current: HashMap<&str, usize> = HashMap::new();
    let mut readers = vec![Vec::new(); layers.len()];
    let mut normed = vec![None; layers.len()];
    for (i, layer) in layers.iter().enumerate() {
        for bottom in &layer.bottoms {
            if let Some(&from) = current.get(bottom) {
                readers[from].push(i);
            }
        }
        if let ("Scale", [bottom]) = (layer.kind, layer.bottoms.as_slice()) {
            let from = current.get(bottom).copied();
            normed[i] = from.filter(|&from| layers[from].kind == "BatchNorm");
        }
        current.extend(layer.tops.iter().map(|top| (*top, i)));
    }
    let alone = |(i, from): (usize, Option<usize>)| from.filter(|&from| readers[from] == [i]);
    normed.into_iter().enumerate().map(alone).collect()
}

#[cfg(test)]
mod tests {
    use super::super::text;
    use super::*;

    fn kinds(text: &str) -> Vec<String> {
        let net = text::parse(text).unwrap();
        layers(&net, true).unwrap().iter().map(|l| format!("{}:{}", l.name, l.kind)).collect()
    }

    #[test]
    fn both_formats_and_the_phase_test() {
        let found = kinds(
            r#"layers { name: "a" type: CONVOLUTION } layer { name: "b" type: "ReLU" }
            layer { name: "train" type: "Data" include { phase: TRAIN } }
            layer { name: "test" type: "Data" include { phase: TEST } }
            layer { name: "either" type: "X" include { phase: TRAIN } include { min_level: 0 } }
            layer { name: "higher" type: "X" include { min_level: 1 } }
            layer { name: "staged" type: "X" include { stage: "deploy" } }
            layer { name: "not" type: "X" exclude { phase: TEST } }
            layer { name: "kept" type: "X" exclude { phase: TRAIN } }
            layers { top: "named" type: SOFTMAX_LOSS } layers { name: "new" type: NEW }"#,
        );
        let expected = [
            "a:Convolution",
            "b:ReLU",
            "test:Data",
            "either:X",
            "kept:X",
            "named:SoftmaxWithLoss",
            "new:NEW",
        ];
        assert_eq!(found, expected);
        for (text, found) in [
            ("layers { layer { name: \"a\" } }", "before 2013"),
            ("layer { name: \"a\" }", "without a type"),
            ("layer { type: 3 }", "without a type"),
            (&"layer { type: \"X\" }".repeat(LAYERS + 1), "more than 16384 layers"),
        ] {
            let net = text::parse(text).unwrap();
            assert!(layers(&net, true).is_err_and(|(_, what)| what.contains(found)));
        }
    }

    #[test]
    fn a_scale_is_one_with_the_norm_that_it_alone_reads() {
        let norm = r#"layer { name: "n" type: "BatchNorm" bottom: "x" top: "y" }"#;
        let scale = |bottom: &str, top: &str| {
            format!(r#"layer {{ type: "Scale" bottom: "{bottom}" top: "{top}" }}"#)
        };
        let other = r#"layer { type: "ReLU" bottom: "y" top: "z" }"#;
        for (text, expected) in [
            (format!("{norm}{}", scale("y", "y")), vec![None, Some(0)]),
            (format!("{norm}{}{other}", scale("y", "y")), vec![None, Some(0), None]),
            (format!("{norm}{}", scale("y", "w")), vec![None, Some(0)]),
            (format!("{norm}{}{other}", scale("y", "w")), vec![None, None, None]),
            (format!("{norm}{other}{}", scale("y", "w")), vec![None, None, None]),
            (format!("{norm}{}", scale("x", "x")), vec![None, None]),
            (scale("x", "x"), vec![None]),
        ] {
            let net = text::parse(&text).unwrap();
            assert_eq!(merged(&layers(&net, true).unwrap()), expected, "{text}");
        }
    }
}
