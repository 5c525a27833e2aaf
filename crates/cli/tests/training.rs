//! Training as a user runs it: the files of a run, predicting with them, and going on after a stop
//! at any moment.

mod common;

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Duration;

use common::{digit, expect, few_digits, json, striate};

/// A short run on few digits, as in all tests here: five epochs of 16 steps.
fn arguments<'a>(data: &'a str, output: &'a str) -> Vec<&'a str> {
    let recipe = ["--epochs", "5", "--batch-size", "64", "--lr", "0.05", "--seed", "7"];
    [&["--quiet", "train", "lenet5", data, "--output", output][..], &recipe].concat()
}

fn start(arguments: &[&str]) -> Child {
    striate().args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn path_of(directory: &tempfile::TempDir, name: &str) -> String {
    directory.path().join(name).display().to_string()
}

fn digest(out: &str) -> String {
    json(out)["weights_sha256"].as_str().unwrap().to_owned()
}

#[test]
fn a_run_leaves_its_files_and_its_weights_are_of_use() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().display().to_string();
    few_digits(directory.path(), 1024, 256);
    let run = directory.path().join("run");
    let output = run.display().to_string();
    let (out, _) = expect(0, &arguments(&data, &output));
    assert!(out.contains("lenet5 after 5 epochs"), "{out}");
    for file in [
        "args.toml",
        "log.jsonl",
        "last/state.json",
        "best/model.safetensors",
        "last/optimizer.safetensors",
    ] {
        assert!(run.join(file).is_file(), "{file}");
    }
    let log = std::fs::read_to_string(run.join("log.jsonl")).unwrap();
    let losses: Vec<f64> =
        log.lines().map(|line| json(line)["train_loss"].as_f64().unwrap()).collect();
    assert!(losses.len() == 5 && losses[4] < losses[0] / 2.0, "{losses:?}");

    let best = run.join("best").display().to_string();
    let results = run.join("results.json").display().to_string();
    let (out, _) = expect(
        0,
        &["val", "lenet5", &data, "--weights", &best, "--json", "--results-file", &results],
    );
    let result = json(&out);
    assert_eq!(result["images"], 256);
    assert!(result["top1"].as_f64().unwrap() > 0.75, "{result}");
    assert_eq!(json(&std::fs::read_to_string(&results).unwrap()), result);
    let best_logged =
        log.lines().map(|line| json(line)["val_top1"].as_f64().unwrap()).fold(0.0, f64::max);
    assert!((result["top1"].as_f64().unwrap() - best_logged).abs() < 1e-9);

    let right = (0..20).filter(|&index| {
        let (picture, label) = digit(directory.path(), index);
        let picture = picture.display().to_string();
        let (out, _) = expect(0, &["predict", "lenet5", "--weights", &best, &picture, "--json"]);
        json(&out)[0]["top"][0]["class"] == label
    });
    assert!(right.count() >= 14);

    let streamed = path_of(&directory, "streamed");
    let (out, _) = expect(0, &[&arguments(&data, &streamed)[..], &["--jsonl"]].concat());
    let epochs: Vec<u64> = out.lines().map(|line| json(line)["epoch"].as_u64().unwrap()).collect();
    assert_eq!(epochs, [1, 2, 3, 4, 5]);

    // A run is never written over.
    let (_, error) = expect(2, &arguments(&data, &output));
    assert!(error.contains("--resume"), "{error}");
}

