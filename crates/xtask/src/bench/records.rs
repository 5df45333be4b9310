//! What was measured, as lines: every figure of every round, for people's programs and for the page of a later run.
//!
//! A recorded run replaces what it measured and keeps the rest, so that a long measurement can be done in parts. What
//! belongs together is replaced together: all tools' figures of one step, because a ratio of two runs is none.

use super::corpora::CorpusKind;
use super::measure::Cost;
use super::places::Place;
use super::steps::Step;
use super::tools::ToolKind;

/// What was measured: which step of which tool on which corpus at which place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Case {
    pub(super) place: Place,
    /// A corpus's name, with its size where one corpus comes in several: `GROWTH-3M`.
    pub(super) corpus: String,
    pub(super) tool: ToolKind,
    pub(super) step: Step,
}

/// One measured run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) case: Case,
    pub(super) round: usize,
    pub(super) cost: Cost,
}

/// A figure that is no cost of a run: bytes stored, seconds of a stage.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Amount {
    pub(super) case: Case,
    pub(super) name: String,
    pub(super) value: f64,
}

/// Everything that was measured.
#[derive(Debug, Default, Clone, PartialEq)]
pub(super) struct Records {
    pub(super) figures: Vec<Figure>,
    pub(super) amounts: Vec<Amount>,
    /// Machine, versions, sizes: name and text.
    pub(super) about: Vec<(String, String)>,
    pub(super) failures: Vec<String>,
}

const HEAD: &str = "# figure place corpus tool step round cpu_seconds wall_seconds peak_mib\n\
                    # amount place corpus tool step name value\n";

impl Records {
    /// Sets a line of what is known about the run.
    pub(super) fn tell(&mut self, name: &str, text: &str) {
        self.about.retain(|(known, _)| known != name);
        // A tab or a line's end would be taken for the next field.
        self.about.push((name.to_owned(), text.replace(['\t', '\n'], " ")));
    }

    pub(super) fn told(&self, name: &str) -> Option<&str> {
        self.about.iter().find(|(known, _)| known == name).map(|(_, text)| text.as_str())
    }

    pub(super) fn figure(&mut self, case: Case, round: usize, cost: Cost) {
        self.figures.push(Figure { case, round, cost });
    }

    pub(super) fn amount(&mut self, case: Case, name: &str, value: f64) {
        self.amounts.push(Amount { case, name: name.to_owned(), value });
    }

    /// The earlier records with these in the place of what they measured anew.
    pub(super) fn over(self, earlier: Self) -> Self {
        let other_size = |corpus: &str| {
            let name = size_name(corpus);
            matches!((self.told(&name), earlier.told(&name)), (Some(new), Some(old)) if new != old)
        };
        let is_anew = |case: &Case| {
            let same = |new: &Case| (new.place, &new.corpus, new.step) == (case.place, &case.corpus, case.step);
            self.figures.iter().any(|figure| same(&figure.case)) || self.amounts.iter().any(|amount| same(&amount.case))
        };
        let stays = |case: &Case| !is_anew(case) && !other_size(&case.corpus);
        let mut merged = Self {
            figures: earlier.figures.iter().filter(|figure| stays(&figure.case)).cloned().collect(),
            amounts: earlier.amounts.iter().filter(|amount| stays(&amount.case)).cloned().collect(),
            about: earlier.about.clone(),
            failures: Vec::new(),
        };
        merged.figures.extend(self.figures);
        merged.amounts.extend(self.amounts);
        merged.failures.extend(self.failures);
        for (name, text) in self.about {
            merged.tell(&name, &text);
        }
        merged
    }

