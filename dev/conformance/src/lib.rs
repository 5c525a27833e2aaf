//! Cases of every operation against every backend, random networks, and golden values.

pub mod cases;
pub mod compare;
pub mod golden;
pub mod random;