#[test]
fn killed_at_random_moments_and_resumed_it_ends_with_the_same_weights() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().display().to_string();
    few_digits(directory.path(), 1024, 256);
    let path = |name: &str| path_of(&directory, name);
    let whole = path("whole");
    let started = std::time::Instant::now();
    let (out, _) = expect(0, &[&arguments(&data, &whole)[..], &["--json"]].concat());
    let length = started.elapsed();
    let expected = digest(&out);
    let log = |run: &str| -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(Path::new(run).join("log.jsonl")).unwrap();
        let without_clock = |line: &str| {
            let mut report = json(line);
            for clock in ["seconds", "images_per_s"] {
                report.as_object_mut().unwrap().remove(clock);
            }
            report
        };
        text.lines().map(without_clock).collect()
    };
    let mut rng = striate::tensor::Rng::new(u64::from(std::process::id()));
    let run = path("broken");
    let mut kills = 0;
    for _ in 0..10 {
        let begun =
            Path::new(&run).join("last").exists() || Path::new(&run).join("last.old").exists();
        let mut child = if begun {
            start(&["--quiet", "train", "--resume", &run])
        } else {
            let _ = std::fs::remove_dir_all(&run);
            start(&arguments(&data, &run))
        };
        std::thread::sleep(length.mul_f32(rng.uniform().min(0.9)) + Duration::from_millis(1));
        if child.try_wait().unwrap().is_none() {
            kills += 1;
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills > 0, "no run was still going when it was to be killed");
    if !Path::new(&run).join("last").exists() && !Path::new(&run).join("last.old").exists() {
        let _ = std::fs::remove_dir_all(&run);
        expect(0, &arguments(&data, &run));
    }
    let (out, _) = expect(0, &["--quiet", "train", "--resume", &run, "--json"]);
    assert_eq!(digest(&out), expected);
    assert_eq!(log(&run), log(&whole));
}

#[cfg(unix)]
#[test]
fn an_interrupt_writes_a_checkpoint_in_the_middle_of_an_epoch() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().display().to_string();
    few_digits(directory.path(), 1024, 256);
    let path = |name: &str| path_of(&directory, name);
    let more = ["--epochs", "200", "--batch-size", "8", "--lr", "0.01"];
    let run = path("run");
    let mut child =
        start(&[&["--quiet", "train", "lenet5", &data, "--output", &run][..], &more].concat());
    // Until it has begun: the arguments are written just before the first step.
    while !Path::new(&run).join("args.toml").exists() {
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_millis(150));
    let killed =
        std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let state = std::fs::read_to_string(Path::new(&run).join("last/state.json")).unwrap();
    assert!(json(&state)["place"]["step"].as_u64().unwrap() > 0, "{state}");
}

#[test]
fn weights_do_not_depend_on_threads_and_workers() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().display().to_string();
    few_digits(directory.path(), 512, 64);
    let digests: Vec<String> = [("1", "0"), ("2", "1"), ("3", "2")]
        .iter()
        .map(|(threads, workers)| {
            let output = directory.path().join(format!("run{threads}")).display().to_string();
            let more =
                ["--augment", "digits", "--threads", threads, "--workers", workers, "--json"];
            digest(&expect(0, &[&arguments(&data, &output)[..], &more].concat()).0)
        })
        .collect();
    assert!(digests.windows(2).all(|pair| pair[0] == pair[1]), "{digests:?}");
}

#[cfg(unix)]
#[test]
fn where_a_checkpoint_cannot_be_written_the_old_one_stays() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().display().to_string();
    few_digits(directory.path(), 1024, 256);
    let path = |name: &str| path_of(&directory, name);
    let (out, _) = expect(0, &[&arguments(&data, &path("whole"))[..], &["--json"]].concat());
    let run = path("run");
    let mut child = start(&arguments(&data, &run));
    while !Path::new(&run).join("last").exists() {
        std::thread::sleep(Duration::from_millis(2));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let state = || std::fs::read_to_string(Path::new(&run).join("last/state.json")).unwrap();
    let before = state();
    // No file may grow beyond a few KiB, so that writing fails as on a full disk.
    let limited = "trap '' XFSZ; ulimit -f 32; exec \"$0\" \"$@\"";
    let output = std::process::Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_striate")])
        .args(["--quiet", "train", "--resume", &run])
        .output()
        .unwrap();
    let (_, error) = common::texts(&output);
    assert_eq!(output.status.code(), Some(1), "{error}");
    assert!(error.contains("model.safetensors"), "{error}");
    assert_eq!(state(), before);
    assert!(!Path::new(&run).join("last.new").exists());
    let (resumed, _) = expect(0, &["--quiet", "train", "--resume", &run, "--json"]);
    assert_eq!(digest(&resumed), digest(&out));
}
