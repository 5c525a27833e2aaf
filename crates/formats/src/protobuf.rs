//! protobuf, as far as files of networks need it: messages whose values stay in the file.

pub(crate) mod message;
pub(crate) mod wire;
