//! Rule `licences`: everything that is built into the product may be passed on freely.
//!
//! `deny.toml` says the same for `cargo deny`; this rule needs nothing installed, so it always runs. A licence
//! expression passes when one of its choices asks for permissive licences only.

use crate::finding::Finding;
use crate::workspace::Workspace;

/// Licences that ask for no more than a notice. Keep in step with `deny.toml`.
const PERMISSIVE: [&str; 14] = [
    "0BSD",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "BSL-1.0",
    "CC0-1.0",
    "CDLA-Permissive-2.0",
    "ISC",
    "MIT",
    "MIT-0",
    "Unicode-3.0",
    "Unlicense",
    "Zlib",
];

pub(super) fn findings(workspace: &Workspace) -> Vec<Finding> {
    let mut findings = Vec::new();
    for package in &workspace.packages {
        let what = match &package.licence {
            None => "names no licence".to_owned(),
            Some(expression) => match is_permissive(expression) {
                Some(true) => continue,
                Some(false) => format!("is under `{expression}`, which is not permissive"),
                None => format!("has a licence that cannot be read: `{expression}`"),
            },
        };
        let name_line = format!("name = \"{}\"", package.name);
        findings.push(Finding {
            rule: "licences",
            path: package.manifest.clone(),
            line: workspace.line_where(&package.manifest, |line| line == name_line),
            what: format!("`{} {}` {what}", package.name, package.version),
            hint: "use another crate; `cargo tree --invert` shows what brings it in".into(),
        });
    }
    findings
}

/// Whether a licence expression can be met with permissive licences; none when it makes no sense.
fn is_permissive(expression: &str) -> Option<bool> {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut reader = Reader { tokens: &tokens, at: 0 };
    let verdict = reader.choices()?;
    (reader.at == tokens.len()).then_some(verdict)
}

/// Reads `choice OR choice`, where a choice is `part AND part`, and a part is a licence or an expression in brackets.
struct Reader<'a> {
    tokens: &'a [&'a str],
    at: usize,
}

impl Reader<'_> {
    fn choices(&mut self) -> Option<bool> {
        let mut verdict = self.parts()?;
        while self.take("OR") {
            verdict |= self.parts()?;
        }
        Some(verdict)
    }

    fn parts(&mut self) -> Option<bool> {
        let mut verdict = self.part()?;
        while self.take("AND") {
            verdict &= self.part()?;
        }
        Some(verdict)
    }

    fn part(&mut self) -> Option<bool> {
        if self.take("(") {
            let verdict = self.choices()?;
            return self.take(")").then_some(verdict);
        }
        let licence = self.next().filter(|token| !matches!(*token, "OR" | "AND" | "WITH" | "(" | ")"))?.to_owned();
        if !self.take("WITH") {
            return Some(PERMISSIVE.contains(&licence.as_str()));
        }
        let exception = self.next()?;
        Some(PERMISSIVE.contains(&format!("{licence} WITH {exception}").as_str()))
    }

    fn next(&mut self) -> Option<&str> {
        let token = self.tokens.get(self.at)?;
        self.at += 1;
        Some(token)
    }

    fn take(&mut self, wanted: &str) -> bool {
        let is_there = self.tokens.get(self.at) == Some(&wanted);
        self.at += usize::from(is_there);
        is_there
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace::Package;

    #[test]
    fn expressions_are_judged_as_a_whole() {
        assert_eq!(is_permissive("MIT OR Apache-2.0"), Some(true));
        assert_eq!(is_permissive("MIT/Apache-2.0"), Some(true));
        assert_eq!(is_permissive("MIT OR LGPL-2.1-or-later"), Some(true), "we choose MIT");
        assert_eq!(is_permissive("MIT AND GPL-3.0-only"), Some(false));
        assert_eq!(is_permissive("(MIT OR GPL-3.0-only) AND ISC"), Some(true));
        assert_eq!(is_permissive("MIT OR ISC AND GPL-3.0-only"), Some(true), "AND binds tighter than OR");
        assert_eq!(is_permissive("Apache-2.0 WITH LLVM-exception"), Some(true));
        assert_eq!(is_permissive("GPL-2.0-only WITH Classpath-exception-2.0"), Some(false));
        assert_eq!(is_permissive("AGPL-3.0-or-later"), Some(false));
    }

    #[test]
    fn nonsense_is_not_taken_for_a_licence() {
        for expression in ["", "MIT OR", "(MIT", "MIT ISC", "AND MIT", "MIT WITH"] {
            assert_eq!(is_permissive(expression), None, "{expression}");
        }
    }

    #[test]
    fn a_package_that_binds_is_found_in_the_lock_file() {
        let foreign = |name: &str, licence: Option<&str>| Package {
            name: name.into(),
            version: "1.0.0".into(),
            manifest: "Cargo.lock".into(),
            own: false,
            licence: licence.map(str::to_owned),
            dependencies: Vec::new(),
        };
        let mut workspace = Workspace::of_files(&[("Cargo.lock", "[[package]]\nname = \"copyleft\"\n")]);
        workspace.packages =
            vec![foreign("copyleft", Some("GPL-3.0-only")), foreign("silent", None), foreign("fine", Some("MIT"))];
        let found = findings(&workspace);
        assert_eq!(found.len(), 2);
        assert_eq!((found[0].path.as_str(), found[0].line), ("Cargo.lock", 2));
    }

    #[test]
    fn deny_toml_allows_the_same_licences() {
        let root = crate::workspace::root().unwrap();
        let text = std::fs::read_to_string(root.join("deny.toml")).unwrap();
        let (_, after) = text.split_once("allow = [").unwrap();
        let mut allowed: Vec<&str> = after.split_once(']').unwrap().0.split('"').skip(1).step_by(2).collect();
        let mut ours = PERMISSIVE.to_vec();
        allowed.sort_unstable();
        ours.sort_unstable();
        assert_eq!(allowed, ours);
    }
}
