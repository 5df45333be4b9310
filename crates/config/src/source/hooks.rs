//! `[sources.NAME.hooks]`: lists of commands, each a list of words.

use std::time::Duration;

use sources::hooks::{DEADLINE, Hook, HookMoment, Hooks};

use crate::table::Table;

const MOMENTS: [HookMoment; 5] =
    [HookMoment::Before, HookMoment::After, HookMoment::OnSuccess, HookMoment::OnFailure, HookMoment::Always];

/// Takes the hooks out of a source's table.
pub(super) fn read(table: &mut Table<'_, '_>) -> Hooks {
    let mut hooks = Hooks::default();
    table.table("hooks", |table| {
        let deadline = table.duration("deadline").unwrap_or(DEADLINE);
        for moment in MOMENTS {
            *of(&mut hooks, moment) = commands(table, moment.word(), deadline);
        }
        table.finish();
    });
    hooks
}

fn of(hooks: &mut Hooks, moment: HookMoment) -> &mut Vec<Hook> {
    match moment {
        HookMoment::Before => &mut hooks.before,
        HookMoment::After => &mut hooks.after,
        HookMoment::OnSuccess => &mut hooks.on_success,
        HookMoment::OnFailure => &mut hooks.on_failure,
        HookMoment::Always => &mut hooks.always,
    }
}

fn commands(table: &mut Table<'_, '_>, key: &str, deadline: Duration) -> Vec<Hook> {
    let lists = table.text_lists(key).unwrap_or_default();
    let hook = |words: Vec<String>| Hook { arguments: words.into_iter().map(Into::into).collect(), deadline };
    lists.into_iter().map(hook).collect()
}
