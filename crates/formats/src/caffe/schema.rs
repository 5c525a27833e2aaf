//! What is read of `caffe.proto`: the networks, with the numbers of their fields.

use super::wire::{FLAG, Kind, Schema};
use crate::Dtype;

/// `NetParameter`. Layers are `layers` (V1, until 2014) or `layer` (V2).
pub(super) const NET: &Schema = &[
    (1, "name", Kind::Text),
    (2, "layers", Kind::Message(LAYER_V1)),
    (3, "input", Kind::Text),
    (4, "input_dim", Kind::Whole),
    (8, "input_shape", Kind::Message(SHAPE)),
    (100, "layer", Kind::Message(LAYER)),
];

pub(super) const LAYER: &Schema = &[
    (1, "name", Kind::Text),
    (2, "type", Kind::Text),
    (3, "bottom", Kind::Text),
    (4, "top", Kind::Text),
    (7, "blobs", Kind::Message(BLOB)),
    (8, "include", Kind::Message(RULE)),
    (9, "exclude", Kind::Message(RULE)),
    (100, "transform_param", Kind::Message(TRANSFORM)),
    (104, "concat_param", Kind::Message(CONCAT)),
    (106, "convolution_param", Kind::Message(CONVOLUTION)),
    (108, "dropout_param", Kind::Message(DROPOUT)),
    (109, "dummy_data_param", Kind::Message(DUMMY)),
    (110, "eltwise_param", Kind::Message(ELTWISE)),
    (117, "inner_product_param", Kind::Message(INNER_PRODUCT)),
    (118, "lrn_param", Kind::Message(LRN)),
    (119, "memory_data_param", Kind::Message(MEMORY)),
    (121, "pooling_param", Kind::Message(POOLING)),
    (122, "power_param", Kind::Message(POWER)),
    (123, "relu_param", Kind::Message(RELU)),
    (125, "softmax_param", Kind::Message(SOFTMAX)),
    (133, "reshape_param", Kind::Message(RESHAPE)),
    (135, "flatten_param", Kind::Message(FLATTEN)),
    (139, "batch_norm_param", Kind::Message(BATCH_NORM)),
    (142, "scale_param", Kind::Message(SCALE)),
    (143, "input_param", Kind::Message(INPUT)),
];

const LAYER_V1: &Schema = &[
    (1, "layer", Kind::Message(&[])),
    (2, "bottom", Kind::Text),
    (3, "top", Kind::Text),
    (4, "name", Kind::Text),
    (5, "type", Kind::Word(TYPES_V1)),
    (6, "blobs", Kind::Message(BLOB)),
    (9, "concat_param", Kind::Message(CONCAT)),
    (10, "convolution_param", Kind::Message(CONVOLUTION)),
    (12, "dropout_param", Kind::Message(DROPOUT)),
    (17, "inner_product_param", Kind::Message(INNER_PRODUCT)),
    (18, "lrn_param", Kind::Message(LRN)),
    (19, "pooling_param", Kind::Message(POOLING)),
    (21, "power_param", Kind::Message(POWER)),
    (22, "memory_data_param", Kind::Message(MEMORY)),
    (24, "eltwise_param", Kind::Message(ELTWISE)),
    (26, "dummy_data_param", Kind::Message(DUMMY)),
    (30, "relu_param", Kind::Message(RELU)),
    (32, "include", Kind::Message(RULE)),
    (33, "exclude", Kind::Message(RULE)),
    (36, "transform_param", Kind::Message(TRANSFORM)),
    (39, "softmax_param", Kind::Message(SOFTMAX)),
];

