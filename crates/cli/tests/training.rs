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

/// A run of as many epochs, of 128 steps each: long enough to be met in its middle.
fn long<'a>(data: &'a str, output: &'a str) -> Vec<&'a str> {
    let recipe = ["--epochs", "5", "--batch-size", "8", "--lr", "0.01"];
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

/// Steps of the run's last whole checkpoint, once there is one.
fn steps(run: &str) -> Option<u64> {
    let read = |name| std::fs::read_to_string(Path::new(run).join(name).join("state.json")).ok();
    let state = read("last").or_else(|| read("last.old"))?;
    // While it is written anew, each of the two may be gone for a moment.
    json(&state)["place"]["step"].as_u64()
}

/// Waits until the checkpoint of a run is so many steps old, or the process is done.
fn wait_for(child: &mut Child, run: &str, goal: u64) {
    while steps(run).is_none_or(|steps| steps < goal) && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// The lines of a run's log without what the clock says.
fn log(run: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(Path::new(run).join("log.jsonl")).unwrap();
    let without_clock = |line: &str| {
        let mut report = json(line);
        for clock in ["seconds", "images_per_s"] {
            report.as_object_mut().unwrap().remove(clock);
        }
        report
    };
    text.lines().map(without_clock).collect()
}

#[test]
fn killed_at_random_moments_and_resumed_it_ends_with_the_same_weights() {
    const STEPS: u64 = 5 * 128;
    const SEED: u64 = 20;
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().display().to_string();
    few_digits(directory.path(), 1024, 256);
    let path = |name: &str| path_of(&directory, name);
    let whole = path("whole");
    let expected = digest(&expect(0, &[&long(&data, &whole)[..], &["--json"]].concat()).0);
    let mut rng = striate::tensor::Rng::new(SEED);
    let mut resumed = 0;
    // Where this test waits for the machine while the run goes on, a run may be over too soon.
    for attempt in 0..50 {
        let run = path(&format!("broken{attempt}"));
        let mut before = None;
        loop {
            let every = (1 + rng.below(4)).to_string();
            let mut arguments = match before {
                None => long(&data, &run),
                Some(_) => vec!["--quiet", "train", "--resume", &run],
            };
            arguments.extend(["--checkpoint-every", &every]);
            let mut child = start(&arguments);
            let goal = before.unwrap_or(0) + rng.below(90) as u64;
            wait_for(&mut child, &run, goal);
            child.kill().unwrap();
            // Killed, it has no exit code.
            let code = child.wait().unwrap().code();
            assert!(code.is_none_or(|code| code == 0), "it ended by itself with {code:?}");
            let after = steps(&run).expect("a killed run leaves a checkpoint");
            assert!(after >= goal.min(STEPS) && Some(after) >= before, "{after} {goal}");
            // This process went on from the middle of the run and was killed in it again.
            let middle = |steps: u64| steps > 0 && steps < STEPS;
            if before.is_some_and(|before| middle(before) && after > before) && middle(after) {
                resumed += 1;
            }
            before = Some(after);
            if after == STEPS {
                break;
            }
        }
        let (out, _) = expect(0, &["--quiet", "train", "--resume", &run, "--json"]);
        assert_eq!(digest(&out), expected, "seed {SEED}, attempt {attempt}");
        assert_eq!(log(&run), log(&whole));
        println!("seed {SEED}, attempt {attempt}: {resumed} resumed and killed in the middle");
        if resumed >= 5 {
            return;
        }
    }
    panic!("only {resumed} runs were resumed and killed in the middle");
}

#[test]
fn killed_before_its_first_step_is_done_it_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().display().to_string();
    few_digits(directory.path(), 512, 64);
    let run = path_of(&directory, "run");
    let mut child = start(&arguments(&data, &run));
    wait_for(&mut child, &run, 0);
    assert!(steps(&run).is_some(), "a checkpoint before the end of the first epoch");
    child.kill().unwrap();
    child.wait().unwrap();
    let (out, _) = expect(0, &["--quiet", "train", "--resume", &run]);
    assert!(out.contains("lenet5 after 5 epochs"), "{out}");
}

#[test]
fn a_run_goes_on_alone_and_on_its_own_data() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| path_of(&directory, name);
    let [data, other, moved] = ["data", "other", "moved"].map(path);
    for (data, train) in [(&data, 256), (&other, 255)] {
        std::fs::create_dir(data).unwrap();
        few_digits(data.as_ref(), train, 64);
    }
    let run = path("run");
    let short = ["--quiet", "train", "lenet5", &data, "--output", &run, "--epochs", "1"];
    let (begun, _) = expect(0, &short);
    assert!(begun.contains("lenet5 after 1 epoch:"), "{begun}");
    // A run that is finished says so again.
    let resume = ["--quiet", "train", "--resume", &run];
    assert_eq!(expect(0, &resume).0, begun);
    let (document, _) = expect(0, &[&resume[..], &["--json"]].concat());
    assert_eq!(json(&document)["val_top1"], log(&run)[0]["val_top1"]);

    let (_, error) = expect(1, &["train", "lenet5", &other, "--resume", &run]);
    assert!(error.contains("found 255 pictures") && error.contains("on 256 pictures"), "{error}");
    std::fs::rename(&data, &moved).unwrap();
    let (_, error) = expect(1, &resume);
    assert!(error.contains("name the folder they are in now"), "{error}");
    let resume = ["--quiet", "train", "lenet5", &moved, "--resume", &run];
    expect(0, &resume);

    let lock = striate::train::Lock::take(run.as_ref()).unwrap();
    let (_, error) = expect(1, &resume);
    assert!(error.contains(&format!("process {}", std::process::id())), "{error}");
    drop(lock);
    expect(0, &resume);

    // What is left of a run is not written over, whatever it is.
    let short = [&short[..3], &[&moved], &short[4..]].concat();
    for left in ["last", "last.old", "best", "best.old", "log.jsonl"] {
        std::fs::remove_dir_all(&run).unwrap();
        std::fs::create_dir_all(Path::new(&run).join(left)).unwrap();
        let (_, error) = expect(2, &short);
        assert!(error.contains("--resume"), "{left}: {error}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupt_writes_a_checkpoint_in_the_middle_of_an_epoch() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().display().to_string();
    few_digits(directory.path(), 1024, 256);
    let run = path_of(&directory, "run");
    let more = ["--epochs", "100000", "--batch-size", "8", "--lr", "0.01"];
    let begin = ["--quiet", "train", "lenet5", &data, "--output", &run];
    let every = ["--checkpoint-every", "1"];
    let mut child = start(&[&begin[..], &more, &every].concat());
    wait_for(&mut child, &run, 1);
    let killed =
        std::process::Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(killed.unwrap().success());
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert!(steps(&run).is_some_and(|steps| steps > 0));
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
    let (out, _) = expect(0, &[&long(&data, &path("whole"))[..], &["--json"]].concat());
    let run = path("run");
    let mut child = start(&long(&data, &run));
    wait_for(&mut child, &run, 0);
    child.kill().unwrap();
    child.wait().unwrap();
    // One that was killed between two renames has it in `last.old`.
    let state = || {
        let read = |name| std::fs::read(Path::new(&run).join(name).join("state.json")).ok();
        read("last").or_else(|| read("last.old")).unwrap()
    };
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
