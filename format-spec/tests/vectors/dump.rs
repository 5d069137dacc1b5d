//! A tape as text, one line for each thing in it; `vectors/README.md` describes the lines.
//!
//! In: the bytes of a tape, damaged or not. Out: text that names every value that a reader gets
//! from them. `reference/decode.py` prints the same.

use heaptape_format::chunk::{ChunkDecoder, ChunkHeader, ChunkKind};
use heaptape_format::event::{Event, EventReader, OperationKind};
use heaptape_format::left::{LeftState, left};
use heaptape_format::line_table::{LineTable, NOT_BEGUN};
use heaptape_format::scan::{Found, FoundChunk, Scan};
use heaptape_format::stack::{CutReason, Frame, stack_nodes};
use heaptape_format::symbols::symbols;
use heaptape_format::tables::*;
use heaptape_format::{DecodeError, DecodeErrorKind, TapeHeader};
use std::fmt::Write;

/// The text of `tape`.
pub(crate) fn dump(tape: &[u8]) -> String {
    let mut out = String::new();
    let (header, length) = match TapeHeader::decode(tape) {
        Ok(found) => found,
        Err(error) => return format!("refused: {}\n", fault(error)),
    };
    put_header(&mut out, &header, length);
    let mut scan = Scan::new(tape, length);
    let mut decoder = ChunkDecoder::new();
    let mut payload = Vec::new();
    while let Some(found) = scan.next() {
        match found {
            Found::Damage(damage) => {
                let (at, bytes) = (damage.offset, damage.bytes);
                let _ = writeln!(
                    out,
                    "damage at {at}, {bytes} bytes: {}",
                    fault(damage.error)
                );
            }
            Found::Chunk(chunk) => {
                put_chunk_header(&mut out, &chunk);
                let good = chunk.payload_with(&mut decoder, tape, &mut payload);
                let content = good.and_then(|()| content(&chunk.header, &payload));
                match content {
                    Ok(lines) => out += &lines,
                    Err(error) => {
                        let _ = writeln!(out, "  unreadable: {}", fault(error));
                    }
                }
                if let Err(error) = good
                    && matches!(error.kind, DecodeErrorKind::Checksum(_))
                {
                    scan.reenter(&chunk);
                }
            }
        }
    }
    out
}

/// The fault's name in SPEC.md §1.1.
fn fault(error: DecodeError) -> &'static str {
    match error.kind {
        DecodeErrorKind::Truncated => "truncated",
        DecodeErrorKind::NotATape => "not a tape",
        DecodeErrorKind::NewerVersion { .. } => "newer version",
        DecodeErrorKind::UnknownFeature(_) => "unknown feature",
        DecodeErrorKind::Checksum(_) => "checksum",
        DecodeErrorKind::NoChunk => "no chunk",
        DecodeErrorKind::Decompress => "decompress",
        DecodeErrorKind::Limit(_) => "limit",
        DecodeErrorKind::Invalid(_) => "invalid",
        DecodeErrorKind::Overflow => "overflow",
        DecodeErrorKind::Utf8 => "utf8",
        other => panic!("a fault without a name: {other}"),
    }
}

fn put_header(out: &mut String, header: &TapeHeader, length: usize) {
    let h = header;
    let _ = writeln!(
        out,
        "tape version={}.{} header_bytes={length}",
        h.version.0, h.version.1
    );
    let _ = writeln!(
        out,
        "  must_understand={:#x} may_ignore={:#x} tape_id={} session_id={} boot_id={}",
        h.must_understand,
        h.may_ignore,
        h.tape_id.to_vec().show(),
        h.session_id.to_vec().show(),
        h.boot_id.to_vec().show()
    );
    let _ = writeln!(
        out,
        "  ticks_per_second={} start_ticks={} start_realtime_ns={} start_boottime_ns={} \
         stamp_shift={} clock={}",
        h.ticks_per_second,
        h.start_ticks,
        h.start_realtime_ns,
        h.start_boottime_ns,
        h.stamp_shift,
        h.clock as u8
    );
    let _ = writeln!(
        out,
        "  pid_namespace={} pid={} page_size={} pointer_bytes={} architecture={} c_library={}",
        h.pid_namespace, h.pid, h.page_size, h.pointer_bytes, h.architecture, h.c_library
    );
}

fn put_chunk_header(out: &mut String, chunk: &FoundChunk) {
    let h = &chunk.header;
    let _ = writeln!(
        out,
        "chunk at {}: kind={} ({}) codec={} flags={} payload_bytes={} stream={} count={} \
         stamps={}..{} sequence={} first={}",
        chunk.offset,
        h.kind.0,
        h.kind.name(),
        h.codec as u8,
        h.flags,
        h.payload_bytes,
        h.stream,
        h.count,
        h.stamp_first,
        h.stamp_last,
        h.sequence,
        h.first
    );
}

