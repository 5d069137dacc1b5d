//! `heaptape object`: who owned an address, or each of several.

use super::args::{FactsFormat, FactsFormatArgs, OpenArgs};
use super::output::{self, Output};
use super::{Exit, Outcome, open};
use anyhow::anyhow;
use clap::Args;
use heaptape::block::Lifetime;
use heaptape::report::object::Owners;
use heaptape::report::units::{Sizes, counted};
use std::path::PathBuf;

/// Who owned an address: every owner over time, or the one at a moment
///
/// An address inside a block finds the block. Many addresses cost hardly more than one; their
/// answers follow each other, in JSON as an array. When a part of a mapping is unmapped, what is
/// left of it is an owner of its own from then on. Memory that Python uses again (run --py-reuse)
/// has one owner after the other.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    heaptape object app.tape 0x7f3a5c001230\n  \
    heaptape object app.tape 0x7f3a5c001230 --at 12.5s --format json\n  \
    heaptape object app.tape 0x7f3a5c001230 0x7f3a5c001280 --at mark:loaded")]
pub(super) struct Object {
    /// The tape.
    tape: PathBuf,
    /// The address, or several: hexadecimal (0x…) or decimal.
    #[arg(value_name = "ADDR", required = true, allow_negative_numbers = true)]
    addresses: Vec<String>,
    /// Only the owner at this moment.
    #[arg(long, value_name = "T", allow_hyphen_values = true)]
    at: Option<String>,
    #[command(flatten)]
    format: FactsFormatArgs,
    #[command(flatten)]
    open: OpenArgs,
}

fn parse_address(text: &str) -> anyhow::Result<u64> {
    let hex = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let (digits, radix) = hex.map_or((text, 10), |digits| (digits, 16));
    let is_signed = digits.starts_with('+');
    let address = u64::from_str_radix(digits, radix).ok();
    address.filter(|_| !is_signed).ok_or_else(|| {
        anyhow!("'{text}' is not an address; write it as 0x7f3a5c001230 or as a decimal number")
    })
}

impl Object {
    pub(super) fn run(self, output: &mut Output) -> Outcome {
        let addresses = self.addresses.iter().map(|text| parse_address(text));
        let addresses: Vec<u64> = addresses.collect::<anyhow::Result<_>>()?;
        let recording = open::open(&self.tape, &self.open)?;
        let mut all = recording.owners_of_each(&addresses)?;
        if let Some(at) = &self.at {
            let (moment, text) = open::moment(&recording, Some(at), "end")?;
            let at = open::moment_words(moment, &text);
            for (address, lifetimes) in addresses.iter().zip(&mut all) {
                let which = match addresses.len() {
                    1 => "it".to_owned(),
                    _ => format!("{address:#x}"),
                };
                keep_alive_at(moment.stamp, &which, &at, lifetimes);
            }
        }
        let asked = addresses.into_iter().zip(all).collect();
        let owners = Owners::new(recording.tape(), asked);
        output::notes(owners.notes());
        let style = output.style;
        match self.format.format {
            FactsFormat::Json => owners.write_json(output)?,
            FactsFormat::Text => {
                let sizes = Sizes {
                    exact: self.format.exact,
                };
                owners.write_text(&style, sizes, output)?;
            }
        }
        Ok(Exit::DONE)
    }
}

/// Leaves the owner at a moment, and says when there are only others. `which` address it is.
fn keep_alive_at(stamp: u64, which: &str, at: &str, lifetimes: &mut Vec<Lifetime>) {
    let all = lifetimes.len() as u64;
    lifetimes.retain(|lifetime| lifetime.is_alive_at(stamp));
    if lifetimes.is_empty() && all > 0 {
        let blocks = counted(all, "block");
        output::note(&format!(
            "nothing held {which} at {at}; {blocks} did at other times"
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_hexadecimal_or_decimal() {
        assert_eq!(parse_address("0x1F").unwrap(), 31);
        assert_eq!(parse_address("31").unwrap(), 31);
        for text in ["", "0x", "0x+1", "1f", "-1", "+5", "0x1ffffffffffffffff"] {
            assert!(parse_address(text).is_err(), "{text}");
        }
    }
}