/// `V1LayerParameter.LayerType`.
const TYPES_V1: &[(u64, &str)] = &[
    (1, "ACCURACY"),
    (2, "BNLL"),
    (3, "CONCAT"),
    (4, "CONVOLUTION"),
    (5, "DATA"),
    (6, "DROPOUT"),
    (7, "EUCLIDEAN_LOSS"),
    (8, "FLATTEN"),
    (9, "HDF5_DATA"),
    (10, "HDF5_OUTPUT"),
    (11, "IM2COL"),
    (12, "IMAGE_DATA"),
    (13, "INFOGAIN_LOSS"),
    (14, "INNER_PRODUCT"),
    (15, "LRN"),
    (16, "MULTINOMIAL_LOGISTIC_LOSS"),
    (17, "POOLING"),
    (18, "RELU"),
    (19, "SIGMOID"),
    (20, "SOFTMAX"),
    (21, "SOFTMAX_LOSS"),
    (22, "SPLIT"),
    (23, "TANH"),
    (24, "WINDOW_DATA"),
    (25, "ELTWISE"),
    (26, "POWER"),
    (27, "SIGMOID_CROSS_ENTROPY_LOSS"),
    (28, "HINGE_LOSS"),
    (29, "MEMORY_DATA"),
    (30, "ARGMAX"),
    (31, "THRESHOLD"),
    (32, "DUMMY_DATA"),
    (33, "SLICE"),
    (34, "MVN"),
    (35, "ABSVAL"),
    (36, "SILENCE"),
    (37, "CONTRASTIVE_LOSS"),
    (38, "EXP"),
    (39, "DECONVOLUTION"),
];

/// What V2 calls a type of V1, as Caffe's own upgrade has it. A type that is none of them keeps its
/// name, to be refused by it.
pub(super) fn upgraded(v1: &str) -> &str {
    match v1 {
        "ACCURACY" => "Accuracy",
        "CONCAT" => "Concat",
        "CONTRASTIVE_LOSS" => "ContrastiveLoss",
        "CONVOLUTION" => "Convolution",
        "DATA" => "Data",
        "DROPOUT" => "Dropout",
        "DUMMY_DATA" => "DummyData",
        "ELTWISE" => "Eltwise",
        "EUCLIDEAN_LOSS" => "EuclideanLoss",
        "FLATTEN" => "Flatten",
        "HDF5_DATA" => "HDF5Data",
        "HINGE_LOSS" => "HingeLoss",
        "IMAGE_DATA" => "ImageData",
        "INFOGAIN_LOSS" => "InfogainLoss",
        "INNER_PRODUCT" => "InnerProduct",
        "MEMORY_DATA" => "MemoryData",
        "MULTINOMIAL_LOGISTIC_LOSS" => "MultinomialLogisticLoss",
        "POOLING" => "Pooling",
        "POWER" => "Power",
        "RELU" => "ReLU",
        "SIGMOID" => "Sigmoid",
        "SIGMOID_CROSS_ENTROPY_LOSS" => "SigmoidCrossEntropyLoss",
        "SILENCE" => "Silence",
        "SOFTMAX" => "Softmax",
        "SOFTMAX_LOSS" => "SoftmaxWithLoss",
        "SPLIT" => "Split",
        "TANH" => "TanH",
        "WINDOW_DATA" => "WindowData",
        other => other,
    }
}

pub(super) const SHAPE: &Schema = &[(1, "dim", Kind::Whole)];

/// The gradients beside the values are skipped.
const BLOB: &Schema = &[
    (1, "num", Kind::Whole),
    (2, "channels", Kind::Whole),
    (3, "height", Kind::Whole),
    (4, "width", Kind::Whole),
    (5, "data", Kind::Values(Dtype::F32)),
    (7, "shape", Kind::Message(SHAPE)),
    (8, "double_data", Kind::Values(Dtype::F64)),
];

const RULE: &Schema = &[
    (1, "phase", Kind::Word(&[(0, "TRAIN"), (1, "TEST")])),
    (2, "min_level", Kind::Whole),
    (3, "max_level", Kind::Whole),
    (4, "stage", Kind::Text),
];

const TRANSFORM: &Schema = &[
    (1, "scale", Kind::Float),
    (3, "crop_size", Kind::Whole),
    (4, "mean_file", Kind::Text),
    (5, "mean_value", Kind::Float),
    (7, "force_gray", FLAG),
];