fn content(header: &ChunkHeader, payload: &[u8]) -> Result<String, DecodeError> {
    match header.kind {
        ChunkKind::EVENTS => events(header, payload),
        ChunkKind::STACK_NODES => nodes(header, payload),
        ChunkKind::SYMBOLS => symbol_lines(header, payload),
        ChunkKind::DOMAINS => table::<Domain>(header, payload),
        ChunkKind::MODULES => table::<Module>(header, payload),
        ChunkKind::STREAMS => table::<Stream>(header, payload),
        ChunkKind::PROCESS => table::<Process>(header, payload),
        ChunkKind::CLOCK_PAIRS => table::<ClockPair>(header, payload),
        ChunkKind::RESIDENT => table::<ResidentSample>(header, payload),
        ChunkKind::MARKS => table::<Mark>(header, payload),
        ChunkKind::LOST => table::<Lost>(header, payload),
        ChunkKind::EPOCHS => table::<Epoch>(header, payload),
        ChunkKind::CHILDREN => table::<Child>(header, payload),
        ChunkKind::END => table::<End>(header, payload),
        ChunkKind::TOTALS => table::<Totals>(header, payload),
        ChunkKind::FORK_CUTS => table::<ForkCut>(header, payload),
        ChunkKind::FOLDED => table::<Folded>(header, payload),
        ChunkKind::LEFT => left_lines(header, payload),
        ChunkKind::CODE_OBJECTS => code_objects(header, payload),
        _ if header.must_understand() => Ok("  must be understood\n".into()),
        _ => Ok("  skipped\n".into()),
    }
}

fn events(header: &ChunkHeader, payload: &[u8]) -> Result<String, DecodeError> {
    let mut out = String::new();
    for event in EventReader::new(payload, header.count, header.stamp_first)? {
        put_event(&mut out, &event?);
    }
    Ok(out)
}

fn put_event(out: &mut String, event: &Event) {
    let operation = event.operation;
    let _ = write!(
        out,
        "  {} ({}) stamp={}",
        operation.name(),
        operation.0,
        event.stamp
    );
    let kind = operation.kind();
    if matches!(kind, OperationKind::Realloc | OperationKind::Remap) {
        let _ = write!(out, " end={}", event.end_stamp);
    } else {
        assert_eq!(event.stamp, event.end_stamp);
    }
    if matches!(kind, OperationKind::Free | OperationKind::Realloc) {
        let _ = write!(out, " old={:#x}", event.old_address);
        if let Some(reference) = event.reference {
            let _ = write!(out, " reference={reference}");
        }
    }
    if matches!(kind, OperationKind::Unmap | OperationKind::Remap) {
        let _ = write!(
            out,
            " old={:#x} old_size={}",
            event.old_address, event.old_size
        );
    }
    if kind == OperationKind::Retag {
        let _ = write!(out, " old={:#x}", event.old_address);
    } else if !matches!(kind, OperationKind::Free | OperationKind::Unmap) {
        let _ = write!(out, " address={:#x} size={}", event.address, event.size);
    }
    let _ = write!(out, " stack={} domain={}", event.stack, event.domain.0);
    if operation.is_aligned() {
        let _ = write!(out, " alignment_log2={}", event.alignment_log2);
    }
    out.push('\n');
}

fn nodes(header: &ChunkHeader, payload: &[u8]) -> Result<String, DecodeError> {
    let mut out = String::new();
    let nodes = stack_nodes(payload, header.count, header.first)?;
    for (id, node) in (header.first..).zip(nodes) {
        let _ = write!(out, "  node {id} parent={} ", node.parent);
        let _ = match node.frame {
            Frame::Native {
                module,
                offset,
                exact,
            } => writeln!(
                out,
                "module={module} offset={offset:#x} exact={}",
                exact as u8
            ),
            Frame::Python { code, instruction } => {
                writeln!(out, "code={code} instruction={instruction}")
            }
            Frame::Cut(CutReason::Depth) => writeln!(out, "cut=depth"),
            Frame::Cut(CutReason::Unknown) => writeln!(out, "cut=unknown"),
        };
    }
    Ok(out)
}

