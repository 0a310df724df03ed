//! Everything that a run brings to light.

use serde::{Deserialize, Serialize};

use crate::figure::Figure;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Findings {
    pub figures: Vec<Figure>,
    /// What was left out, and why.
    pub notes: Vec<String>,
    /// What should have been measured and could not be, and why.
    #[serde(default)]
    pub failures: Vec<String>,
    /// For the plots only.
    #[serde(skip)]
    pub arrivals: Vec<Arrivals>,
}

/// How the requests of one round came to the origin.
#[derive(Clone, Debug)]
pub struct Arrivals {
    pub plot: Plot,
    pub name: String,
    /// Milliseconds since the call, and the request's number, in the order of coming.
    pub points: Vec<(f64, u32)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plot {
    Release,
    Pace,
    Others,
}

impl Findings {
    pub fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    pub fn note(&mut self, note: impl Into<String>) {
        let note = note.into();
        eprintln!("    note: {note}");
        self.notes.push(note);
    }

    pub fn fail(&mut self, failure: impl Into<String>) {
        let failure = failure.into();
        eprintln!("    failed: {failure}");
        self.failures.push(failure);
    }

    /// How many goals there are, and the figures that miss theirs, or of which it cannot be said.
    pub fn goals(&self) -> (usize, Vec<&Figure>) {
        let with_goal = || self.figures.iter().filter(|figure| figure.goal.is_some());
        (with_goal().count(), with_goal().filter(|figure| figure.reached() != Some(true)).collect())
    }
}
