//! Lines of equal height by marching squares.

/// The lines at `level` inside a square, of which the corners' heights are known at (0, 0), (1, 0), (1, 1) and (0, 1):
/// none, one, or two where opposite corners lie on the same side. Each is its two ends.
pub fn segments(corners: [f64; 4], level: f64) -> Vec<[[f64; 2]; 2]> {
    const PLACES: [[f64; 2]; 4] = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]];
    if corners.iter().any(|height| !height.is_finite()) {
        return Vec::new();
    }
    let is_above = corners.map(|height| height >= level);
    let crossings: Vec<[f64; 2]> = (0..4)
        .map(|from| (from, (from + 1) % 4))
        .filter(|(from, to)| is_above[*from] != is_above[*to])
        .map(|(from, to)| {
            let share = (level - corners[from]) / (corners[to] - corners[from]);
            [0, 1].map(|axis| PLACES[from][axis] + share * (PLACES[to][axis] - PLACES[from][axis]))
        })
        .collect();
    match crossings[..] {
        [a, b] => vec![[a, b]],
        // The middle belongs to two opposite corners: the lines cut the other two off.
        [a, b, c, d] => {
            let middle = corners.iter().sum::<f64>() / 4.0;
            if (middle >= level) == is_above[0] { vec![[a, b], [c, d]] } else { vec![[d, a], [b, c]] }
        }
        _ => Vec::new(),
    }
}
