//! Training: gradients, losses, optimizers, schedules, checkpoints.
//!
//! A [`Trainer`] takes a network, its parameters and a [`Recipe`]. Given seed and recipe a run
//! repeats itself to the bit, on any number of threads, and a [`Checkpoint`] holds all that is
//! needed to go on as if never stopped.

#![forbid(unsafe_code)]

mod backward;
mod checkpoint;
mod data;
mod error;
mod evaluate;
mod lock;
mod loss;
mod network;
mod optimizer;
mod recipe;
mod schedule;
mod trainer;

pub use checkpoint::{Checkpoint, MAX_LOG, MAX_STATE, Model, RunDir};
pub use data::{Data, Part};
pub use error::TrainError;
pub use evaluate::{evaluate, evaluate_crops};
pub use lock::Lock;
pub use loss::{Loss, LossKind, Score};
pub use network::dropout_stays;
pub use optimizer::Optimizer;
pub use recipe::Recipe;
pub use schedule::{Schedule, ScheduleKind};
pub use trainer::{Best, EpochReport, Observer, Outcome, Place, StepReport, Trainer};
