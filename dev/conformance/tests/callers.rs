//! A network called from the threads of a program that has a pool of its own.

use conformance::compare::{bits, images, params};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use striate_exec::{Backend, Native, Options};
use striate_tensor::Rng;

#[test]
fn within_a_rayon_program_the_bits_are_the_same() {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap();
    // Pictures in the lanes, few channels, and branches.
    for (name, batch) in [("lenet5", 20), ("resnet20_cifar", 2), ("squeezenet1_1", 1)] {
        let entry = striate_zoo::find(name).unwrap();
        let graph = entry.build(&entry.config()).unwrap();
        let mut rng = Rng::new(7);
        let params = params(&graph, &rng);
        let images: Vec<_> = (0..6).map(|_| images(graph.input(), batch, &mut rng)).collect();
        let options = Options { batch, threads: 2, ..Options::default() };
        let mut network = Native::default().compile(&graph, &params, &options).unwrap();
        let expected: Vec<_> =
            images.iter().map(|images| bits(&network.run(images).unwrap())).collect();
        let callers: Vec<_> = images.iter().map(|_| network.another().unwrap()).collect();
        // One shared by all, and one that is compiled by a thread of the pool.
        let found: Vec<_> = pool.install(|| {
            let calls: Vec<_> = callers.into_iter().zip(&images).collect();
            calls
                .into_par_iter()
                .map(|(mut network, images)| {
                    let shared = bits(&network.run(images).unwrap());
                    let mut own = Native::default().compile(&graph, &params, &options).unwrap();
                    [shared, bits(&own.run(images).unwrap())]
                })
                .collect()
        });
        for (found, expected) in found.iter().zip(&expected) {
            for found in found {
                assert_eq!(found, expected, "{name}");
            }
        }
    }
}
