//! How much memory a command may take.

use anyhow::bail;

use crate::landscape::survey::Survey;
use crate::model::memory::{available, size};
use crate::ranks::Ranks;

/// A number of bytes, such as `800M`, `2G` or `2GiB`.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    let text = text.trim().trim_end_matches(['B', 'b']);
    let (text, thousand) = text.strip_suffix('i').map_or((text, 1000.0), |text| (text, 1024.0));
    let (number, unit): (&str, f64) = match text.char_indices().last() {
        Some((at, 'k' | 'K')) => (&text[..at], thousand),
        Some((at, 'm' | 'M')) => (&text[..at], thousand * thousand),
        Some((at, 'g' | 'G')) => (&text[..at], thousand * thousand * thousand),
        _ => (text, 1.0),
    };
    let number: Option<f64> = number.parse().ok();
    number
        .filter(|number| *number > 0.0 && number.is_finite())
        .map(|number| (number * unit) as u64)
        .ok_or_else(|| "not a size such as 800M or 2G".to_owned())
}

/// What was asked for, or a third of what is free, in a container too, for all processes of this machine together.
pub(super) fn budget(asked: Option<u64>, ranks: &Ranks) -> u64 {
    let (_, processes) = ranks.on_node();
    asked.unwrap_or_else(|| available() / 3 / processes as u64)
}

/// Fails with both numbers where something would take more than the budget.
pub(super) fn check(what: &str, needed: u64, budget: u64) -> anyhow::Result<()> {
    if needed > budget {
        bail!(
            "{what} would take {}, {} are allowed: give more with --memory, or turn fewer tensors \
             with --layers or --tensors",
            size(needed),
            size(budget)
        );
    }
    Ok(())
}

/// Points that a worker takes on at once within the budget, of which so many bytes are taken already by what is named.
pub(super) fn points_at_once(survey: &Survey, what: &str, taken: u64, budget: u64) -> anyhow::Result<usize> {
    let threads = rayon::current_num_threads();
    let needed = |points: usize| (survey.bytes(points) * threads) as u64;
    check(&format!("{what} and one point a thread"), taken + needed(1), budget)?;
    let mut most = survey.points_at_once();
    while most > 1 && needed(most) > budget.saturating_sub(taken) {
        most /= 2;
    }
    Ok(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(
            (parse("2G"), parse("800M"), parse("1.5GiB")),
            (Ok(2_000_000_000), Ok(800_000_000), Ok(1_610_612_736))
        );
        assert_eq!(parse("4096"), Ok(4096));
        assert!(parse("much").is_err() && parse("-1G").is_err() && parse("").is_err());
    }
}
