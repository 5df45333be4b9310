//! What a call of `cargo xtask fuzz` asks for.

/// How long a call without words takes.
const SECONDS_BY_DEFAULT: u64 = 60;

pub(super) const HELP: &str = "\
usage: cargo xtask fuzz [--executions N | --seconds S] [--seed N] [TARGET...]

  --executions N   so many executions over all targets together
  --seconds S      for about so long, over all targets together (60)
  --seed N         repeat the choices of an earlier run on the same corpus
  TARGET           only these targets";

/// When to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Budget {
    /// After so many executions over all targets.
    Executions(u64),
    /// After so many seconds over all targets.
    Seconds(u64),
}

#[derive(Debug)]
pub(super) struct Options {
    pub(super) budget: Budget,
    pub(super) seed: u64,
    pub(super) targets: Vec<&'static str>,
}

impl Options {
    pub(super) fn parse(words: &[&str], known: &[&'static str]) -> Result<Self, String> {
        let (mut budget, mut seed, mut targets) = (None, None, Vec::new());
        let mut words = words.iter();
        while let Some(word) = words.next() {
            let mut number = || {
                let number = words.next().and_then(|word| word.parse::<u64>().ok()).filter(|number| *number > 0);
                number.ok_or_else(|| format!("`{word}` needs a number\n\n{HELP}"))
            };
            match *word {
                "--executions" if budget.is_none() => budget = Some(Budget::Executions(number()?)),
                "--seconds" if budget.is_none() => budget = Some(Budget::Seconds(number()?)),
                "--seed" => seed = Some(number()?),
                name => match known.iter().find(|known| **known == name) {
                    Some(target) => targets.push(*target),
                    None => return Err(format!("there is no target `{name}`\n\n{HELP}")),
                },
            }
        }
        if targets.is_empty() {
            targets = known.to_vec();
        }
        let budget = budget.unwrap_or(Budget::Seconds(SECONDS_BY_DEFAULT));
        Ok(Self { budget, seed: seed.unwrap_or_else(|| testkit::seed("fuzzing")), targets })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood_or_refused() {
        let known = ["tree", "lock"];
        let options = Options::parse(&["--executions", "10", "--seed", "7", "lock"], &known);
        let options = options.map(|options| (options.budget, options.seed, options.targets));
        assert_eq!(options, Ok((Budget::Executions(10), 7, vec!["lock"])));
        let all = Options::parse(&["--seed", "1"], &known).map(|options| (options.budget, options.targets));
        assert_eq!(all, Ok((Budget::Seconds(SECONDS_BY_DEFAULT), known.to_vec())));
        for wrong in
            [vec!["trees"], vec!["--seconds"], vec!["--seconds", "x"], vec!["--seconds", "1", "--executions", "1"]]
        {
            assert!(Options::parse(&wrong, &known).is_err(), "{wrong:?}");
        }
    }
}
