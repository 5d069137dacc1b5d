//! Histories that are long enough for several slices, windows and threads at once.

use crate::harness::{live, lives, opened, without_index};
use crate::support::generate::{long_script, play};
use crate::support::model::Model;
use crate::support::write::Layout;
use heaptape::OpenOptions;

#[test]
fn a_long_history_is_the_same_on_one_and_on_many_threads() {
    let history = play(&long_script(21, 120_000, 4000), 6, false);
    let layout = Layout {
        chunk_events: 5000,
        ..Layout::default()
    };
    let model = Model::new(&history);
    let end = model.end();
    let expected = end.lives();
    let stamps: Vec<u64> = history.stamps().into_iter().collect();
    for threads in [1, 2, 4] {
        let options = OpenOptions {
            threads: Some(threads),
            slice_events: Some(30_000),
            window_events: Some(40_000),
            ..without_index()
        };
        let (_folder, recording) = opened(&history, &layout, &options);
        let summary = recording.summary().unwrap();
        assert_eq!((summary.end.bytes, summary.end.count), end.heap_total());
        assert_eq!((summary.unknown_frees, summary.implied_frees), (0, 0));
        for at in stamps.iter().step_by(stamps.len() / 5) {
            assert_eq!(live(&recording, *at), model.at(*at).live(), "at {at}");
        }
        assert!(
            lives(&recording, 0, u64::MAX) == expected,
            "on {threads} threads"
        );
    }
}
