//! The window that `leaks` and `churn` look at: two moments, the first not behind the second.

use super::open;
use anyhow::bail;
use clap::Args;
use heaptape::stats::query::At;
use heaptape::{Recording, ResolvedMoment};

/// `--from` and `--to`.
#[derive(Debug, Args)]
pub(super) struct WindowArgs {
    /// Start of the window [default: start].
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    from: Option<String>,
    /// End of the window [default: end].
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    to: Option<String>,
}

/// What is asked of a window whose start a folded tape tells nothing of any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Early {
    /// Who is left of those that were allocated since then: a folded tape knows.
    IsKnown,
    /// All that happened since then: that is gone.
    IsGone,
}

/// The window in one recording.
#[derive(Debug)]
pub(super) struct Window<'r> {
    recording: &'r Recording,
    pub(super) from: ResolvedMoment,
    pub(super) to: ResolvedMoment,
    from_text: String,
    to_text: String,
}

impl WindowArgs {
    /// Finds both moments.
    pub(super) fn resolve<'r>(
        &self,
        recording: &'r Recording,
        early: Early,
    ) -> anyhow::Result<Window<'r>> {
        let (from, to) = (self.from.as_deref(), self.to.as_deref());
        Window::new(recording, (from, early), (to, "end"), "--to ")
    }
}

impl<'r> Window<'r> {
    /// The window from a moment, or the start, to another one, which has a default. Behind
    /// `to_words` the user wrote the second.
    pub(super) fn new(
        recording: &'r Recording,
        (from, early): (Option<&str>, Early),
        (to, to_default): (Option<&str>, &'static str),
        to_words: &str,
    ) -> anyhow::Result<Self> {
        let (from, from_text) = match (early, from, &recording.tape().folded) {
            (Early::IsKnown, ..) => open::when(recording, from, "start")?,
            (Early::IsGone, None, Some(folded)) => {
                let fold = recording.tape().moment_of_stamp(folded.stamp);
                (fold, "the fold".to_owned())
            }
            (Early::IsGone, ..) => open::moment(recording, from, "start")?,
        };
        let (to, to_text) = open::moment(recording, to, to_default)?;
        if from.stamp > to.stamp {
            bail!("--from {from_text} lies behind {to_words}{to_text}; swap them");
        }
        Ok(Self {
            recording,
            from,
            to,
            from_text,
            to_text,
        })
    }

    /// The first stamp in it. That of a moment is the last one at or before it.
    pub(super) fn first_stamp(&self) -> u64 {
        let header = &self.recording.tape().header;
        let is_before = header.stamp_to_ns(self.from.stamp) < self.from.ns;
        self.from.stamp.saturating_add(u64::from(is_before))
    }

    /// Its end, as queries take it.
    pub(super) fn end(&self) -> At<'r> {
        At {
            recording: self.recording,
            stamp: self.to.stamp,
        }
    }

    /// Both moments in words.
    pub(super) fn words(&self) -> (String, String) {
        (
            open::moment_words(self.from, &self.from_text),
            open::moment_words(self.to, &self.to_text),
        )
    }
}
