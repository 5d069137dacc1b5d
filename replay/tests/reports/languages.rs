//! The frames of one language alone: the other's might as well not be there.

use crate::numbers::{Stacks, blocks, buckets, is_python, stacks, text};
use heaptape::block::Block;
use heaptape::stats::{Amount, Cumulative, FilePattern, FrameFilter, GroupBy, Grouper};
use heaptape::symbols::{Attribution, Language, ResolvedFrame};
use proptest::prelude::*;
use std::collections::BTreeMap;

const GROUPS: [GroupBy; 6] = [
    GroupBy::File,
    GroupBy::Line,
    GroupBy::Function,
    GroupBy::Module,
    GroupBy::Traceback,
    GroupBy::Size,
];
const COUNTS: [Cumulative; 3] = [Cumulative::Off, Cumulative::PerStack, Cumulative::PerFrame];

/// How to group.
#[derive(Debug, Clone)]
struct Question {
    group_by: GroupBy,
    cumulative: Cumulative,
    raw_sites: bool,
    filter: FrameFilter,
}

fn questions() -> impl Strategy<Value = Question> {
    let patterns = || {
        let pattern = prop::sample::select(vec!["/1.*", "*.py", "/0.c", "*.c:9", "/1.py:2", "<*"]);
        prop::collection::vec(pattern.prop_map(FilePattern::new), 0..2)
    };
    let group = (0usize..6, 0usize..3, any::<bool>());
    (group, patterns(), patterns(), any::<bool>()).prop_map(
        |((group, count, raw_sites), include, exclude, all_frames)| Question {
            group_by: GROUPS[group],
            cumulative: COUNTS[count],
            raw_sites,
            filter: FrameFilter {
                include,
                exclude,
                all_frames,
            },
        },
    )
}

/// The rows with the frames that stand for them, and the total.
type Rows = (BTreeMap<String, (u64, u64, Vec<ResolvedFrame>)>, Amount);

fn rows(question: &Question, language: Option<Language>, of: (&Stacks, &[Block])) -> Rows {
    let attribution = Attribution::new(&[], question.raw_sites);
    let mut grouper = Grouper::new(
        question.group_by,
        question.cumulative,
        language,
        false,
        question.filter.clone(),
        attribution,
    );
    let (stacks, blocks) = of;
    let buckets = buckets(blocks, stacks, question.group_by);
    let frames = grouper.resolve(stacks, &buckets.stacks());
    let rows = grouper.group(&frames, &buckets, &text);
    let row = |(&key, amount): (_, &Amount)| {
        let shown = (amount.bytes, amount.count, grouper.frames(key));
        (grouper.text(key), shown)
    };
    (rows.by_key.iter().map(row).collect(), rows.total)
}

proptest! {
    #[test]
    fn one_language_answers_as_if_the_other_were_not_there(
        stacks in stacks(), blocks in blocks(), question in questions()
    ) {
        for (language, wanted) in [(Language::Python, true), (Language::Native, false)] {
            let mut alone = stacks.clone();
            for stack in &mut alone.stacks {
                stack.retain(|&frame| is_python(frame) == wanted);
            }
            let found = rows(&question, Some(language), (&stacks, &blocks));
            let expected = rows(&question, None, (&alone, &blocks));
            prop_assert_eq!(found, expected, "{:?}", language);
        }
    }
}