const CONCAT: &Schema = &[(1, "concat_dim", Kind::Whole), (2, "axis", Kind::Whole)];

const CONVOLUTION: &Schema = &[
    (1, "num_output", Kind::Whole),
    (2, "bias_term", FLAG),
    (3, "pad", Kind::Whole),
    (4, "kernel_size", Kind::Whole),
    (5, "group", Kind::Whole),
    (6, "stride", Kind::Whole),
    (9, "pad_h", Kind::Whole),
    (10, "pad_w", Kind::Whole),
    (11, "kernel_h", Kind::Whole),
    (12, "kernel_w", Kind::Whole),
    (13, "stride_h", Kind::Whole),
    (14, "stride_w", Kind::Whole),
    (16, "axis", Kind::Whole),
    (18, "dilation", Kind::Whole),
];

const DROPOUT: &Schema = &[(1, "dropout_ratio", Kind::Float)];

const DUMMY: &Schema = &[
    (2, "num", Kind::Whole),
    (3, "channels", Kind::Whole),
    (4, "height", Kind::Whole),
    (5, "width", Kind::Whole),
    (6, "shape", Kind::Message(SHAPE)),
];

const ELTWISE: &Schema = &[
    (1, "operation", Kind::Word(&[(0, "PROD"), (1, "SUM"), (2, "MAX")])),
    (2, "coeff", Kind::Float),
];

const INNER_PRODUCT: &Schema = &[
    (1, "num_output", Kind::Whole),
    (2, "bias_term", FLAG),
    (5, "axis", Kind::Whole),
    (6, "transpose", FLAG),
];

const LRN: &Schema = &[
    (1, "local_size", Kind::Whole),
    (2, "alpha", Kind::Float),
    (3, "beta", Kind::Float),
    (4, "norm_region", Kind::Word(&[(0, "ACROSS_CHANNELS"), (1, "WITHIN_CHANNEL")])),
    (5, "k", Kind::Float),
];

const MEMORY: &Schema = &[
    (1, "batch_size", Kind::Whole),
    (2, "channels", Kind::Whole),
    (3, "height", Kind::Whole),
    (4, "width", Kind::Whole),
];

const POOLING: &Schema = &[
    (1, "pool", Kind::Word(&[(0, "MAX"), (1, "AVE"), (2, "STOCHASTIC")])),
    (2, "kernel_size", Kind::Whole),
    (3, "stride", Kind::Whole),
    (4, "pad", Kind::Whole),
    (5, "kernel_h", Kind::Whole),
    (6, "kernel_w", Kind::Whole),
    (7, "stride_h", Kind::Whole),
    (8, "stride_w", Kind::Whole),
    (9, "pad_h", Kind::Whole),
    (10, "pad_w", Kind::Whole),
    (12, "global_pooling", FLAG),
    (13, "round_mode", Kind::Word(&[(0, "CEIL"), (1, "FLOOR")])),
];

const POWER: &Schema =
    &[(1, "power", Kind::Float), (2, "scale", Kind::Float), (3, "shift", Kind::Float)];

const RELU: &Schema = &[(1, "negative_slope", Kind::Float)];

const SOFTMAX: &Schema = &[(2, "axis", Kind::Whole)];

const RESHAPE: &Schema =
    &[(1, "shape", Kind::Message(SHAPE)), (2, "axis", Kind::Whole), (3, "num_axes", Kind::Whole)];

const FLATTEN: &Schema = &[(1, "axis", Kind::Whole), (2, "end_axis", Kind::Whole)];

const BATCH_NORM: &Schema = &[
    (1, "use_global_stats", FLAG),
    (2, "moving_average_fraction", Kind::Float),
    (3, "eps", Kind::Float),
];

const SCALE: &Schema =
    &[(1, "axis", Kind::Whole), (2, "num_axes", Kind::Whole), (4, "bias_term", FLAG)];

const INPUT: &Schema = &[(1, "shape", Kind::Message(SHAPE))];
