//! The `triplicate` command: parse, wire, run, exit code.
//!
//! Everything that a user sees is decided in this crate, and nothing else is: the engine in `repository` never prints
//! and never reads the environment. Results go to standard output, everything else to standard error.
//!
//! | room | what it is for |
//! |---|---|
//! | [`arguments`] | the command line as types |
//! | [`commands`] | one file for each command |
//! | [`session`] | what a command works with: copies, password, clock, runtime |
//! | [`screen`], [`watch`] | everything that is printed; progress |
//! | [`failure`] | what went wrong, its exit code and what to do about it |

mod arguments;
mod commands;
mod environment;
mod failure;
mod figures;
mod interrupt;
mod json;
mod password;
mod screen;
mod session;
mod sites;
mod ssh;
mod table;
mod watch;

use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    session::raise_open_files_limit();
    let invocation = match arguments::parse(std::env::args_os()) {
        Ok(invocation) => invocation,
        Err(usage) => return usage.print(),
    };
    let screen = Arc::new(screen::Screen::new(&invocation.global));
    let result = session::Session::new(screen.clone(), invocation.global, invocation.repositories)
        .and_then(|session| commands::run(&session, invocation.command));
    let ended = result.and_then(|()| screen.flush());
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => screen.end_with(&failure),
    }
}
