//! How much of an order was kept.

/// How many came after one that should have come behind them.
pub fn overtaken(ids: impl IntoIterator<Item = u32>) -> usize {
    let mut highest = None;
    let late = |id: &u32| {
        let late = highest.is_some_and(|highest| highest > *id);
        highest = highest.max(Some(*id));
        late
    };
    ids.into_iter().filter(late).count()
}

#[cfg(test)]
mod tests {
    use super::overtaken;

    #[test]
    fn only_those_that_were_overtaken_count() {
        assert_eq!(overtaken([]), 0);
        assert_eq!(overtaken([0, 1, 2, 3]), 0);
        assert_eq!(overtaken([0, 2, 1, 3]), 1);
        assert_eq!(overtaken([3, 0, 1, 2]), 3);
    }
}
