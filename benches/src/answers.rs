//! The ten figures that a user asks for: what the page begins with.

use crate::figure::Figure;

/// A question, and the section and name of the figure that answers it.
const QUESTIONS: [(&str, &str, &str); 10] = [
    (
        "What does it cost while nothing is paused?",
        "Idle",
        "instructions, browser's request, 1 worker",
    ),
    ("What does holding cost?", "Holding", "CPU time, 15000 held, 2 workers"),
    (
        "How much memory does a held request take?",
        "Holding",
        "memory per request, 15000 held, 2 workers",
    ),
    ("Are requests lost?", "Release", "requests lost"),
    ("Does one overtake another?", "Release", "overtaken on the way out, 5000 held, 2 workers"),
    ("How long does a release take?", "Release", "last at the origin, 5000 held, 2 workers"),
    (
        "And with connections that are kept?",
        "Release",
        "last at the origin, 5000 held, 2 workers, kept connections",
    ),
    (
        "What do other clients notice of it?",
        "Release",
        "another client's longest wait, 10000 held, 2 workers",
    ),
    ("Does it keep to a rate?", "Pace", "rate, 2000 held"),
    (
        "Is the request of a client that left replayed?",
        "Abort",
        "of 1000 that left, without a body, at the origin",
    ),
];

/// Each question with its figure, as far as that was measured.
pub fn of<'a>(figures: &[&'a Figure]) -> Vec<(&'static str, &'a Figure)> {
    let answer = |(question, section, name): &(&'static str, &str, &str)| {
        let found =
            figures.iter().find(|figure| figure.section == *section && figure.name == *name);
        found.map(|figure| (*question, *figure))
    };
    QUESTIONS.iter().filter_map(answer).collect()
}

#[cfg(test)]
mod tests {
    use super::{QUESTIONS, of};
    use crate::findings::Findings;
    use crate::page;

    #[test]
    fn the_recorded_figures_answer_every_question() {
        let recorded = include_str!("../../docs/bench/figures.json");
        let findings: Findings = serde_json::from_str(recorded).unwrap();
        let answered = of(&page::own(&findings));
        let asked = QUESTIONS.map(|(question, ..)| question);
        assert_eq!(answered.iter().map(|(question, _)| *question).collect::<Vec<_>>(), asked);
    }
}
