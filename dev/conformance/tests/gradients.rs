//! Gradients belong to forward: every operation, by finite differences of the interpreter in f64.
//!
//! Before the operation stands a convolution, `probe`, so that the gradient of what the operation
//! reads is checked by that of the probe's weights.

use striate_data::{Augment, Batch};
use striate_exec::interpreter::{Mode, evaluate};
use striate_graph::op::{Lrn, Tanh};
use striate_graph::{Graph, Init, Op, Params, Shape, Value, add, add_scaled, concat};
use striate_tensor::{Rng, Tensor};
use striate_train::{
    Loss, LossKind, Optimizer, Recipe, Schedule, ScheduleKind, Trainer, dropout_stays,
};

type Net = for<'g> fn(Value<'g>) -> Value<'g>;

/// What stands behind the probe; the probe has six maps of 7×9.
const CASES: &[(&str, Net)] = &[
    ("conv 3x3", |x| x.conv(3, 5)),
    ("conv 1x1, no bias", |x| x.conv(1, 4).no_bias()),
    ("conv 3x3/2, no padding", |x| x.conv(3, 4).stride(2).pad(0)),
    ("conv 2x3/(2,1), padding on two sides", |x| {
        x.conv((2, 3), 4).stride((2, 1)).pad([0, 2, 1, 0])
    }),
    ("conv 3x3, dilated", |x| x.conv(3, 4).dilation(2)),
    ("conv 5x5/3, dilated rows", |x| x.conv(3, 4).dilation((2, 1)).stride((3, 2))),
    ("conv 3x3, two groups", |x| x.conv(3, 4).groups(2)),
    ("conv 3x3, depthwise", |x| x.conv(3, 6).groups(6).stride(2)),
    ("conv 7x1 and 1x7", |x| x.conv((7, 1), 3).conv((1, 7), 2)),
    ("conv over the whole map", |x| x.conv((7, 9), 5).pad(0)),
    ("conv with a table", |x| x.conv(3, 3).table(&["X.X", "XX.", ".XX", "X..", ".X.", "..X"])),
    ("linear", |x| x.flatten().linear(7)),
    ("linear, no bias", |x| x.flatten().linear(7).no_bias()),
    ("max pool 2x2/2", |x| x.max_pool(2, 2)),
    ("max pool 3x3/2, ceil", |x| x.max_pool(3, 2).ceil()),
    ("max pool 3x2/(1,2), padding", |x| x.max_pool((3, 2), (1, 2)).pad([1, 0, 1, 1])),
    ("max pool 3x3/2, zeros", |x| x.max_pool(3, 2).pad(1).zero_pad()),
    ("avg pool 2x2/2", |x| x.avg_pool(2, 2)),
    ("avg pool 3x3/2, padding counted, ceil", |x| x.avg_pool(3, 2).pad(1).ceil()),
    ("avg pool 3x3/1, padding not counted", |x| x.avg_pool(3, 1).pad(1).exclude_pad()),
    ("global avg pool", |x| x.global_avg_pool()),
    ("adaptive avg pool", |x| x.adaptive_avg_pool((3, 4))),
    ("subsample", |x| x.subsample(2, 2)),
    ("batch norm", |x| x.batch_norm()),
    ("batch norm, relu, conv", |x| {
        x.batch_norm().relu().conv(3, 3).no_bias().batch_norm().eps(1e-3)
    }),
    ("lrn, divided", |x| x.lrn(Lrn { size: 5, alpha: 0.5, divided: true, beta: 0.75, k: 1.0 })),
    ("lrn, not divided, even window", |x| {
        x.lrn(Lrn { size: 4, alpha: 0.3, divided: false, beta: 0.6, k: 2.0 })
    }),
    ("relu", |x| x.relu()),
    ("tanh", |x| x.tanh(Tanh::LECUN)),
    ("sigmoid", |x| x.sigmoid()),
    ("softmax of maps", |x| x.softmax()),
    ("softmax of a row", |x| x.flatten().linear(5).softmax()),
    ("dropout", |x| x.dropout(0.4).conv(3, 3)),
    ("add", |x| {
        let y = x.conv(3, 6).relu();
        add(add(y, x), y)
    }),
    ("add scaled", |x| add_scaled(x.relu(), 0.17, x.conv(1, 6))),
    ("concat", |x| concat(&[x.conv(1, 3).relu(), x, x.conv(3, 2)])),
    ("concat of rows", |x| concat(&[x.flatten().linear(3), x.global_avg_pool().flatten()])),
    ("flatten", |x| x.flatten()),
    ("shortcut", |x| add(x.shortcut(2, 9), x.conv(3, 9).stride(2))),
];

const SEED: u64 = 3;

