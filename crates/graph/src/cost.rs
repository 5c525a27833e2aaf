use std::ops::Add;

/// What a node costs, for one sample.
///
/// Counting rules, kept everywhere: `params` counts what is learned, so statistics of batch
/// normalisation and fixed codes are not; `macs` counts multiply-adds of convolutions and linear
/// layers, biases not; `connections` as LeCun et al. 1998, §II.B: for each output value its inputs
/// plus one for the bias; `activations` counts the output values of convolution, linear and pooling
/// layers, the input of the network not included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// Learned values.
    pub params: u64,
    /// Multiply-adds.
    pub macs: u64,
    /// Inputs of all output values, biases included.
    pub connections: u64,
    /// Output values of convolution, linear and pooling layers.
    pub activations: u64,
}

impl Add for Cost {
    type Output = Cost;

    fn add(self, other: Cost) -> Cost {
        Cost {
            params: self.params.saturating_add(other.params),
            macs: self.macs.saturating_add(other.macs),
            connections: self.connections.saturating_add(other.connections),
            activations: self.activations.saturating_add(other.activations),
        }
    }
}

impl std::iter::Sum for Cost {
    fn sum<I: Iterator<Item = Cost>>(costs: I) -> Cost {
        costs.fold(Cost::default(), Add::add)
    }
}
