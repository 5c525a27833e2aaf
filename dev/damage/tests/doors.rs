//! A short run of what `fuzz/` does for hours, the same each time.

use damage::{DOORS, Mutation};
use striate_tensor::Rng;

/// Changed files a door.
const ROUNDS: u64 = 20_000;

#[test]
fn good_files_are_taken() {
    for door in DOORS {
        for (i, file) in (door.good)().iter().enumerate() {
            assert!((door.enter)(file), "{} {i}", door.name);
        }
    }
}

#[test]
fn changed_files_are_taken_or_refused() {
    for door in DOORS {
        let good = (door.good)();
        for round in 0..ROUNDS {
            let mut rng = Rng::new(round).fork(door.name);
            let mut file = good[rng.below(good.len())].clone();
            let other = &good[rng.below(good.len())];
            for _ in 0..=rng.below(4) {
                Mutation::draw(&mut rng, file.len(), other.len()).apply(&mut file, other);
            }
            // A panic says which file it was.
            let of = Round(door.name, round);
            (door.enter)(&file);
            std::mem::forget(of);
        }
    }
}

/// Tells, when a panic unwinds through it, which round it was in.
struct Round(&'static str, u64);

impl Drop for Round {
    fn drop(&mut self) {
        eprintln!("round {} of {}", self.1, self.0);
    }
}
