//! How a rate is shared out. No input, no output.

use std::collections::BTreeMap;

use super::keys::Rates;

/// nginx releases whole requests in a second.
const LEAST: u32 = 1;

/// Whether it can be shared out among so many.
pub fn check_rate(rate: u32, count: usize) -> Result<(), String> {
    if rate as usize >= count {
        return Ok(());
    }
    Err(format!(
        "--rate {rate}r/s is to be shared out among {count} nodes, and each can take {LEAST}r/s at least: \
         give --rate {count}r/s or more"
    ))
}

/// So much for each node as it has of what is held, rounded, but the least that there is for whoever has any. Together
/// they are no more than the rate, unless even the least for each is.
pub fn shares(rate: u32, held: &BTreeMap<String, u64>) -> Rates {
    let mut rates = Rates::new();
    let mut others: Vec<_> = held.iter().filter(|(_, held)| **held > 0).collect();
    let mut left = rate;
    // Who would get less than the least gets it at the cost of the others, and so another one may get less.
    loop {
        let total = total_of(&others);
        let is_small = |held: u64| u128::from(left) * u128::from(held) < u128::from(LEAST) * total;
        let Some(at) = others.iter().position(|(_, held)| is_small(**held)) else { break };
        let (node, _) = others.swap_remove(at);
        rates.insert(node.clone(), LEAST);
        left = left.saturating_sub(LEAST);
    }
    let (total, rate) = (total_of(&others), u128::from(left));
    let mut rest = left;
    let mut remainders = Vec::new();
    for (node, held) in others {
        let product = rate * u128::from(*held);
        let share = u32::try_from(product / total).unwrap_or(left);
        rest -= share;
        rates.insert(node.clone(), share);
        remainders.push((product % total, node));
    }
    remainders.sort_by(|one, other| other.cmp(one));
    for (_, node) in remainders.into_iter().take(rest as usize) {
        *rates.entry(node.clone()).or_default() += 1;
    }
    rates
}

fn total_of(nodes: &[(&String, &u64)]) -> u128 {
    nodes.iter().map(|(_, held)| u128::from(**held)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shared(rate: u32, held: &[u64]) -> Vec<u32> {
        let names = (0..held.len()).map(|number| format!("{number:04}"));
        let nodes: BTreeMap<_, _> = names.clone().zip(held.iter().copied()).collect();
        let rates = shares(rate, &nodes);
        names.map(|name| rates.get(&name).copied().unwrap_or(0)).collect()
    }

    #[test]
    fn a_rate_is_shared_out_by_what_is_held() {
        for (rate, held, expected) in [
            (500, vec![300, 100, 100], vec![300, 100, 100]),
            (10, vec![1, 1, 1], vec![3, 3, 4]),
            (10, vec![99, 1], vec![9, 1]),
            (10, vec![5, 0], vec![10, 0]),
            (3, vec![1_000_000, 1, 1], vec![1, 1, 1]),
            (4, vec![1_000_000, 1, 2], vec![2, 1, 1]),
            (7, vec![0, 0], vec![0, 0]),
            (7, vec![], vec![]),
            // Not even the least for each.
            (2, vec![9, 9, 9], vec![1, 1, 1]),
            (0, vec![9], vec![1]),
            (1_000_000, vec![u64::MAX, u64::MAX], vec![500_000, 500_000]),
        ] {
            assert_eq!(shared(rate, &held), expected, "{rate} {held:?}");
        }
    }

    #[test]
    fn it_is_shared_out_whole_and_nobody_who_holds_goes_without() {
        let mut seed = 1u64;
        let mut random = |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % below
        };
        for _ in 0..2000 {
            let held: Vec<_> = (0..=random(12)).map(|_| random(5) * random(5000)).collect();
            let count = held.iter().filter(|held| **held > 0).count();
            let rate = u32::try_from(count as u64 + random(200)).expect("a small one");
            let rates = shared(rate, &held);
            let expected = if count == 0 { 0 } else { rate };
            assert_eq!(rates.iter().sum::<u32>(), expected, "{rate} {held:?} {rates:?}");
            for (held, rate) in held.iter().zip(&rates) {
                assert_eq!(*held > 0, *rate > 0, "{held:?} {rates:?}");
            }
            for (one, first) in held.iter().zip(&rates) {
                for (other, second) in held.iter().zip(&rates) {
                    assert!(one <= other || first >= second, "{held:?} {rates:?}");
                }
            }
        }
    }
}
