//! Instructions of a few networks, counted by an emulator: the one measure of speed that a busy
//! machine does not disturb. What is on record is `tests/instructions.json`. Another compiler counts
//! otherwise: there the counts are shown, and nothing follows.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use serde::{Deserialize, Serialize};

/// A few networks, which have every kind of step, with the images of a run.
const NETWORKS: [(&str, usize); 5] = [
    ("lenet5", 1),
    ("lenet5", 32),
    ("lenet5_1998", 32),
    ("resnet20_cifar", 1),
    ("squeezenet1_1", 1),
];
/// What counts may grow by. Where the memory of a run lies moves them by a hundred thousandth.
const MARGIN: f64 = 0.02;

#[derive(Serialize, Deserialize)]
struct Record {
    compiler: String,
    counts: BTreeMap<String, u64>,
}

/// Compares the counts with those on record, or records them.
pub(crate) fn check(bless: bool) -> Result<String, String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let record = root.join("tests/instructions.json");
    run(Command::new("cargo")
        .args(["build", "--release", "--locked", "-p", "bench"])
        .current_dir(&root))?;
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| root.join("target"), |dir| root.join(dir));
    let counts: BTreeMap<String, u64> = NETWORKS
        .into_iter()
        .map(|(network, batch)| {
            let count = count(&target.join("release/bench"), network, batch)?;
            Ok((format!("{network} x {batch}"), count))
        })
        .collect::<Result<_, String>>()?;
    let compiler = said(Command::new("rustc").arg("-V"))?;
    if bless {
        let counts = Record { compiler, counts };
        let text = serde_json::to_string_pretty(&counts).map_err(|e| e.to_string())?;
        fs::write(&record, text + "\n").map_err(|e| format!("{}: {e}", record.display()))?;
        return Ok(format!("{} networks are in tests/instructions.json", counts.counts.len()));
    }
    let text = fs::read_to_string(&record).map_err(|e| format!("{}: {e}", record.display()))?;
    let recorded: Record =
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", record.display()))?;
    let (mut grown, mut fallen) = (Vec::new(), false);
    for (network, found) in &counts {
        let expected = recorded.counts.get(network).ok_or(format!(
            "tests/instructions.json: no {network}; record it with `cargo xtask instructions --bless`"
        ))?;
        let change = *found as f64 / *expected as f64 - 1.0;
        println!("{network:<18} {found:>13} instructions, {:+.2} %", 100.0 * change);
        if change > MARGIN {
            grown.push(format!("{network}: found {found}, expected {expected}"));
        }
        fallen |= change < -MARGIN;
    }
    if recorded.compiler != compiler {
        return Ok(format!("recorded with {}, counted with {compiler}", recorded.compiler));
    }
    let bless = "record them with `cargo xtask instructions --bless`";
    let percent = 100.0 * MARGIN;
    if !grown.is_empty() {
        let grown = grown.join("\n  ");
        return Err(format!(
            "instructions grew by more than {percent:.0} %:\n  {grown}\nif that is worth it, {bless}"
        ));
    }
    Ok(match fallen {
        true => format!("some fell by more than {percent:.0} %: {bless}"),
        false => format!("{} networks take no more instructions than on record", counts.len()),
    })
}

/// Instructions of one run of a network.
fn count(bench: &Path, network: &str, batch: usize) -> Result<u64, String> {
    let text = run(Command::new("valgrind")
        .args(["--tool=callgrind", "--callgrind-out-file=/dev/null"])
        .arg("--toggle-collect=*counted_run*")
        .arg(bench)
        .args(["instructions", network, &batch.to_string()]))?;
    let collected = text.lines().find_map(|line| line.split_once("Collected :"));
    let count = collected.and_then(|(_, count)| count.trim().parse().ok());
    count.filter(|count| *count > 0).ok_or(format!("valgrind counted nothing in {network}: {text}"))
}

/// What a command says on its error stream.
fn run(command: &mut Command) -> Result<String, String> {
    Ok(String::from_utf8_lossy(&output(command)?.stderr).into_owned())
}

/// What a command says.
fn said(command: &mut Command) -> Result<String, String> {
    Ok(String::from_utf8_lossy(&output(command)?.stdout).trim().to_owned())
}

fn output(command: &mut Command) -> Result<Output, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|e| format!("{name} cannot be run: {e}"))?;
    match output.status.success() {
        true => Ok(output),
        false => Err(format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr))),
    }
}
