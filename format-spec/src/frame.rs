//! Payloads → zstd frames. SPEC.md §4.
//!
//! In: a payload, and where its parts end that have little in common. Out: one frame, in which each
//! long part has blocks of its own: zstd describes the bytes of each block with one table, which
//! says least when a block holds the end of one column and the start of another.

use zstd::zstd_safe::zstd_sys::ZSTD_EndDirective;
use zstd::zstd_safe::{CCtx, CParameter, InBuffer, OutBuffer, ResetDirective, compress_bound};

/// Shorter parts share their blocks with the next: a block's tables take some hundred bytes.
const PART_BYTES_MIN: usize = 2 << 10;
/// Shorter payloads are not worth a frame.
const PAYLOAD_BYTES_MIN: usize = 64;
/// What the head of a block takes at most, with what ends one early.
const BLOCK_HEAD_BYTES: usize = 16;

/// Makes frames. Keeps the compressor's memory between calls.
pub(crate) struct FrameEncoder {
    /// None: zstd is unavailable (out of memory).
    context: Option<CCtx<'static>>,
}

impl FrameEncoder {
    /// One that compresses at `level`.
    pub(crate) fn new(level: i32) -> Self {
        let context = CCtx::try_create().and_then(|mut context| {
            let level = CParameter::CompressionLevel(level);
            context.set_parameter(level).is_ok().then_some(context)
        });
        Self { context }
    }

    /// Replaces what is in `frame` by the frame of `payload`; false when the payload is better
    /// stored plainly. `ends` are the ends of its parts in ascending order.
    pub(crate) fn compress(
        &mut self,
        payload: &[u8],
        ends: impl Iterator<Item = usize>,
        frame: &mut Vec<u8>,
    ) -> bool {
        let Some(context) = self.context.as_mut() else {
            return false;
        };
        if payload.len() < PAYLOAD_BYTES_MIN {
            return false;
        }
        frame.clear();
        frame.reserve(compress_bound(payload.len()));
        let parts = long_parts(payload, ends);
        let compressed = if parts.len() <= 1 {
            context.compress2(frame, payload).ok()
        } else {
            frame.reserve(compress_bound(payload.len()) + BLOCK_HEAD_BYTES * parts.len());
            compress_parts(context, payload, &parts, frame)
        };
        compressed.is_some_and(|bytes| bytes < payload.len())
    }
}

/// `payload` in parts that are long enough for blocks of their own.
fn long_parts(payload: &[u8], ends: impl Iterator<Item = usize>) -> Vec<&[u8]> {
    let (mut parts, mut start) = (Vec::new(), 0);
    for end in ends {
        let is_long = |from: usize, to: usize| to.saturating_sub(from) >= PART_BYTES_MIN;
        if is_long(start, end)
            && is_long(end, payload.len())
            && let Some(part) = payload.get(start..end)
        {
            parts.push(part);
            start = end;
        }
    }
    parts.extend(payload.get(start..));
    parts
}

/// As one frame, with a block's end behind each of `parts`, which together are `payload`; the bytes
/// of it.
fn compress_parts(
    context: &mut CCtx<'_>,
    payload: &[u8],
    parts: &[&[u8]],
    frame: &mut Vec<u8>,
) -> Option<usize> {
    // What an error may have left.
    context.reset(ResetDirective::SessionOnly).ok()?;
    let bytes = payload.len() as u64;
    context.set_pledged_src_size(Some(bytes)).ok()?;
    let mut output = OutBuffer::around(frame);
    for (number, part) in parts.iter().enumerate() {
        let directive = match number + 1 == parts.len() {
            true => ZSTD_EndDirective::ZSTD_e_end,
            false => ZSTD_EndDirective::ZSTD_e_flush,
        };
        let mut input = InBuffer::around(part);
        while context
            .compress_stream2(&mut output, &mut input, directive)
            .ok()?
            != 0
        {
            if output.pos() == output.capacity() {
                return None;
            }
        }
    }
    Some(output.pos())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decompressed(frame: &[u8], payload_bytes: usize) -> Vec<u8> {
        assert_eq!(
            zstd::zstd_safe::find_frame_compressed_size(frame),
            Ok(frame.len())
        );
        zstd::bulk::decompress(frame, payload_bytes).unwrap()
    }

    proptest! {
        /// However the ends lie, even behind the end, and not in order.
        #[test]
        fn parts_change_nothing_but_the_frame(
            bytes in proptest::collection::vec(0..9u8, 0..40_000),
            ends in proptest::collection::vec(0..50_000usize, 0..9),
            level in 1..20,
        ) {
            let mut frame = vec![1, 2, 3];
            let mut encoder = FrameEncoder::new(level);
            for ends in [&ends[..], &[], &ends] {
                if encoder.compress(&bytes, ends.iter().copied(), &mut frame) {
                    prop_assert_eq!(&decompressed(&frame, bytes.len()), &bytes);
                } else {
                    prop_assert!(bytes.len() < 100);
                }
            }
        }
    }

    #[test]
    fn unlike_parts_take_fewer_bytes_apart() {
        let mut state = 1u64;
        let mut noise = |limit: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) % limit) as u8
        };
        let mut payload: Vec<u8> = (0..20_000).map(|_| noise(4)).collect();
        payload.extend((0..20_000).map(|_| 100 + noise(64)));
        let mut encoder = FrameEncoder::new(1);
        let (mut together, mut apart) = (Vec::new(), Vec::new());
        assert!(encoder.compress(&payload, [].into_iter(), &mut together));
        assert!(encoder.compress(&payload, [20_000].into_iter(), &mut apart));
        assert!(apart.len() + 1000 < together.len());
        assert_eq!(decompressed(&apart, payload.len()), payload);
    }

    #[test]
    fn short_parts_have_no_blocks_of_their_own() {
        let payload = [7; 10_000];
        let lengths = |ends: &[usize]| {
            let parts = long_parts(&payload, ends.iter().copied());
            parts.iter().map(|part| part.len()).collect::<Vec<_>>()
        };
        assert_eq!(lengths(&[]), [10_000]);
        assert_eq!(lengths(&[10, 2047, 2048, 3000, 10_000]), [2048, 7952]);
        assert_eq!(lengths(&[5000, 8000]), [5000, 5000]);
        assert_eq!(lengths(&[5000, 4000, 20_000]), [5000, 5000]);
    }
}
