//! The values of a parameter in order, piece by piece, for who writes them.

use std::io;
use std::mem;
use std::thread;

use striate_graph::{Param, ParamSource};
use striate_tensor::strided::PANEL;

/// Values that are handed out at a time.
pub(crate) const PIECE: usize = 1 << 16;

/// Values that are gathered at a time, at most: while as many are written.
const GATHERED: usize = 2 * PANEL;

/// Hands out the values of a parameter. Where they are stored in another order a thread gathers
/// what comes next while `take` writes.
pub(crate) fn pieces(
    source: &dyn ParamSource,
    param: &Param,
    take: &mut dyn FnMut(&[f32]) -> io::Result<()>,
) -> io::Result<()> {
    let (len, together) = (param.range.len(), source.together(param));
    let read =
        |from: usize, room: &mut [f32]| source.read(param, from, room).map_err(io::Error::other);
    if together == 1 || together > GATHERED {
        let mut room = vec![0.0; PIECE.min(len)];
        return (0..len).step_by(PIECE).try_for_each(|from| {
            let room = &mut room[..PIECE.min(len - from)];
            read(from, room)?;
            take(room)
        });
    }
    let (mut now, mut next) = (Vec::new(), Vec::new());
    let mut begin = 0;
    while begin < len || !next.is_empty() {
        mem::swap(&mut now, &mut next);
        next.resize(together.min(len - begin), 0.0);
        thread::scope(|scope| {
            let reader = scope.spawn(|| read(begin, &mut next));
            now.chunks(PIECE).try_for_each(&mut *take)?;
            let ended = |_| Err(io::Error::other("the thread that gathered values ended"));
            reader.join().unwrap_or_else(ended)
        })?;
        begin += next.len();
    }
    Ok(())
}
