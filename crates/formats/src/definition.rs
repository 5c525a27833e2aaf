//! Networks in the metadata of weights, so that a file of them is a network by itself.

use serde::{Deserialize, Serialize};
use striate_graph::{Graph, Part};

use crate::{FormatError, Listing};

/// The key of the metadata under which a network is stored that nobody knows by its name, as JSON.
pub const NETWORK: &str = "striate.network";

/// What is stored of a network: that of which [`Graph::assemble`] makes it.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Definition {
    nodes: Vec<Part>,
    outputs: Vec<(String, usize)>,
}

/// A network as [`NETWORK`] has it.
///
/// # Panics
/// If an attribute is no finite number, which no graph has.
pub fn definition(graph: &Graph) -> String {
    let (nodes, outputs) = graph.parts();
    serde_json::to_string(&Definition { nodes, outputs }).expect("numbers and texts become JSON")
}

impl Listing {
    /// The network of the weights, if the file says it.
    ///
    /// # Errors
    /// [`FormatError::Metadata`] if what it says is no network.
    pub fn network(&self) -> Result<Option<Graph>, FormatError> {
        let Some(json) = self.metadata.get(NETWORK) else { return Ok(None) };
        let parsed = serde_json::from_str(json).map_err(|error| error.to_string());
        let built = parsed.and_then(|Definition { nodes, outputs }| {
            Graph::assemble(nodes, &outputs).map_err(|error| error.to_string())
        });
        built.map(Some).map_err(|found| FormatError::Metadata {
            place: self.place.clone(),
            key: String::from(NETWORK),
            found,
            expected: String::from("the nodes of a network and its outputs, as JSON"),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use striate_graph::{Shape, op};

    use super::*;
    use crate::Format;

    fn read(json: &str) -> Result<Option<Graph>, FormatError> {
        let metadata = BTreeMap::from([(String::from(NETWORK), json.to_owned())]);
        let (place, tensors) = (String::from("net.pth"), Vec::new());
        Listing { place, format: Format::PyTorch, tensors, metadata }.network()
    }

    #[test]
    fn every_operation_comes_back() {
        let graph = Graph::build(Shape::map(4, 24, 24), |x| {
            let x = x.at("c1").conv((3, 5), 8).stride(2).pad([0, 1, 2, 1]).groups(2).dilation(2);
            let x = x.at("bn").batch_norm().eps(1.001e-5).relu().at("n").lrn(op::Lrn {
                size: 5,
                alpha: 1e-4,
                beta: 0.75,
                k: 2.0,
                divided: true,
            });
            let y =
                x.at("c2").conv(1, 2).table(&["X."; 8]).tanh(op::Tanh { a: 1.7159, s: 2.0 / 3.0 });
            let y = y.at("s").subsample(2, 2);
            y.at("y").global_avg_pool().flatten().at("head").linear(2).softmax().output("head");
            let y = y.at("p").max_pool(2, 1).ceil().at("q").avg_pool(2, 1).sigmoid().dropout(0.5);
            y.flatten().at("fc").linear(3).at("rbf").rbf(vec![vec![true, false, true]; 2])
        })
        .unwrap();
        let json = definition(&graph);
        assert_eq!(read(&json).unwrap(), Some(graph));
        assert!(json.len() < 4000, "{json}");
    }

    #[test]
    fn what_is_no_network_is_refused() {
        let part =
            |op: &str, inputs: &str| format!(r#"{{"name":"a","op":{op},"inputs":[{inputs}]}}"#);
        let input = part(r#"{"input":{"map":{"c":1,"h":9,"w":9}}}"#, "");
        let network = |nodes: &str, output: &str| {
            format!(r#"{{"nodes":[{nodes}],"outputs":[["logits",{output}]]}}"#)
        };
        let table = r#"{"conv2d":{"out":2,"kernel":{"h":1,"w":1},"stride":{"h":1,"w":1},
            "pad":{"top":0,"left":0,"bottom":0,"right":0},"dilation":{"h":1,"w":1},"groups":1,
            "bias":true,"table":{"rows":[[true,false],[true]]}}}"#;
        for (json, found) in [
            (String::from("{"), "EOF while parsing"),
            (network("", "0"), "logits"),
            (network(&input, "1"), "logits"),
            (network(&input, "-1"), "expected usize"),
            (network(&format!("{input},{input}"), "0"), "a: "),
            (network(&format!("{input},{}", part(r#""relu""#, "1")), "1"), "a: "),
            (
                network(&format!("{input},{}", part(r#""warp""#, "0")), "1"),
                "unknown variant `warp`",
            ),
            (network(&format!("{input},{}", part(table, "0")), "1"), "connection table"),
            ("[".repeat(100_000), "invalid type: sequence"),
        ] {
            let error = read(&json).unwrap_err().to_string();
            let said = error.starts_with("net.pth: metadata `striate.network`: found ");
            assert!(said && error.contains(found), "{error}");
        }
        assert_eq!(read(&network(&input, "0")).unwrap().unwrap().input(), Shape::map(1, 9, 9));
    }
}
