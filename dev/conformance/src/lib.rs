//! Cases of every operation against every backend, and golden values.

pub mod golden;
