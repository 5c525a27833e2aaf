"""Caffe's messages, as far as networks need them: Python has no package that brings `caffe.proto`."""

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

ENUMS = {
    "Phase": "TRAIN TEST",
    "PoolMethod": "MAX AVE STOCHASTIC",
    "EltwiseOp": "PROD SUM MAX_",
    "NormRegion": "ACROSS_CHANNELS WITHIN_CHANNEL",
    "LayerType": "NONE ACCURACY BNLL CONCAT CONVOLUTION DATA DROPOUT EUCLIDEAN_LOSS FLATTEN HDF5_DATA HDF5_OUTPUT "
    "HINGE_LOSS IM2COL IMAGE_DATA INNER_PRODUCT=14 LRN POOLING=17 RELU SIGMOID SOFTMAX SOFTMAX_LOSS SPLIT TANH "
    "ELTWISE=25 POWER",
}

# Name, number, type; `*` is repeated, `!` repeated and packed.
PARAMETERS = {
    "concat_param": ("ConcatParameter", 104, 9),
    "convolution_param": ("ConvolutionParameter", 106, 10),
    "dropout_param": ("DropoutParameter", 108, 12),
    "eltwise_param": ("EltwiseParameter", 110, 24),
    "inner_product_param": ("InnerProductParameter", 117, 17),
    "lrn_param": ("LRNParameter", 118, 18),
    "pooling_param": ("PoolingParameter", 121, 19),
    "power_param": ("PowerParameter", 122, 21),
    "reshape_param": ("ReshapeParameter", 133, None),
    "transform_param": ("TransformationParameter", 100, 36),
    "batch_norm_param": ("BatchNormParameter", 139, None),
    "scale_param": ("ScaleParameter", 142, None),
    "input_param": ("InputParameter", 143, None),
}
MESSAGES = {
    "BlobShape": "dim 1 int64!",
    "BlobProto": "num 1 int32, channels 2 int32, height 3 int32, width 4 int32, data 5 float!, diff 6 float!, "
    "shape 7 BlobShape, double_data 8 double!",
    "NetParameter": "name 1 string, layers 2 V1LayerParameter*, input 3 string*, input_dim 4 int32*, "
    "input_shape 8 BlobShape*, layer 100 LayerParameter*",
    "NetStateRule": "phase 1 Phase, min_level 2 int32, stage 4 string*",
    "LayerParameter": "name 1 string, type 2 string, bottom 3 string*, top 4 string*, blobs 7 BlobProto*, "
    "include 8 NetStateRule*, exclude 9 NetStateRule*, phase 10 Phase, "
    + ", ".join(f"{name} {v2} {kind}" for name, (kind, v2, _) in PARAMETERS.items()),
    "V1LayerParameter": "bottom 2 string*, top 3 string*, name 4 string, type 5 LayerType, blobs 6 BlobProto*, "
    "include 32 NetStateRule*, exclude 33 NetStateRule*, "
    + ", ".join(f"{name} {v1} {kind}" for name, (kind, _, v1) in PARAMETERS.items() if v1),
    "TransformationParameter": "scale 1 float, mirror 2 bool, crop_size 3 uint32, mean_file 4 string, mean_value 5 float*",
    "ConcatParameter": "concat_dim 1 uint32, axis 2 int32",
    "ConvolutionParameter": "num_output 1 uint32, bias_term 2 bool, pad 3 uint32*, kernel_size 4 uint32*, group 5 uint32, "
    "stride 6 uint32*, pad_h 9 uint32, pad_w 10 uint32, kernel_h 11 uint32, kernel_w 12 uint32, stride_h 13 uint32, "
    "stride_w 14 uint32, dilation 18 uint32*",
    "DropoutParameter": "dropout_ratio 1 float",
    "EltwiseParameter": "operation 1 EltwiseOp, coeff 2 float*",
    "InnerProductParameter": "num_output 1 uint32, bias_term 2 bool, axis 5 int32, transpose 6 bool",
    "LRNParameter": "local_size 1 uint32, alpha 2 float, beta 3 float, norm_region 4 NormRegion, k 5 float",
    "PoolingParameter": "pool 1 PoolMethod, kernel_size 2 uint32, stride 3 uint32, pad 4 uint32, kernel_h 5 uint32, "
    "kernel_w 6 uint32, stride_h 7 uint32, stride_w 8 uint32, pad_h 9 uint32, pad_w 10 uint32, global_pooling 12 bool",
    "PowerParameter": "power 1 float, scale 2 float, shift 3 float",
    "ReshapeParameter": "shape 1 BlobShape",
    "BatchNormParameter": "use_global_stats 1 bool, moving_average_fraction 2 float, eps 3 float",
    "ScaleParameter": "axis 1 int32, bias_term 4 bool",
    "InputParameter": "shape 1 BlobShape*",
}


def _net():
    file = descriptor_pb2.FileDescriptorProto(name="caffe.proto", package="caffe", syntax="proto2")
    for name, values in ENUMS.items():
        # Values of enumerations lie beside each other: each enumeration has a message of its own.
        enum, number = file.message_type.add(name=name + "_").enum_type.add(name=name), 0
        for value in values.split():
            value, _, given = value.partition("=")
            number = int(given) if given else number
            enum.value.add(name=value.rstrip("_"), number=number)
            number += 1
    for name, fields in MESSAGES.items():
        message = file.message_type.add(name=name)
        for field in fields.split(", "):
            called, number, kind = field.split()
            base = kind.rstrip("*!")
            label = "REPEATED" if kind != base else "OPTIONAL"
            added = message.field.add(name=called, number=int(number))
            added.label = getattr(added, "LABEL_" + label)
            if base in MESSAGES:
                added.type, added.type_name = added.TYPE_MESSAGE, ".caffe." + base
            elif base in ENUMS:
                added.type, added.type_name = added.TYPE_ENUM, f".caffe.{base}_.{base}"
            else:
                added.type = getattr(added, "TYPE_" + base.upper())
            added.options.packed = kind.endswith("!")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("caffe.NetParameter"))


NetParameter = _net()
