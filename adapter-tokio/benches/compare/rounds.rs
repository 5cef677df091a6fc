//! Alternating rounds.

use crate::Outcome;

/// One of the things that are compared: its name, and a round of it, which returns a figure.
pub(crate) struct Contestant<'a> {
    pub(crate) name: String,
    round: Box<dyn FnMut() -> Outcome<f64> + 'a>,
}

impl<'a> Contestant<'a> {
    pub(crate) fn new(name: impl Into<String>, round: impl FnMut() -> Outcome<f64> + 'a) -> Self {
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
pub(crate) fn alternate(
    rounds: usize,
    mut contestants: Vec<Contestant<'_>>,
) -> Outcome<Vec<Samples>> {
    let mut samples: Vec<Samples> = contestants
        .iter()
        .map(|contestant| Samples { name: contestant.name.clone(), values: Vec::new() })
        .collect();
    for round in 0..=rounds {
        let mut pairs: Vec<_> = contestants.iter_mut().zip(&mut samples).collect();
        if round % 2 == 1 {
            pairs.reverse();
        }
        for (contestant, samples) in pairs {
            let value = (contestant.round)()?;
            if round > 0 {
                samples.values.push(value);
            }
        }
    }
    Ok(samples)
}
