//! Gradients and steps as PyTorch computes them. The files say how they were made.

use conformance::golden;
use serde_json::Value;
use striate_data::{Augment, Batch};
use striate_tensor::Tensor;
use striate_train::{Loss, Optimizer, Recipe, Schedule, ScheduleKind, Trainer};

fn recipe(optimizer: Optimizer, decay: f32, batch: usize) -> Recipe {
    Recipe {
        loss: Loss::cross_entropy(),
        optimizer,
        schedule: Schedule { lr: 1.0, kind: ScheduleKind::Constant, warmup: 0.0 },
        decay,
        batch,
        epochs: 1,
        seed: 1,
        augment: Augment::none(),
    }
}

fn trainer(file: &Value, recipe: Recipe) -> (Trainer, Vec<String>) {
    let entry = striate_zoo::find(file["model"].as_str().unwrap()).unwrap();
    let [c, h, w] = golden::numbers(&file["input"]["shape"])[1..].try_into().unwrap();
    let input = [c, h, w].map(|n: f64| n as usize);
    let graph = entry.build(&striate_zoo::Config { input, ..entry.config() }).unwrap();
    let params = golden::params(&graph, &entry.naming, file["gain"].as_f64().unwrap());
    let keys = entry.naming.keys(&graph);
    (Trainer::new(&graph, params, recipe, 2).unwrap(), keys)
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>().sqrt()
}

fn close(what: &str, found: f64, expected: f64, scale: f64) {
    let error = (found - expected).abs() / scale;
    assert!(error < 2e-4, "{what}: found {found}, expected {expected}");
}

/// Norm and first values of each named tensor.
fn compare<'a>(name: &str, expected: &Value, tensors: impl Iterator<Item = (String, &'a [f32])>) {
    let mut compared = 0;
    for (tensor, values) in tensors {
        let Some(expected) = expected.get(&tensor) else { continue };
        compared += 1;
        let scale = expected["norm"].as_f64().unwrap().max(1e-3);
        close(&format!("{name} {tensor}"), norm(values), expected["norm"].as_f64().unwrap(), scale);
        for (found, expected) in values.iter().zip(golden::numbers(&expected["first"])) {
            close(&format!("{name} {tensor}[..]"), f64::from(*found), expected, scale);
        }
    }
    assert_eq!(compared, expected.as_object().unwrap().len(), "{name}: tensors compared");
}

#[test]
fn gradients_and_statistics_of_a_step() {
    for name in ["lenet5", "resnet18", "resnet20_cifar", "resnet20_cifar_b"] {
        let file = golden::read(&format!("grads_{name}.json"));
        let images = golden::input(&file["input"], "input");
        let labels: Vec<u32> =
            golden::numbers(&file["labels"]).iter().map(|&label| label as u32).collect();
        let still = Optimizer::Sgd { momentum: 0.0, nesterov: false };
        let (mut trainer, keys) = trainer(&file, recipe(still, 0.0, labels.len()));
        let report = trainer.step(&Batch { images, labels, index: 0 }, 0.0).unwrap();
        close(name, report.score.mean_loss(), file["loss"].as_f64().unwrap(), 1.0);
        let key = |param: &striate_graph::Param| {
            format!("{}.{}", keys[param.node.index()], param.slot.leaf)
        };
        let layout = trainer.params().layout();
        let trained = layout.params().iter().filter(|param| param.slot.role.is_trained());
        let gradient = trainer.gradient();
        let gradients = trained.map(|param| (key(param), &gradient[param.range.clone()]));
        compare(name, &file["grads"], gradients);
        let statistics = trainer.params().iter().map(|(param, values)| (key(param), values));
        compare(name, &file["buffers_after"], statistics);
    }
}

#[test]
fn three_steps_of_each_optimizer() {
    let cases = [
        ("sgd", Optimizer::Sgd { momentum: 0.9, nesterov: false }),
        ("nesterov", Optimizer::Sgd { momentum: 0.9, nesterov: true }),
        ("adam", Optimizer::ADAM),
        ("adamw", Optimizer::ADAMW),
    ];
    for (name, optimizer) in cases {
        let file = golden::read(&format!("train_lenet5_{name}.json"));
        let setting = |key: &str| file["settings"][key].as_f64().unwrap() as f32;
        let recipe = recipe(optimizer, setting("weight_decay"), 16);
        let (mut trainer, _) = trainer(&file, recipe);
        for (step, expected) in golden::numbers(&file["losses"]).into_iter().enumerate() {
            let turn = step % 4;
            let images: Tensor = golden::input(&file["input"], &format!("input.{turn}"));
            let labels = (0..16).map(|i| (3 * i + turn as u32) % 10).collect();
            let report =
                trainer.step(&Batch { images, labels, index: step }, setting("lr")).unwrap();
            close(name, report.score.mean_loss(), expected, 1.0);
        }
        for (param, values) in trainer.params().iter() {
            let expected = file["params_after"][&param.name].as_f64().unwrap();
            close(&format!("{name} {}", param.name), norm(values), expected, expected);
        }
    }
}