/// The records, and below each the lines that it tells.
fn code_objects(header: &ChunkHeader, payload: &[u8]) -> Result<String, DecodeError> {
    let mut out = String::new();
    let text = table::<CodeObject>(header, payload)?;
    for (line, code) in text
        .lines()
        .zip(records::<CodeObject>(payload, header.count)?)
    {
        let lines = LineTable::new(code.form, code.first_line, &code.line_table);
        let _ = write!(out, "{line}\n    lines={}", lines.line(NOT_BEGUN));
        for (end, line) in lines.ranges() {
            let _ = write!(out, " {end}:{line}");
        }
        out.push('\n');
    }
    Ok(out)
}

fn left_lines(header: &ChunkHeader, payload: &[u8]) -> Result<String, DecodeError> {
    let mut out = String::new();
    for left in left(payload, header.count)? {
        let state = match left.state {
            LeftState::Alive => "alive",
            LeftState::Remainder => "remainder",
            LeftState::Inherited => "inherited",
        };
        let _ = writeln!(
            out,
            "  {state} address={:#x} size={} stamp={} allocated={} stream={} stack={} {} ({}) \
             alignment_log2={} domain={}",
            left.address,
            left.size,
            left.stamp,
            left.allocated,
            left.stream,
            left.stack,
            left.operation.name(),
            left.operation.0,
            left.alignment_log2,
            left.domain.0
        );
    }
    Ok(out)
}

fn symbol_lines(header: &ChunkHeader, payload: &[u8]) -> Result<String, DecodeError> {
    let mut out = String::new();
    for symbol in symbols(payload, header.count)? {
        let exact = symbol.exact as u8;
        let (module, offset) = (symbol.module, symbol.offset);
        let _ = writeln!(
            out,
            "  symbol module={module} offset={offset:#x} exact={exact}"
        );
        for frame in symbol.frames {
            let (function, file) = (frame.function.show(), frame.file.show());
            let inlined = frame.inlined as u8;
            let _ = writeln!(
                out,
                "    {function} {file} line={} inlined={inlined}",
                frame.line
            );
        }
    }
    Ok(out)
}

/// A field's value as text.
trait Show {
    fn show(&self) -> String;
}

macro_rules! show_integers {
    ($($integer:ty)*) => {
        $(impl Show for $integer {
            fn show(&self) -> String {
                self.to_string()
            }
        })*
    };
}
show_integers!(u8 u16 u32 u64);

impl Show for String {
    fn show(&self) -> String {
        let mut out = String::from('"');
        for character in self.chars() {
            match character {
                ' '..='~' if character != '"' && character != '\\' => out.push(character),
                other => {
                    let _ = write!(out, "\\{{{:x}}}", other as u32);
                }
            }
        }
        out + "\""
    }
}

impl Show for Vec<u8> {
    fn show(&self) -> String {
        let hex: String = self.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("<{hex}>")
    }
}

impl Show for Vec<String> {
    fn show(&self) -> String {
        let texts: Vec<String> = self.iter().map(Show::show).collect();
        format!("[{}]", texts.join(" "))
    }
}

/// A record whose fields can be shown, in the order of [`Record::FIELDS`].
trait Fields: Record {
    fn values(&self) -> Vec<String>;
}

macro_rules! fields {
    ($($record:ident { $($field:ident)* })*) => {
        $(impl Fields for $record {
            fn values(&self) -> Vec<String> {
                vec![$(format!("{}={}", stringify!($field), self.$field.show())),*]
            }
        })*
    };
}

fields! {
    Domain { id name }
    Module { index load_bias start end stamp build_id path }
    Stream { index thread_id level stamp name }
    Process {
        pid parent_pid origin image cut_stamp parent_tape executable command working_folder
        recorder_version options allocator depth_max size_min
    }
    ClockPair { stamp monotonic_ns realtime_ns boottime_ns }
    ResidentSample { stamp resident_bytes shared_bytes }
    Mark { stamp stream name }
    Lost { stream count stamp_first stamp_last reason }
    Epoch { number watermark inexact_streams }
    Child { stamp pid origin tape command reason }
    End { stamp how code allocs frees reallocs maps lost message }
    Totals { allocated_bytes }
    ForkCut { stream stamp }
    Folded {
        stamp sequence events allocs frees reallocs maps reuses unknown_frees implied_frees
        allocated_bytes high_stamp high_bytes high_count
    }
    CodeObject { number form first_line file name line_table }
}

fn table<R: Fields>(header: &ChunkHeader, payload: &[u8]) -> Result<String, DecodeError> {
    assert_eq!(header.kind, R::KIND);
    let mut out = String::new();
    for record in records::<R>(payload, header.count)? {
        let values = record.values();
        let names = values.iter().map(|value| value.split('=').next());
        assert!(names.eq(R::FIELDS.iter().map(|(name, _)| Some(*name))));
        let _ = writeln!(out, "  {}", values.join(" "));
    }
    Ok(out)
}
