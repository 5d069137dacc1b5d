//! Buckets of one tape → rows: what groupings by thread and domain need to know of the tape.

use super::amount::Measure;
use super::bucket::{Buckets, Facet};
use super::filter::thread_name;
use super::group::{Grouper, Rows};
use super::key::{INHERITED, UNKNOWN};
use crate::block::StreamId;
use crate::symbols::StackSource;
use crate::tape::Tape;

/// How threads are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ThreadNames {
    WithIds,
    /// Those with a name by it: threads of one name are one row.
    Alone,
}

/// The rows of `buckets`, of `tape`, whose frames `source` has.
pub(super) fn grouped<M: Measure>(
    grouper: &mut Grouper,
    tape: &Tape,
    source: &dyn StackSource,
    buckets: &Buckets<M>,
    threads: ThreadNames,
) -> (Rows<M>, Vec<String>) {
    grouper.set_recorded(tape.header.start_realtime_ns);
    let frames = grouper.resolve(source, &buckets.stacks());
    let facet_text = |facet| match facet {
        Facet::Thread(StreamId::INHERITED) => INHERITED.to_owned(),
        Facet::Thread(stream) => tape.stream(stream).map_or_else(
            || UNKNOWN.to_owned(),
            |stream| {
                // A signal handler's stream has the thread's id and perhaps no name of its own.
                let named = tape
                    .streams
                    .iter()
                    .find(|other| other.thread_id == stream.thread_id && !other.name.is_empty());
                match named {
                    Some(named) if threads == ThreadNames::Alone => named.name.clone(),
                    _ => thread_name(named.unwrap_or(stream)),
                }
            },
        ),
        Facet::Domain(domain) => tape.domain_name(domain).to_owned(),
        Facet::Stack | Facet::Size(_) | Facet::Kind(_) => UNKNOWN.to_owned(),
    };
    let rows = grouper.group(&frames, buckets, &facet_text);
    (rows, frames.notes)
}
