//! The modules we write for Burn compile without a warning, are formatted, and compute what we
//! compute: networks with weights of every kind in our file, all in one program.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use conformance::compare;
use interop::{error, params, small};
use striate_exec::{Backend, Native, Options};
use striate_formats::{Dtype, save};
use striate_graph::op::Lrn;
use striate_graph::{Graph, Naming, Shape, Sides, Size, add, add_scaled, concat};
use striate_render::{Framework, Heading, code};
use striate_tensor::Rng;

/// Together they have every operation, every helper and every form of part and loop; all take minutes
/// more: `NETWORKS='*'`.
const FEW: [&str; 14] = [
    "alexnet_2012",
    "bn_inception",
    "googlenet_caffe",
    "inception_resnet_v1",
    "inception_v3_keras",
    "lenet1",
    "lenet5",
    "lenet5_1998",
    "nin_cifar10",
    "preresnet110_cifar",
    "resnet18",
    "resnet20_cifar",
    "resnet50v2_keras",
    "squeezenet1_1",
];

/// A network and what files call its layers.
struct Network {
    name: String,
    graph: Graph,
    naming: Naming,
}

fn networks() -> Vec<Network> {
    let wanted = std::env::var("NETWORKS").unwrap_or_else(|_| FEW.join(" "));
    let entries = wanted.split_whitespace().flat_map(striate_zoo::matching);
    let of = |entry: &striate_zoo::Architecture| Network {
        name: entry.name.to_owned(),
        graph: small(entry),
        naming: entry.naming,
    };
    let own = [("odd", odd()), ("mixed", mixed())].map(|(name, graph)| Network {
        name: name.to_owned(),
        graph,
        naming: Naming::NODES,
    });
    entries.map(of).chain(own).collect()
}

/// What no entry of the zoo has.
fn odd() -> Graph {
    Graph::build(Shape::map(4, 19, 17), |x| {
        let x = x.at("Conv/type").conv(3, 8).dilation(2).pad(1).groups(2).clip(-0.5, 2.0);
        let x = x.at("1x1").conv(1, 8).batch_norm().no_scale().sigmoid();
        let x = x.at("impl").conv((3, 5), 6).pad(Sides { top: 0, left: 1, bottom: 2, right: 3 });
        let lrn = Lrn { size: 4, alpha: 0.5, divided: false, beta: 0.5, k: 2.0 };
        let x = x.at("norm").lrn(lrn);
        let lopsided = Sides { top: 1, left: 0, bottom: 0, right: 2 };
        let a = x.at("a").avg_pool(3, 2).pad(lopsided).ceil();
        let b = x.at("b").avg_pool(3, 2).pad(lopsided).ceil().exclude_pad();
        let c = x.at("c").max_pool(3, 2).pad(lopsided).ceil();
        let d = x.at("d").max_pool(3, 2).pad(lopsided).ceil().zero_pad();
        let x = add_scaled(add(a, b), -0.5, concat(&[c, d]).at("e").conv(1, 6));
        let x = x.at("pool").adaptive_avg_pool(Size { h: 3, w: 2 }).flatten();
        let x = x.at("fc.1").linear(12).batch_norm().relu().dropout(0.5);
        x.at("fc.2").linear(5).log_softmax()
    })
    .expect("it builds")
}

/// Parts of one form, and layers called by numbers that are no loop.
fn mixed() -> Graph {
    Graph::build(Shape::map(3, 16, 16), |mut x| {
        x = x.at("features.0").conv(3, 8).at("features.1").relu().at("features.2").max_pool(2, 2);
        for (i, (narrow, kernel)) in [(4, (1, 3)), (8, (3, 1)), (8, (3, 3))].into_iter().enumerate()
        {
            x = x.within(format!("blocks.{i}"), |x| {
                let y = x.at("narrow").conv(1, narrow).relu();
                concat(&[x, y.at("wide").conv(Size { h: kernel.0, w: kernel.1 }, 2 * narrow)])
            });
        }
        x.at("pool").global_avg_pool().flatten().at("head").linear(7).softmax()
    })
    .expect("it builds")
}

