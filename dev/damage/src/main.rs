//! `cargo run -p damage`: writes the good files where `cargo fuzz` begins, `fuzz/corpus`.

#![forbid(unsafe_code)]

use std::path::Path;
use std::{fs, io};

use damage::DOORS;

fn main() -> io::Result<()> {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus");
    for door in DOORS {
        let place = corpus.join(format!("fuzz_{}", door.name));
        fs::create_dir_all(&place)?;
        for (i, file) in (door.good)().iter().enumerate() {
            fs::write(place.join(format!("good-{i}")), file)?;
        }
    }
    Ok(())
}
