//! Threads whose closures a compiler puts into the standard library's functions. Each keeps blocks
//! of a size of its own.

fn keep(size: usize) {
    std::mem::forget(std::hint::black_box(vec![0u8; std::hint::black_box(size)]));
}

fn main() {
    let first = std::thread::spawn(|| (0..10).for_each(|_| keep(1001)));
    first.join().unwrap();
    let second = std::thread::spawn(|| (0..20).for_each(|_| keep(2002)));
    second.join().unwrap();
}
