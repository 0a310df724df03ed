//! What repeated measurements say. The statistics themselves are the library's.

use serde::{Deserialize, Serialize};
use statrs::statistics::{Data, Max, Min, OrderStatistics};

/// The rounds of one measurement, none left out.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Series(pub Vec<f64>);

impl Series {
    pub fn median(&self) -> f64 {
        self.data().median()
    }

    pub fn percentile(&self, share: usize) -> f64 {
        self.data().percentile(share)
    }

    pub fn lowest(&self) -> f64 {
        self.data().min()
    }

    pub fn highest(&self) -> f64 {
        self.data().max()
    }

    /// Round by round: the sides of a round were measured next to each other.
    pub fn over(&self, reference: &Self) -> Self {
        Self(self.0.iter().zip(&reference.0).map(|(ours, theirs)| ours / theirs).collect())
    }

    fn data(&self) -> Data<Vec<f64>> {
        Data::new(self.0.clone())
    }
}

impl FromIterator<f64> for Series {
    fn from_iter<I: IntoIterator<Item = f64>>(values: I) -> Self {
        Self(values.into_iter().collect())
    }
}

pub fn median_of(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().collect::<Series>().median()
}

#[cfg(test)]
mod tests {
    use super::Series;

    #[test]
    fn ratios_are_taken_within_a_round() {
        let ours = Series(vec![2.0, 9.0, 4.0]);
        let ratio = ours.over(&Series(vec![1.0, 3.0, 4.0]));
        assert_eq!((ratio.lowest(), ratio.median(), ratio.highest()), (1.0, 2.0, 3.0));
    }
}
