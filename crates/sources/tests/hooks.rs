//! Hooks: their order, what they are told, how they fail and how they are ended.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::Path;
use std::time::Duration;

use model::Verdict;
use repository::Cancel;
use sources::hooks::{DEADLINE, Hook, HookMoment, HookReport, Hooks, Occasion, Outcome};
use testkit::process::wait_until;

fn shell(script: impl Into<String>) -> Hook {
    Hook { arguments: vec!["sh".into(), "-c".into(), script.into().into()], deadline: DEADLINE }
}

/// A hook that writes its moment and a word to a file.
fn noted(file: &Path, word: &str) -> Hook {
    shell(format!("echo \"$TRIPLICATE_HOOK {word}\" >> '{}'", file.display()))
}

fn all(file: &Path) -> Hooks {
    Hooks {
        before: vec![noted(file, "1"), noted(file, "2")],
        after: vec![noted(file, "3")],
        on_success: vec![noted(file, "4")],
        on_failure: vec![noted(file, "5")],
        always: vec![noted(file, "6")],
    }
}

fn occasion(verdict: Verdict) -> Occasion {
    let (snapshot, error) = match verdict {
        Verdict::Failed => (None, Some("the table is on fire".to_owned())),
        _ => (Some("0123abcd".to_owned()), None),
    };
    let outcome = Some(Outcome { verdict, snapshot, error });
    Occasion { source: "wallet".into(), run: "77".into(), outcome }
}

fn errors(reports: &[HookReport]) -> Vec<String> {
    reports.iter().filter_map(|report| Some(report.error.as_ref()?.to_string())).collect()
}

#[test]
fn each_moment_has_its_hooks() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("notes");
    let notes = || std::mem::take(&mut std::fs::read_to_string(&file).unwrap_or_default());
    let hooks = all(&file);
    for (verdict, by_verdict) in
        [(Verdict::Ok, "on_success 4"), (Verdict::Partial, "on_success 4"), (Verdict::Failed, "on_failure 5")]
    {
        assert!(errors(&hooks.before(&Occasion::default(), &Cancel::new())).is_empty());
        assert!(errors(&hooks.behind(&occasion(verdict), true)).is_empty());
        assert_eq!(notes(), format!("before 1\nbefore 2\nafter 3\n{by_verdict}\nalways 6\n"));
        std::fs::remove_file(&file).unwrap();
    }
    // One of those that come first fails: those behind it are left out, and what undoes them.
    let mut hooks = hooks;
    hooks.before.insert(1, shell("echo no such service >&2; exit 4"));
    assert_eq!(
        errors(&hooks.before(&Occasion::default(), &Cancel::new())),
        ["`sh` ended with code 4: no such service"]
    );
    assert!(errors(&hooks.behind(&occasion(Verdict::Failed), false)).is_empty());
    assert_eq!(notes(), "before 1\non_failure 5\nalways 6\n");
    // One of those that come behind fails: the others run.
    hooks.after.insert(0, shell("exit 1"));
    assert_eq!(errors(&hooks.behind(&occasion(Verdict::Ok), true)).len(), 1);
    assert!(notes().ends_with("after 3\non_success 4\nalways 6\n"));
}

#[test]
fn a_hook_is_told_what_it_is_there_for_and_no_secret() {
    let script = "env | grep ^TRIPLICATE_ | sort; echo to the side >&2";
    let hooks = Hooks { always: vec![shell(script)], ..Hooks::default() };
    let reports = hooks.behind(&occasion(Verdict::Partial), true);
    let [report] = reports.as_slice() else { panic!("{reports:?}") };
    assert_eq!((report.moment, report.program.as_str()), (HookMoment::Always, "sh"));
    let wanted = "TRIPLICATE_HOOK=always\nTRIPLICATE_RUN=77\nTRIPLICATE_SNAPSHOT=0123abcd\nTRIPLICATE_SOURCE=wallet\nTRIPLICATE_VERDICT=partial\nto the side";
    assert_eq!(report.output, wanted);
    let reports = hooks.behind(&occasion(Verdict::Failed), true);
    assert!(reports[0].output.contains("TRIPLICATE_ERROR=the table is on fire"), "{reports:?}");
}

#[test]
fn words_are_no_shells_words_and_output_is_kept_to_a_limit() {
    let hook = Hook { arguments: ["printf", "%s|", "$HOME", "; ls", "*"].map(Into::into).into(), deadline: DEADLINE };
    let hooks = Hooks { always: vec![hook, shell("yes 0123456789 | head -c 10000000")], ..Hooks::default() };
    let reports = hooks.behind(&occasion(Verdict::Ok), true);
    assert_eq!(reports[0].output, "$HOME|; ls|*|");
    assert_eq!(reports[1].output.len(), 16 << 10);
    let missing = Hook { arguments: vec!["no-such-program-anywhere".into()], deadline: DEADLINE };
    let none = Hook { arguments: Vec::new(), deadline: DEADLINE };
    let reports = Hooks { always: vec![missing, none], ..Hooks::default() }.behind(&occasion(Verdict::Ok), true);
    assert_eq!(errors(&reports).len(), 2, "{reports:?}");
}

#[test]
fn a_hook_that_takes_too_long_is_ended_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("child");
    let script = format!("sleep 1000 & echo $! > '{}'; wait", file.display());
    let hook = Hook { deadline: Duration::from_secs(1), ..shell(script) };
    let reports = Hooks { before: vec![hook], ..Hooks::default() }.before(&Occasion::default(), &Cancel::new());
    assert_eq!(errors(&reports), ["`sh` did not end within 1 s and was killed"]);
    let child = std::fs::read_to_string(&file).unwrap().trim().to_owned();
    let stat = format!("/proc/{child}/stat");
    // One that has ended may not have been waited for yet.
    let is_gone = || std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "));
    assert!(wait_until(Duration::from_secs(10), is_gone));
}
