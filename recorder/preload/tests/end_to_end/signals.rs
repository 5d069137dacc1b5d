//! Signal handlers that interrupt the recorder itself, between any two of its instructions.

use crate::drainer::{Recording, Session, Setup};

fn record(mode: &str) -> Recording {
    let session = Session::new("steps", Setup::default());
    let program = session.compile("steps.c", "steps");
    let recording = session.record(session.command(program).arg(mode));
    assert_eq!(
        recording.output.status.code(),
        Some(0),
        "{}",
        recording.text()
    );
    recording
}

fn number(recording: &Recording, word: &str) -> usize {
    let text = recording.text();
    let line = text.lines().find_map(|line| line.strip_prefix(word));
    line.and_then(|rest| rest.trim().parse().ok())
        .unwrap_or_else(|| panic!("{text}"))
}

#[test]
fn a_handler_that_allocates_inside_the_recorder_loses_nothing() {
    for mode in ["own stack", "alternate stack"] {
        let recording = record(&mode[..1]);
        let handled = number(&recording, "allocated");
        assert!(
            handled > 500,
            "only {handled} instructions were interrupted"
        );
        let process = &recording.processes[0];
        let events = recording.events_of(process);
        let of_handler = events.iter().filter(|event| event.size == 777).count();
        assert_eq!(of_handler, handled, "{mode}");
        // Two rounds of the program's own calls.
        let own = |operation: u8| {
            let own = events.iter().filter(|event| event.operation == operation);
            own.filter(|event| event.size != 777).count()
        };
        let frees = events.iter().filter(|event| event.operation == 32).count();
        assert_eq!([own(0), own(1), own(6), own(64)], [2, 2, 2, 2]);
        assert_eq!(frees, handled + 6);
        let streams = recording.streams_of(process);
        let nested: Vec<_> = streams.iter().filter(|stream| stream.level == 1).collect();
        assert_eq!(nested.len(), 1);
        assert!(nested[0].events().len() > 500);
        let lost: u64 = streams.iter().map(|stream| stream.lost).sum();
        assert_eq!((lost, process.lost), (0, 0), "{mode}");
        for stream in streams {
            let events = stream.events();
            assert!(events.windows(2).all(|pair| pair[0].ticks <= pair[1].ticks));
        }
    }
}

#[test]
fn a_handler_that_never_comes_back_does_not_stop_the_recording() {
    let recording = record("l");
    let survived = number(&recording, "survived");
    assert_eq!(survived, 60);
    let process = &recording.processes[0];
    let events = recording.events_of(process);
    let later = events.iter().filter(|event| event.size == 4321).count();
    assert_eq!(later, survived);
    let lost: u64 = recording.streams.iter().map(|stream| stream.lost).sum();
    assert_eq!(lost, 0);
    // The thread itself goes on, in new streams where the old one was left half-way.
    assert!(recording.streams.iter().all(|stream| stream.level == 0));
    assert!(recording.streams.len() > 10);
}

#[test]
fn a_handler_that_allocates_while_its_thread_is_born_is_recorded_or_counted() {
    let recording = record("b");
    let handled = number(&recording, "allocated");
    assert!(
        handled > 300,
        "only {handled} instructions were interrupted"
    );
    let process = &recording.processes[0];
    let events = recording.events_of(process);
    let of_handler = events.iter().filter(|event| event.size == 777).count();
    let frees = events.iter().filter(|event| event.operation == 32).count();
    let lost: u64 = recording.streams.iter().map(|stream| stream.lost).sum();
    assert!(
        of_handler > 0 && process.lost > 0,
        "{of_handler} recorded, {} lost",
        process.lost
    );
    // The thread's own pair is never lost.
    assert_eq!(events.iter().filter(|event| event.size == 10).count(), 1);
    let accounted = of_handler + frees - 1 + process.lost as usize + lost as usize;
    assert_eq!(accounted, 2 * handled);
}
