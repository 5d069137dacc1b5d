//! Pauses and marks that somebody outside asks for.

use crate::Fixture;
use crate::history::History;
use crate::producing::{Process, Thread};
use crate::tapes::Content;
use heaptape_drain::{DrainError, Settings, outside};
use heaptape_session::layout::{paused, phase};
use heaptape_session::slots::{free_process, set_process_phase};
use heaptape_session::sync::Ordering;
use std::process::{Child, Command};

/// Threads that ask for the same at once.
const ASKING: usize = 8;

/// A process that lives, of its own: other tests record this one.
pub(crate) struct Sleeper(Child);

impl Sleeper {
    pub(crate) fn start() -> Self {
        Self(Command::new("sleep").arg("60").spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Sleeper {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Stamps and names of the marks in the only tape, which are all from outside.
fn marks_of(fixture: Fixture) -> Vec<(u64, String)> {
    let outcome = fixture.drainer.finish();
    let content = Content::read(outcome.tapes[0].path.as_ref().unwrap());
    let end = content.end.unwrap().stamp;
    let marks = content.marks.into_iter();
    marks
        .map(|mark| {
            assert!(mark.stream == u32::MAX && mark.stamp <= end, "{mark:?}");
            (mark.stamp, mark.name)
        })
        .collect()
}

#[test]
fn others_can_set_marks_and_pause() {
    let mut fixture = Fixture::new(Settings::default());
    let sleeper = Sleeper::start();
    let pid = sleeper.pid();
    let process = Process::begin_as(&fixture.session, pid, 0, 0, 0, None);
    let mut thread = Thread::begin(&fixture.session, &process, 0);
    thread.publish(&History::random(1, 10));
    let slot = fixture.session.process(process.index).unwrap();
    // No other test records this one.
    let stranger = Sleeper::start();
    let nobody = outside::mark(stranger.pid(), "x");
    assert!(matches!(nobody, Err(DrainError::NotRecorded { pid }) if pid == stranger.pid()));
    std::thread::scope(|scope| {
        let marker = scope.spawn(|| {
            outside::pause(pid, true).unwrap();
            assert_eq!(slot.paused.load(Ordering::Relaxed), paused::YES);
            outside::pause(pid, true).unwrap();
            outside::pause(pid, false).unwrap();
            assert_eq!(slot.paused.load(Ordering::Relaxed), paused::NO);
            outside::mark(pid, "from outside").unwrap();
            outside::mark(pid, "again").unwrap();
        });
        while !marker.is_finished() {
            fixture.drainer.pass();
        }
    });
    drop(sleeper);
    let marks = marks_of(fixture);
    let names: Vec<_> = marks.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["paused", "resumed", "from outside", "again"]);
    let stamps: Vec<_> = marks.iter().map(|(stamp, _)| *stamp).collect();
    assert!(stamps[0] > 0 && stamps.is_sorted(), "{stamps:?}");
}

/// Of several that ask at once one changes the state, and sets the mark; an image that began
/// paused has its mark already.
#[test]
fn each_change_has_one_mark() {
    for begins_paused in [false, true] {
        let mut fixture = Fixture::new(Settings::default());
        let sleeper = Sleeper::start();
        let pid = sleeper.pid();
        let process = Process::begin_paused(&fixture.session, pid, begins_paused);
        let mut thread = Thread::begin(&fixture.session, &process, 0);
        thread.publish(&History::random(1, 10));
        for wanted in [true, false, true] {
            std::thread::scope(|scope| {
                let ask = || outside::pause(pid, wanted).unwrap();
                let asking: Vec<_> = (0..ASKING).map(|_| scope.spawn(ask)).collect();
                while asking.iter().any(|one| !one.is_finished()) {
                    fixture.drainer.pass();
                }
            });
        }
        drop(sleeper);
        let marks = marks_of(fixture);
        let names: Vec<_> = marks.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["paused", "resumed", "paused"], "{begins_paused}");
        assert!(marks.is_sorted_by_key(|(stamp, _)| *stamp), "{marks:?}");
    }
}

/// The slot of an image that is gone is another's: what was asked of the first is not its.
#[test]
fn a_mark_is_only_for_the_image_that_it_was_meant_for() {
    let mut fixture = Fixture::new(Settings::default());
    let [sleeper, other] = [Sleeper::start(), Sleeper::start()];
    let pid = sleeper.pid();
    let first = Process::begin_paused(&fixture.session, pid, false);
    std::thread::scope(|scope| {
        let marker = scope.spawn(|| outside::pause(pid, true));
        wait_until_asked(&fixture);
        free_process(fixture.session.process(first.index).unwrap());
        let second = Process::begin_paused(&fixture.session, other.pid(), true);
        assert_eq!(first.index, second.index);
        let mut thread = Thread::begin(&fixture.session, &second, 0);
        thread.publish(&History::random(1, 10));
        while !marker.is_finished() {
            fixture.drainer.pass();
        }
        let refused = marker.join().unwrap().unwrap_err();
        assert!(
            matches!(refused, DrainError::NotRecorded { .. }),
            "{refused}"
        );
    });
    drop([sleeper, other]);
    let marks = marks_of(fixture);
    assert_eq!(marks.len(), 1, "{marks:?}");
    assert_eq!(marks[0].1, "paused");
}

/// An image that ended before the drainer looked: its process has become another one, and that is
/// asked.
#[test]
fn the_next_image_is_asked_when_the_first_has_ended() {
    let mut fixture = Fixture::new(Settings::default());
    let sleeper = Sleeper::start();
    let pid = sleeper.pid();
    let first = Process::begin_paused(&fixture.session, pid, false);
    std::thread::scope(|scope| {
        let marker = scope.spawn(|| outside::mark(pid, "for whoever is there"));
        wait_until_asked(&fixture);
        free_process(fixture.session.process(first.index).unwrap());
        let second = Process::begin_paused(&fixture.session, pid, false);
        let mut thread = Thread::begin(&fixture.session, &second, 0);
        thread.publish(&History::random(1, 10));
        while !marker.is_finished() {
            fixture.drainer.pass();
        }
        marker.join().unwrap().unwrap();
    });
    drop(sleeper);
    let marks = marks_of(fixture);
    assert_eq!(marks.len(), 1, "{marks:?}");
    assert_eq!(marks[0].1, "for whoever is there");
}

/// An image that has asked whether the one before it is paused, a moment before that was told so,
/// is told as well.
#[test]
fn the_image_that_comes_meanwhile_is_paused_too() {
    let mut fixture = Fixture::new(Settings::default());
    let sleeper = Sleeper::start();
    let pid = sleeper.pid();
    let _first = Process::begin_paused(&fixture.session, pid, false);
    let second = Process::claim(&fixture.session, pid);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| outside::pause(pid, true));
        wait_until_asked(&fixture);
        while fixture.session.header().mark_state.load(Ordering::Acquire) & 0xff == 2 {
            fixture.drainer.pass();
        }
        let slot = fixture.session.process(second.index).unwrap();
        slot.image.store(1, Ordering::Relaxed);
        set_process_phase(slot, phase::RUNNING);
        while !asking.is_finished() {
            fixture.drainer.pass();
        }
        asking.join().unwrap().unwrap();
    });
    let slot = fixture.session.process(second.index).unwrap();
    assert_eq!(slot.paused.load(Ordering::Relaxed), paused::YES);
    drop(sleeper);
    fixture.drainer.finish();
}

/// Waits until a mark lies there for the drainer.
fn wait_until_asked(fixture: &Fixture) {
    let state = &fixture.session.header().mark_state;
    while state.load(Ordering::Acquire) & 0xff != 2 {
        std::thread::yield_now();
    }
}
