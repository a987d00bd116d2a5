//! Statistics of measurements. Other programs can only make a measurement longer, so the minimum is
//! the best estimate, and the median shows the spread.

/// The quantile of the values at `share`; 0.5 is the median.
pub fn quantile(values: &[f64], share: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1) as f64;
    values.get((last * share).round() as usize).copied().unwrap_or(f64::NAN)
}

/// The minimum.
pub fn least(values: &[f64]) -> f64 {
    quantile(values, 0.0)
}

/// The median.
pub fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

/// The median of the ratios of the pairs, of which both values were measured one right after the
/// other.
pub fn paired(ours: &[f64], other: &[f64]) -> f64 {
    let ratios: Vec<f64> = ours.iter().zip(other).map(|(ours, other)| ours / other).collect();
    median(&ratios)
}