fn recipe(kind: LossKind, batch: usize) -> Recipe {
    Recipe {
        loss: Loss { kind, heads: vec![] },
        optimizer: Optimizer::Sgd { momentum: 0.0, nesterov: false },
        schedule: Schedule { lr: 1.0, kind: ScheduleKind::Constant, warmup: 0.0 },
        decay: 0.0,
        batch,
        epochs: 1,
        seed: SEED,
        augment: Augment::none(),
    }
}

/// Mean loss of a batch in f64, forward as in training.
fn loss(graph: &Graph, params: &Params, batch: &Batch, kind: LossKind) -> f64 {
    let count = batch.labels.len();
    let masks: Vec<Vec<bool>> = graph
        .iter()
        .map(|(id, node)| {
            let Op::Dropout(op) = node.op else { return Vec::new() };
            dropout_stays(SEED, 0, id, op.p, count * node.shape.volume())
        })
        .collect();
    let stays = |id: striate_graph::NodeId, i: usize| masks[id.index()][i];
    let mode = Mode::Train { stays: &stays };
    let values = evaluate(graph, params, &batch.images, mode).unwrap();
    let outputs = &values[graph.outputs()[0].node.index()];
    let rows = outputs.chunks_exact(outputs.len() / count).zip(&batch.labels);
    let total: f64 = rows
        .map(|(row, &label)| {
            let right = row[label as usize];
            match kind {
                LossKind::CrossEntropy { .. } => {
                    row.iter().map(|y| (y - right).exp()).sum::<f64>().ln()
                }
                LossKind::Discriminative { rubbish } => {
                    let all = row.iter().copied().chain([f64::from(rubbish)]);
                    right + all.map(|y| (-y).exp()).sum::<f64>().ln()
                }
            }
        })
        .sum();
    total / count as f64
}

fn check(name: &str, graph: &Graph, kind: LossKind) {
    let rng = Rng::new(SEED);
    let mut params = Params::init(graph, &Init::KaimingFanIn, &rng);
    let mut draw = rng.fork("everything else");
    // γ, β and biases away from their even beginnings.
    for value in params.trained_mut() {
        *value += draw.within(-0.1, 0.1);
    }
    params.sever(graph);
    let shape = graph.input().batched(3);
    let images = (0..shape.iter().product()).map(|_| draw.normal()).collect();
    let images = Tensor::new(&shape, images).unwrap();
    let batch = Batch { images, labels: vec![1, 0, 2], index: 0 };
    let mut trainer = Trainer::new(graph, params.clone(), recipe(kind, 3), 2).unwrap();
    let report = trainer.step(&batch, 0.0).unwrap();
    let expected = loss(graph, &params, &batch, kind);
    assert!((report.score.mean_loss() - expected).abs() < 1e-4 * expected.abs().max(1.0), "{name}");

    for param in graph.layout().params().iter().filter(|param| param.slot.role.is_trained()) {
        let gradient = &trainer.gradient()[param.range.clone()];
        let scale = gradient.iter().fold(1e-3f32, |m, g| m.max(g.abs()));
        let stride = (gradient.len() / 24).max(1);
        for i in (0..gradient.len()).step_by(stride) {
            let at = param.range.start + i;
            let moved = |step: f32| {
                let mut moved = params.clone();
                moved.values_mut()[at] += step;
                moved.sever(graph);
                (f64::from(moved.values()[at]), loss(graph, &moved, &batch, kind))
            };
            let ((a, low), (b, high)) = (moved(-1.0 / 4096.0), moved(1.0 / 4096.0));
            let difference = if a == b { 0.0 } else { (high - low) / (b - a) };
            let error = (difference - f64::from(gradient[i])).abs() / f64::from(scale);
            assert!(
                error < 2e-3,
                "{name}: {}[{i}]: difference {difference}, gradient {}",
                param.name,
                gradient[i]
            );
        }
    }
}

#[test]
fn of_every_operation() {
    let mut kinds = std::collections::BTreeSet::new();
    for (name, net) in CASES {
        let graph = Graph::build(Shape::map(2, 7, 9), |x| {
            net(x.at("probe").conv(3, 6)).at("end").flatten()
        });
        let graph = graph.unwrap_or_else(|e| panic!("{name}: {e}"));
        kinds.extend(graph.nodes().iter().map(|node| node.op.kind()));
        check(name, &graph, LossKind::CrossEntropy { smoothing: 0.0 });
    }
    let codes = || (0..4).map(|i| (0..6).map(|j| (i * j) % 3 == 1).collect()).collect();
    let rbf = Graph::build(Shape::map(2, 7, 9), |x| {
        let x = x.at("probe").conv(3, 3).stride(3).relu().flatten();
        x.at("fc").linear(6).tanh(Tanh::LECUN).at("rbf").rbf(codes())
    });
    check("rbf", &rbf.unwrap(), LossKind::Discriminative { rubbish: 2.0 });
    // `rbf` is the last of the kinds of operation.
    assert_eq!(kinds.len() + 1, 20, "an operation has no case: {kinds:?}");
}
