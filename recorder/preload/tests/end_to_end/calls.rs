//! Each entry point, call by call.

use crate::drainer::{Recording, Session, Setup};
use heaptape_session::record::RingEvent;

/// The events that a program said it made, without stamps and stacks.
pub(crate) fn said(recording: &Recording) -> Vec<RingEvent> {
    let text = recording.text();
    let lines = text.lines().filter_map(|line| line.strip_prefix("event "));
    let events = lines.map(|line| {
        let numbers: Vec<u64> = line
            .split(' ')
            .map(|number| number.parse().expect("a number"))
            .collect();
        RingEvent {
            operation: numbers[0] as u8,
            old_address: numbers[1],
            address: numbers[2],
            size: numbers[3],
            alignment_log2: numbers[4] as u8,
            ..RingEvent::default()
        }
    });
    events.collect()
}

/// The event without what differs from run to run.
pub(crate) fn bare(event: &RingEvent) -> RingEvent {
    RingEvent {
        ticks: 0,
        end_ticks: 0,
        stack: 0,
        ..*event
    }
}

#[test]
fn every_call_is_recorded_as_it_was_made() {
    for clock in [1, 2] {
        let setup = Setup {
            clock,
            ..Setup::default()
        };
        let session = Session::new("calls", setup);
        let program = session.compile("calls.c", "calls");
        let recording = session.record(&mut session.command(program));
        assert_eq!(
            recording.output.status.code(),
            Some(7),
            "{}",
            recording.text()
        );
        assert_eq!(recording.output.stderr, b"");
        let [process] = &recording.processes[..] else {
            panic!("{:?}", recording.processes)
        };
        let events = recording.events_of(process);
        let got: Vec<RingEvent> = events.iter().map(bare).collect();
        assert_eq!(got, said(&recording), "clock {clock}");
        for pair in events.windows(2) {
            assert!(pair[0].ticks <= pair[1].ticks);
            assert!(pair[0].end_ticks <= pair[1].ticks);
        }
        assert!(events.iter().filter(|event| event.operation == 64).count() == 2);
        assert_eq!(process.exit, Some(7));
        assert_eq!((process.lost, process.turned_off), (0, 0));
    }
}
