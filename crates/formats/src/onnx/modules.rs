//! What PyTorch's exporters say of a node: the way to its module, by which its weights are called.

use std::collections::HashMap;

use super::operator::Operator;
use crate::protobuf::message::Message;

/// Under which key the newer exporter says it.
const SCOPES: &str = "pkg.torch.onnx.name_scopes";

/// What nodes are called that belong to modules.
pub(super) struct Modules<'m>(HashMap<&'m str, String>);

/// A module, by the way to it, and the operation in it; the network is the one without a name.
type Place<'m> = (String, &'m str);

impl<'m> Modules<'m> {
    pub(super) fn of(graph: &'m Message) -> Modules<'m> {
        let nodes = graph.messages(&["node"]);
        let places: Vec<(&str, Place<'_>)> =
            nodes.filter_map(|node| Some((Operator::new(node, 0).name, place(node)?))).collect();
        let mut modules: Vec<&str> = places.iter().map(|(_, (module, _))| &module[..]).collect();
        modules.sort_unstable();
        let called = |(name, (module, operation)): &(&'m str, Place<'_>)| {
            let called = match &module[..] {
                "" => (*operation).to_owned(),
                module if is_one(&modules, module) => module.to_owned(),
                module => format!("{module}.{operation}"),
            };
            (*name, called)
        };
        Modules(places.iter().map(called).collect())
    }

    /// A node as the module that it is all of, or as its operation in its module. Others keep their
    /// names.
    pub(super) fn called<'n>(&'n self, node: &'n str) -> &'n str {
        self.0.get(node).map_or(node, String::as_str)
    }
}

/// Whether a module is there once, of all in order, and none within it.
fn is_one(modules: &[&str], module: &str) -> bool {
    let from = |module: &str| &modules[modules.partition_point(|other| *other < module)..];
    let inner = format!("{module}.");
    from(module).get(1) != Some(&module)
        && !from(&inner).first().is_some_and(|other| other.starts_with(&inner))
}

fn place(node: &Message) -> Option<Place<'_>> {
    let name = node.texts("name").last().unwrap_or_default();
    let entry = |entry: &&Message| entry.texts("key").last() == Some(SCOPES);
    match node.messages(&["metadata_props"]).find(entry) {
        Some(scopes) => {
            let (module, operation) = listed(scopes.texts("value").last()?)?;
            // A normalisation that was taken in is said to be the module.
            let weight = node.texts("input").nth(1).and_then(|name| name.strip_suffix(".weight"));
            Some((weight.unwrap_or(module).to_owned(), operation))
        }
        None => walked(name),
    }
}

/// `['', 'layer1', 'layer1.0', 'layer1.0.conv1', 'conv2d_1']`.
fn listed(scopes: &str) -> Option<(&str, &str)> {
    let mut scopes = scopes.strip_prefix("['")?.strip_suffix("']")?.rsplit("', '");
    let operation = scopes.next().filter(|operation| !operation.is_empty())?;
    Some((scopes.next()?, operation))
}

/// `/layer1/layer1.0/conv1/Conv`: an item of a sequence has its name in its own once more.
fn walked(name: &str) -> Option<Place<'_>> {
    let mut steps = name.strip_prefix('/')?.split('/');
    let operation = steps.next_back().filter(|operation| !operation.is_empty())?;
    let mut module = String::new();
    let mut before = "";
    for step in steps {
        let item = step.strip_prefix(before).and_then(|item| item.strip_prefix('.'));
        let own = item.unwrap_or(step);
        if own.is_empty() {
            return None;
        }
        if !module.is_empty() {
            module.push('.');
        }
        module.push_str(own);
        before = step;
    }
    Some((module, operation))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_to_a_module_is_its_name() {
        for (node, expected) in [
            ("/conv1/Conv", Some(("conv1", "Conv"))),
            ("/layer1/layer1.0/conv1/Conv", Some(("layer1.0.conv1", "Conv"))),
            ("/layer1/layer1.0/down/down.1/Add_1", Some(("layer1.0.down.1", "Add_1"))),
            ("/a/a.0/a.0.12/Relu", Some(("a.0.12", "Relu"))),
            ("/Flatten", Some(("", "Flatten"))),
            ("conv1/Conv", None),
            ("//Conv", None),
            ("/a//Conv", None),
            ("/a/", None),
            ("/", None),
        ] {
            let found = walked(node);
            let found = found.as_ref().map(|(module, operation)| (&module[..], *operation));
            assert_eq!(found, expected, "{node}");
        }
    }

    #[test]
    fn a_module_of_one_node_has_no_other_and_none_inside() {
        let modules = ["a", "a-b", "a.0", "a.0", "a.0.b", "b", "c.d"];
        let one = modules.iter().filter(|module| is_one(&modules, module));
        assert_eq!(
            one.collect::<Vec<_>>(),
            ["a-b", "a.0.b", "b", "c.d"].iter().collect::<Vec<_>>()
        );
    }

    #[test]
    fn the_newer_exporter_lists_modules() {
        for (scopes, expected) in [
            ("['', 'layer1', 'layer1.0', 'relu_1']", Some(("layer1.0", "relu_1"))),
            ("['', 'flatten']", Some(("", "flatten"))),
            ("['flatten']", None),
            ("['', '']", None),
            ("[]", None),
            ("", None),
        ] {
            assert_eq!(listed(scopes), expected, "{scopes}");
        }
    }
}
