//! Ranges, grids and places as a person types them.

use super::usage::Usage;
use crate::landscape::survey::evenly;

/// Nothing is to be seen farther out, in units of the directions.
const FAR: f64 = 1e6;

/// `LO:HI`, the lower end first.
pub(super) fn range(text: &str) -> Result<(f64, f64), String> {
    let ends = text.split_once(':').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
    match ends {
        Some((low, high)) if !(f64::abs(low) <= FAR && f64::abs(high) <= FAR) => {
            Err(format!("a range lies within {:e}:{FAR:e}", -FAR))
        }
        Some((low, high)) if low <= high => Ok((low, high)),
        Some((low, high)) => Err(format!("the range is reversed: write {high}:{low}")),
        _ => Err("not a range such as -1:1".to_owned()),
    }
}

/// One range for both directions, or one for each.
pub(super) fn ranges(text: &str) -> Result<[(f64, f64); 2], String> {
    match text.split_once(',') {
        Some((first, second)) => Ok([range(first)?, range(second)?]),
        None => range(text).map(|both| [both; 2]),
    }
}

/// Columns and rows.
pub(super) fn grid(text: &str) -> Result<(usize, usize), String> {
    let side = |text: &str| text.parse::<usize>().ok();
    let sides = text.split_once('x').and_then(|(a, b)| Some((side(a)?, side(b)?)));
    match sides {
        Some((columns, rows)) if columns > 0 && rows > 0 && columns.saturating_mul(rows) <= 1 << 24 => {
            Ok((columns, rows))
        }
        Some(_) => Err("a grid has 1 to 16777216 points".to_owned()),
        None => Err("not a grid such as 25x25".to_owned()),
    }
}

/// The coordinates of a grid over its ranges, along the first direction and the second.
pub(super) fn coordinates(
    ranges: [(f64, f64); 2],
    (columns, rows): (usize, usize),
) -> anyhow::Result<(Vec<f64>, Vec<f64>)> {
    let along = |(low, high): (f64, f64), count: usize| -> anyhow::Result<Vec<f64>> {
        if count > 1 && low >= high {
            let problem =
                format!("--range {low}:{high}: {count} points need a width; --grid 1x1 is one point");
            return Err(Usage::error(problem));
        }
        Ok(evenly(low, high, count))
    };
    Ok((along(ranges[0], columns)?, along(ranges[1], rows)?))
}

/// A place by its alpha and beta.
pub(super) fn offset(text: &str) -> Result<(f64, f64), String> {
    let place =
        text.split_once(',').and_then(|(a, b)| Some((a.trim().parse().ok()?, b.trim().parse().ok()?)));
    place
        .filter(|(a, b): &(f64, f64)| a.abs() <= FAR && b.abs() <= FAR)
        .ok_or("not a place such as -0.9,0.05".to_owned())
}
