//! Implementations whose names do not tell in which crate they stand. Blocks of 2000 bytes and
//! more are kept for ever, each of its own size: those of the program's implementations belong to
//! them, those that the library allocates to the function that called it.

use std::hint::black_box;

struct Mine(usize);

macro_rules! keep {
    ($value:expr) => {
        std::mem::forget(black_box($value))
    };
}

impl Iterator for Mine {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.0 = self.0.checked_sub(1)?;
        Some(1)
    }
}

impl Clone for Mine {
    #[inline(never)]
    fn clone(&self) -> Self {
        keep!(vec![1u8; self.0]);
        Self(self.0)
    }
}

impl From<Mine> for String {
    #[inline(never)]
    fn from(mine: Mine) -> Self {
        black_box("x".repeat(mine.0))
    }
}

impl From<Mine> for Vec<u8> {
    #[inline(never)]
    fn from(mine: Mine) -> Self {
        black_box(vec![1; mine.0])
    }
}

trait Grow {
    #[inline(never)]
    fn grow(&self, bytes: usize) {
        keep!(vec![2u8; bytes]);
    }
}

impl Grow for Vec<u8> {}

/// By what `Iterator` does for every type.
#[inline(never)]
fn collects() {
    keep!(black_box(Mine(2001)).collect::<Box<[u8]>>());
}

/// By what the library implements for every type: `<Mine as ToVec>`, for one.
#[inline(never)]
fn copies() {
    let mines: [Mine; 300] = std::array::from_fn(|_| Mine(2100));
    keep!(black_box(&mines[..1]).to_vec());
    let all = black_box(&mines[..]).iter().map(|mine| mine.0);
    keep!(all.collect::<Vec<usize>>());
}

#[inline(never)]
fn converts() {
    keep!(String::from(Mine(2004)));
    let bytes: Vec<u8> = black_box(Mine(2005)).into();
    keep!(bytes);
}

fn main() {
    collects();
    copies();
    keep!(black_box(Mine(2003)).clone());
    converts();
    Vec::new().grow(2006);
}
