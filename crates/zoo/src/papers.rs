//! The publications, cited by the entries.

use crate::Paper;

pub(crate) const LECUN_1990: Paper = Paper {
    title: "Handwritten Digit Recognition with a Back-Propagation Network",
    authors: "Y. LeCun, B. Boser, J. S. Denker, D. Henderson, R. E. Howard, W. Hubbard, L. D. Jackel",
    year: 1989,
    id: "NIPS 1989, pp. 396-404",
};

pub(crate) const LECUN_1998: Paper = Paper {
    title: "Gradient-Based Learning Applied to Document Recognition",
    authors: "Y. LeCun, L. Bottou, Y. Bengio, P. Haffner",
    year: 1998,
    id: "Proc. IEEE 86(11)",
};

pub(crate) const KRIZHEVSKY_2012: Paper = Paper {
    title: "ImageNet Classification with Deep Convolutional Neural Networks",
    authors: "A. Krizhevsky, I. Sutskever, G. E. Hinton",
    year: 2012,
    id: "NIPS 2012",
};

pub(crate) const KRIZHEVSKY_2014: Paper = Paper {
    title: "One weird trick for parallelizing convolutional neural networks",
    authors: "A. Krizhevsky",
    year: 2014,
    id: "arXiv:1404.5997",
};

pub(crate) const ZEILER_2013: Paper = Paper {
    title: "Visualizing and Understanding Convolutional Networks",
    authors: "M. D. Zeiler, R. Fergus",
    year: 2013,
    id: "arXiv:1311.2901",
};

pub(crate) const LIN_2013: Paper = Paper {
    title: "Network In Network",
    authors: "M. Lin, Q. Chen, S. Yan",
    year: 2013,
    id: "arXiv:1312.4400",
};

pub(crate) const SIMONYAN_2014: Paper = Paper {
    title: "Very Deep Convolutional Networks for Large-Scale Image Recognition",
    authors: "K. Simonyan, A. Zisserman",
    year: 2014,
    id: "arXiv:1409.1556",
};

pub(crate) const SZEGEDY_2014: Paper = Paper {
    title: "Going Deeper with Convolutions",
    authors: "C. Szegedy, W. Liu, Y. Jia, P. Sermanet, S. Reed, D. Anguelov, D. Erhan, V. Vanhoucke, A. Rabinovich",
    year: 2014,
    id: "arXiv:1409.4842",
};

pub(crate) const IOFFE_2015: Paper = Paper {
    title: "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
    authors: "S. Ioffe, C. Szegedy",
    year: 2015,
    id: "arXiv:1502.03167",
};

pub(crate) const SZEGEDY_2015: Paper = Paper {
    title: "Rethinking the Inception Architecture for Computer Vision",
    authors: "C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna",
    year: 2015,
    id: "arXiv:1512.00567",
};

pub(crate) const SZEGEDY_2016: Paper = Paper {
    title: "Inception-v4, Inception-ResNet and the Impact of Residual Connections on Learning",
    authors: "C. Szegedy, S. Ioffe, V. Vanhoucke, A. Alemi",
    year: 2016,
    id: "arXiv:1602.07261",
};

pub(crate) const HE_2015: Paper = Paper {
    title: "Deep Residual Learning for Image Recognition",
    authors: "K. He, X. Zhang, S. Ren, J. Sun",
    year: 2015,
    id: "arXiv:1512.03385",
};

pub(crate) const HE_2016: Paper = Paper {
    title: "Identity Mappings in Deep Residual Networks",
    authors: "K. He, X. Zhang, S. Ren, J. Sun",
    year: 2016,
    id: "arXiv:1603.05027",
};

pub(crate) const IANDOLA_2016: Paper = Paper {
    title: "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size",
    authors: "F. N. Iandola, S. Han, M. W. Moskewicz, K. Ashraf, W. J. Dally, K. Keutzer",
    year: 2016,
    id: "arXiv:1602.07360",
};
