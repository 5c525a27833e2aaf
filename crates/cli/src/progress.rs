//! Who follows a training run: a bar on a terminal, a line now and then elsewhere.

use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use striate::train::{EpochReport, Observer, Place, StepReport};

use crate::output::print;

/// Set by the first Ctrl-C.
pub(crate) static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// How long a run without a terminal is silent at most.
const SILENCE: Duration = Duration::from_secs(15);

pub(crate) struct Progress {
    bar: ProgressBar,
    epochs: u64,
    lines: bool,
    quiet: bool,
    /// Whether each epoch's report goes to standard output as a line of JSON.
    jsonl: bool,
    spoke: Instant,
}

impl Progress {
    pub(crate) fn new(epochs: u64, quiet: bool, jsonl: bool) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        let target = if quiet || !terminal {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let style = "{prefix} {bar:12} {pos}/{len}  {msg}  {eta} left";
        let style = ProgressStyle::with_template(style).expect("the template is well-formed");
        Progress {
            bar: ProgressBar::with_draw_target(None, target).with_style(style),
            epochs,
            lines: !quiet && !terminal,
            quiet,
            jsonl,
            spoke: Instant::now(),
        }
    }

    fn status(&self, place: &Place) -> String {
        let score = place.score;
        format!(
            "loss {:.4}  {:.2} %  {:.0} images/s",
            score.mean_loss(),
            100.0 * score.top1(),
            score.seen as f64 / place.seconds.max(1e-9)
        )
    }
}

impl Observer for Progress {
    fn step(&mut self, place: &Place, batches: u64, _: &StepReport) {
        let epoch = place.epoch + 1;
        if self.lines && self.spoke.elapsed() >= SILENCE {
            self.spoke = Instant::now();
            eprintln!(
                "epoch {epoch}/{}  {}/{batches}  {}",
                self.epochs,
                place.batch,
                self.status(place)
            );
        }
        if !self.bar.is_hidden() {
            self.bar.set_prefix(format!("epoch {epoch}/{}", self.epochs));
            self.bar.set_length(batches);
            self.bar.set_position(place.batch);
            self.bar.set_message(self.status(place));
        }
    }

    fn epoch(&mut self, report: &EpochReport) {
        self.bar.reset();
        self.spoke = Instant::now();
        if self.jsonl
            && let Ok(line) = serde_json::to_string(report)
        {
            // Whoever reads the stream may have gone; the run and its log go on.
            let _ = print(&line);
        }
        if self.quiet {
            return;
        }
        let tested =
            report.val_top1.map_or(String::new(), |top1| format!("  test {:.2} %", 100.0 * top1));
        let line = format!(
            "epoch {}/{}  loss {:.4}  train {:.2} %{tested}  {:.0} images/s  {:.1} s",
            report.epoch,
            self.epochs,
            report.train_loss,
            100.0 * report.train_top1,
            report.images_per_s,
            report.seconds
        );
        self.bar.suspend(|| eprintln!("{line}"));
        if report.epoch == self.epochs {
            self.bar.finish_and_clear();
        }
    }

    fn interrupted(&mut self) -> bool {
        let interrupted = INTERRUPTED.load(Ordering::Relaxed);
        if interrupted {
            self.bar.finish_and_clear();
        }
        interrupted
    }
}