    pub(super) fn to_text(&self) -> String {
        let case =
            |case: &Case| format!("{}\t{}\t{}\t{}", case.place.name(), case.corpus, case.tool.name(), case.step.name());
        let mut text = HEAD.to_owned();
        for (name, told) in &self.about {
            text += &format!("about\t{name}\t{told}\n");
        }
        for Figure { case: of, round, cost } in &self.figures {
            let Cost { cpu_seconds, wall_seconds, peak_mib } = cost;
            text += &format!("figure\t{}\t{round}\t{cpu_seconds:.3}\t{wall_seconds:.3}\t{peak_mib:.1}\n", case(of));
        }
        for Amount { case: of, name, value } in &self.amounts {
            text += &format!("amount\t{}\t{name}\t{value:.4}\n", case(of));
        }
        text
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let mut records = Self::default();
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
        for line in lines {
            let fields: Vec<&str> = line.split('\t').collect();
            records.take_line(&fields).map_err(|why| format!("`{line}`: {why}"))?;
        }
        Ok(records)
    }

    fn take_line(&mut self, fields: &[&str]) -> Result<(), String> {
        let number = |text: &str| text.parse::<f64>().map_err(|_| format!("`{text}` is no number"));
        match fields {
            ["about", name, text] => self.tell(name, text),
            ["figure", place, corpus, tool, step, round, cpu, wall, peak] => {
                let case = case(place, corpus, tool, step)?;
                let cost = Cost { cpu_seconds: number(cpu)?, wall_seconds: number(wall)?, peak_mib: number(peak)? };
                self.figure(case, number(round)? as usize, cost);
            }
            ["amount", place, corpus, tool, step, name, value] => {
                self.amount(case(place, corpus, tool, step)?, name, number(value)?);
            }
            _ => return Err("not a line that this program writes".to_owned()),
        }
        Ok(())
    }
}

/// The name under which a corpus's size is told.
pub(super) fn size_name(corpus: &str) -> String {
    format!("size of {corpus}")
}

fn case(place: &str, corpus: &str, tool: &str, step: &str) -> Result<Case, String> {
    // GROWTH-3M is a corpus of the kind GROWTH.
    CorpusKind::parse(corpus.split('-').next().unwrap_or_default())?;
    let (place, tool) = (Place::parse(place)?, ToolKind::parse(tool)?);
    Ok(Case { place, corpus: corpus.to_owned(), tool, step: Step::parse(step)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case_of(corpus: &str, tool: ToolKind, step: Step) -> Case {
        Case { place: Place::Local, corpus: corpus.to_owned(), tool, step }
    }

    fn run(corpus: &str, tool: ToolKind, step: Step, cpu_seconds: f64) -> Records {
        let mut records = Records::default();
        records.figure(case_of(corpus, tool, step), 0, Cost { cpu_seconds, wall_seconds: 1.0, peak_mib: 2.0 });
        records
    }

    #[test]
    fn records_survive_their_file() {
        let mut records = run("GROWTH-3M", ToolKind::Restic, Step::First, 1.5);
        records.amount(case_of("BIG", ToolKind::Borg, Step::First), "stored bytes", 7.0);
        records.tell("machine", "a\tb");
        assert_eq!(records.told("machine"), Some("a b"));
        assert_eq!(Records::parse(&records.to_text()), Ok(records));
        assert!(Records::parse("figure\tlocal\tBIG").is_err());
        assert!(Records::parse("figure\tlocal\tHUGE\trestic\tfirst\t0\t1\t1\t1").is_err());
    }

    #[test]
    fn a_later_run_replaces_what_it_measured_and_keeps_the_rest() {
        let mut earlier = run("BIG", ToolKind::Restic, Step::First, 1.0);
        earlier.figures.extend(run("BIG", ToolKind::Restic, Step::Check, 2.0).figures);
        let merged = run("BIG", ToolKind::Triplicate, Step::First, 3.0).over(earlier);
        let costs: Vec<_> = merged.figures.iter().map(|figure| (figure.case.tool, figure.cost.cpu_seconds)).collect();
        assert_eq!(costs, [(ToolKind::Restic, 2.0), (ToolKind::Triplicate, 3.0)]);
    }

    #[test]
    fn figures_of_another_size_go() {
        let mut earlier = run("BIG", ToolKind::Restic, Step::Check, 1.0);
        earlier.tell("size of BIG", "256 MiB");
        let mut later = run("BIG", ToolKind::Restic, Step::First, 1.0);
        later.tell("size of BIG", "2048 MiB");
        assert_eq!(later.over(earlier).figures.len(), 1);
    }
}
