//! The statements of a body: which steps stand in one, and what the values are called.

use striate_graph::Op;

use super::outline::{Body, Operand, Step, What};

/// `target = …`, or what is returned.
#[derive(Debug)]
pub(crate) struct Statement {
    /// The steps in it, each applied to what the one before makes.
    pub(crate) steps: Vec<usize>,
    /// What the first of them reads.
    pub(crate) operands: Vec<String>,
    /// What an optional step is replaced by.
    pub(crate) instead: Option<String>,
    /// What its value is called.
    pub(crate) target: String,
}

/// Names of values, in the order in which they are taken.
const NAMES: [&str; 8] = ["y", "z", "u", "v", "w", "p", "q", "r"];

/// What the value of an optional step is called.
const SHORTCUT: &str = "shortcut";

/// The statements, and what the outputs are called. `fuse`: layers and what follows them in one.
pub(crate) fn flow(body: &Body<'_>, fuse: bool) -> (Vec<Statement>, Vec<String>) {
    let steps = &body.steps;
    let mut uses = vec![0; steps.len()];
    let mut fed = 0;
    let instead = |step: &Step<'_>| step.else_input;
    let read = steps.iter().flat_map(|step| step.inputs.iter().copied().chain(instead(step)));
    for operand in read.chain(body.outputs.iter().copied()) {
        match operand {
            Some(i) => uses[i] += 1,
            None => fed += 1,
        }
    }
    let total = uses.clone();
    let fed_in_all = fed;

    let mut statements: Vec<Statement> = Vec::new();
    // The statement that makes the value of a step, and what each value is called.
    let mut names: Vec<String> = vec![String::new(); steps.len()];
    let mut live: Vec<String> = vec![String::from("x")];
    let mut at = 0;
    while at < steps.len() {
        let mut own = vec![at];
        while fuse && fuses(steps, own[own.len() - 1], &total) {
            own.push(own[own.len() - 1] + 1);
        }
        at = own[own.len() - 1] + 1;
        let (first, last) = (&steps[own[0]], own[own.len() - 1]);
        let name = |operand: Operand| operand.map_or(String::from("x"), |i| names[i].clone());
        let operands: Vec<String> = first.inputs.iter().map(|&operand| name(operand)).collect();
        let other = first.else_input.map(name);
        // The names of the operands that nobody reads any more.
        let mut free = Vec::new();
        for operand in first.inputs.iter().copied().chain(instead(first)) {
            let (left, all) = match operand {
                Some(i) => (&mut uses[i], total[i]),
                None => (&mut fed, fed_in_all),
            };
            *left -= 1;
            if *left == 0 {
                // A value that several read keeps its name but for a sum: it is easier to follow.
                free.push((name(operand), all == 1 || first.inputs.len() > 1));
            }
        }
        live.retain(|live| !free.iter().any(|(name, _)| name == live));
        let optional = matches!(first.what, What::Optional(_));
        let mut reused = free.iter().filter(|(_, reused)| *reused).map(|(name, _)| name);
        let target = match reused.clone().find(|name| *name == "x").or_else(|| reused.next()) {
            Some(name) if !optional => name.clone(),
            Some(_) | None if optional && !live.iter().any(|name| name == SHORTCUT) => {
                String::from(SHORTCUT)
            }
            Some(_) | None => fresh(&live, &free),
        };
        live.push(target.clone());
        names[last].clone_from(&target);
        statements.push(Statement { steps: own, operands, instead: other, target });
    }
    let outputs = body.outputs.iter();
    let outputs = outputs.map(|operand| operand.map_or(String::from("x"), |i| names[i].clone()));
    (statements, outputs.collect())
}

fn fresh(live: &[String], free: &[(String, bool)]) -> String {
    let taken = |name: &str| live.iter().any(|n| n == name) || free.iter().any(|(n, _)| n == name);
    let plain = NAMES.iter().map(|name| (*name).to_owned());
    let mut names = plain.chain((1..).map(|i| format!("y{i}")));
    names.find(|name| !taken(name)).unwrap_or_default()
}

/// Whether the next step reads nothing but the value of this one, and is said in one breath with it.
fn fuses(steps: &[Step<'_>], at: usize, uses: &[usize]) -> bool {
    let Some(next) = steps.get(at + 1) else { return false };
    if uses[at] != 1 || next.inputs != [Some(at)] {
        return false;
    }
    let What::Op(node) = &next.what else { return false };
    match &steps[at].what {
        What::Optional(_) => false,
        What::Op(before) if before.op == Op::Flatten => matches!(node.op, Op::Linear(_)),
        What::Op(_) | What::ConvNorm(..) | What::Part(_) | What::Sequence(_) => {
            matches!(node.op, Op::BatchNorm(_) | Op::Relu | Op::Clip(_) | Op::Sigmoid | Op::Tanh(_))
        }
    }
}