/// The folder of the package, with the modules of some networks.
fn package(networks: &[Network]) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("burn");
    let to = Path::new(env!("CARGO_TARGET_TMPDIR")).join("burn");
    fs::create_dir_all(to.join("src")).unwrap();
    for file in ["Cargo.toml", "Cargo.lock", "src/main.rs"] {
        write(&to.join(file), &fs::read_to_string(from.join(file)).unwrap());
    }
    // The usual format, not ours.
    write(&to.join("rustfmt.toml"), "");
    let mut list = String::new();
    for Network { name, graph, naming } in networks {
        let heading = Heading { name, ..Heading::default() };
        let text = code(graph, &heading, naming, Framework::Burn);
        let network = text.split("model: &mut ").nth(1).and_then(|rest| rest.split(',').next());
        list.push_str(&format!("    {name}: {},\n", network.expect("load_weights")));
        write(&to.join(format!("src/{name}.rs")), &text);
    }
    write(&to.join("src/networks.in"), &format!("networks! {{\n{list}}}\n"));
    to
}

/// Writes what is another than before, so that nothing is compiled in vain.
fn write(path: &Path, text: &str) {
    if fs::read_to_string(path).is_ok_and(|old| old == text) {
        return;
    }
    fs::write(path, text).unwrap();
}

fn succeeded(what: &str, output: &Output) -> Result<(), String> {
    let said = [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat();
    if output.status.success() { Ok(()) } else { Err(format!("{what}: {}\n{said}", output.status)) }
}

/// How far a network's logits are apart, as a share of their maximum.
fn run(program: &Path, network: &Network) -> Result<f64, String> {
    let Network { name, graph, naming } = network;
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let rng = Rng::new(1);
    let params = params(graph, &rng);
    let x = compare::images(graph.input(), 1, &mut rng.fork("x"));
    save(&path("weights.safetensors"), graph, &params, naming, None, &BTreeMap::new(), Dtype::F32)
        .unwrap();
    let [c, h, w] = graph.input().chw();
    fs::write(path("sizes"), format!("{} {c} {h} {w}", graph.classes())).unwrap();
    let bytes: Vec<u8> = x.data().iter().flat_map(|value| value.to_le_bytes()).collect();
    fs::write(path("input.f32"), bytes).unwrap();
    succeeded(name, &Command::new(program).arg(name).arg(folder.path()).output().unwrap())?;
    let bytes = fs::read(path("output.f32")).unwrap();
    let found: Vec<f32> =
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
    let mut ours = Native::default().compile(graph, &params, &Options::default()).unwrap();
    Ok(error(ours.run(&x).unwrap().logits().data(), &found))
}

#[test]
fn burn() {
    let networks = networks();
    let package = package(&networks);
    let sources = networks.iter().map(|network| package.join(format!("src/{}.rs", network.name)));
    let mut rustfmt = Command::new("rustfmt");
    rustfmt.args(["--edition", "2024", "--check"]).args(sources);
    succeeded("rustfmt", &rustfmt.output().unwrap()).unwrap_or_else(|what| panic!("{what}"));
    let mut cargo = Command::new(env!("CARGO"));
    let target = package.join("target");
    cargo.args(["build", "--locked", "--target-dir"]).arg(&target).current_dir(&package);
    succeeded("cargo", &cargo.output().unwrap()).unwrap_or_else(|what| panic!("{what}"));

    let (mut tried, mut wrong) = (0, Vec::new());
    for network in &networks {
        let name = &network.name;
        let what = match run(&target.join("debug/generated"), network) {
            Ok(apart) if apart <= 1e-4 => {
                println!("{name}: {apart:.1e}");
                tried += 1;
                continue;
            }
            Ok(apart) => format!("{name}: {apart:.1e} apart"),
            Err(what) => what,
        };
        println!("{what}");
        wrong.push(what);
    }
    assert!(tried > 0 && wrong.is_empty(), "{tried} right\n{}", wrong.join("\n"));
}
