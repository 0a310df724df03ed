//! What is measured and reported: a figure, its reference, and the goal that was set for it.

use serde::{Deserialize, Serialize};

use crate::stats::Series;

/// The subject whose goals are judged; all others are there to compare.
pub const OURS: &str = "intermission";

#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Figure {
    pub section: String,
    pub name: String,
    pub unit: Unit,
    /// Whose figure it is.
    pub subject: String,
    pub measured: Series,
    pub reference: Option<Reference>,
    pub goal: Option<Goal>,
}

/// What was measured beside it, round by round.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Reference {
    pub name: String,
    pub measured: Series,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    Count,
    Instructions,
    PerSecond,
    Milliseconds,
    Microseconds,
    Bytes,
    /// Milliseconds of CPU time in a second.
    Cpu,
    Share,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    RatioAtMost(f64),
    RatioAtLeast(f64),
    AtMost(f64),
    /// As a share of the reference, above or below.
    Within(f64),
}

/// Which of two figures is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    Less,
    More,
    /// The one whose ratio is nearer to 1.
    NearReference,
}

impl Figure {
    pub fn new(section: &str, name: impl Into<String>, unit: Unit, measured: Series) -> Self {
        Self {
            section: section.to_owned(),
            name: name.into(),
            unit,
            subject: OURS.to_owned(),
            measured,
            reference: None,
            goal: None,
        }
    }

    pub fn of(mut self, subject: &str) -> Self {
        self.subject = subject.to_owned();
        self
    }

    pub fn beside(mut self, name: &str, measured: Series) -> Self {
        self.reference = Some(Reference { name: name.to_owned(), measured });
        self
    }

    pub fn goal(mut self, goal: Goal) -> Self {
        self.goal = Some(goal);
        self
    }

    /// Absent where there is no reference, or nothing to divide by, and where none at all is the goal: the
    /// reference says then of how many.
    pub fn ratio(&self) -> Option<Series> {
        let reference = &self.reference.as_ref()?.measured;
        let of_how_many = matches!(self.goal, Some(Goal::AtMost(0.0)));
        (reference.lowest() > 0.0 && !of_how_many).then(|| self.measured.over(reference))
    }

    pub fn reached(&self) -> Option<bool> {
        let goal = self.goal?;
        Some(match goal {
            Goal::AtMost(most) => self.measured.median() <= most,
            Goal::RatioAtMost(most) => self.ratio()?.median() <= most,
            Goal::RatioAtLeast(least) => self.ratio()?.median() >= least,
            Goal::Within(share) => (self.ratio()?.median() - 1.0).abs() <= share,
        })
    }

    pub fn better(&self) -> Better {
        match self.goal {
            Some(Goal::Within(_)) => Better::NearReference,
            Some(Goal::AtMost(_) | Goal::RatioAtMost(_)) => Better::Less,
            Some(Goal::RatioAtLeast(_)) => Better::More,
            None if self.unit == Unit::PerSecond => Better::More,
            None => Better::Less,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Figure, Goal, Unit};
    use crate::stats::Series;

    fn figure(goal: Goal) -> Figure {
        Figure::new("s", "n", Unit::Milliseconds, Series(vec![99.0, 102.0, 101.0]))
            .beside("plain", Series(vec![100.0, 100.0, 100.0]))
            .goal(goal)
    }

    #[test]
    fn goals_are_judged_by_the_median() {
        assert_eq!(figure(Goal::RatioAtMost(1.0)).reached(), Some(false));
        assert_eq!(figure(Goal::RatioAtLeast(1.0)).reached(), Some(true));
        assert_eq!(figure(Goal::Within(0.02)).reached(), Some(true));
        assert_eq!(figure(Goal::AtMost(100.0)).reached(), Some(false));
    }

    #[test]
    fn there_is_no_ratio_to_nothing() {
        let figure = Figure::new("s", "n", Unit::Cpu, Series(vec![1.0]));
        assert!(figure.clone().beside("plain", Series(vec![0.0])).ratio().is_none());
        assert!(figure.ratio().is_none());
    }

    #[test]
    fn there_is_no_ratio_where_none_is_the_goal() {
        assert!(figure(Goal::AtMost(0.0)).ratio().is_none());
        assert!(figure(Goal::AtMost(1.0)).ratio().is_some());
    }
}
