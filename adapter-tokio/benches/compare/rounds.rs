//! Alternating rounds.

use crate::Outcome;

/// A contestant: its name, and a round of it, which returns a figure of each kind.
pub(crate) struct Contestant<'a, const KINDS: usize = 1> {
    pub(crate) name: String,
    round: Round<'a, KINDS>,
}

type Round<'a, const KINDS: usize> = Box<dyn FnMut() -> Outcome<[f64; KINDS]> + 'a>;

impl<'a> Contestant<'a> {
    pub(crate) fn new(
        name: impl Into<String>,
        mut round: impl FnMut() -> Outcome<f64> + 'a,
    ) -> Self {
        Self::with_kinds(name, move || Ok([round()?]))
    }
}

impl<'a, const KINDS: usize> Contestant<'a, KINDS> {
    pub(crate) fn with_kinds(
        name: impl Into<String>,
        round: impl FnMut() -> Outcome<[f64; KINDS]> + 'a,
    ) -> Self {
        Self { name: name.into(), round: Box::new(round) }
    }
}

/// The figures of a contestant, one a round.
#[derive(Clone, Debug)]
pub(crate) struct Samples {
    pub(crate) name: String,
    pub(crate) values: Vec<f64>,
}

/// Runs the contestants in turn, forwards and backwards, so that no one always follows the same one. The
/// first round warms up.
pub(crate) fn alternate(rounds: usize, contestants: Vec<Contestant<'_>>) -> Outcome<Vec<Samples>> {
    let [samples] = alternate_kinds(rounds, true, contestants)?;
    Ok(samples)
}

/// [`alternate`] for contestants with figures of several kinds, and perhaps without a round to warm up.
pub(crate) fn alternate_kinds<const KINDS: usize>(
    rounds: usize,
    warms_up: bool,
    mut contestants: Vec<Contestant<'_, KINDS>>,
) -> Outcome<[Vec<Samples>; KINDS]> {
    let nothing = |contestant: &Contestant<'_, KINDS>| Samples {
        name: contestant.name.clone(),
        values: Vec::new(),
    };
    let mut kinds = [(); KINDS].map(|()| contestants.iter().map(nothing).collect::<Vec<_>>());
    for round in 0..rounds + usize::from(warms_up) {
        let mut order: Vec<usize> = (0..contestants.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for place in order {
            let Some(contestant) = contestants.get_mut(place) else { continue };
            let values = (contestant.round)()?;
            if round == 0 && warms_up {
                continue;
            }
            for (samples, value) in kinds.iter_mut().zip(values) {
                if let Some(samples) = samples.get_mut(place) {
                    samples.values.push(value);
                }
            }
        }
    }
    Ok(kinds)
}
