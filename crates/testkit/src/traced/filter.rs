//! Puts a seccomp filter into a program that has not run its first instruction yet.
//!
//! The filter stops the program at the calls that are looked at and at no others. A process can only filter itself, so
//! it is made to: at the first stop after its `exec`, an instruction of ours stands where its first one will be.

use std::ffi::c_void;
use std::io;

use nix::libc::{self, user_regs_struct};
use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// `AUDIT_ARCH_X86_64`.
const ARCHITECTURE: u32 = 0xc000_003e;
/// The instruction `syscall`.
const SYSCALL: u64 = 0x050f;
const SYSCALL_MASK: u64 = 0xffff;
/// How far below the stack our data lie: nothing of the program's is there before it runs.
const BELOW_STACK_BYTES: u64 = 4096;

// Classic BPF, as the kernel's `linux/bpf_common.h` numbers it.
const LOAD_WORD: u16 = 0x20;
const JUMP_IF_EQUAL: u16 = 0x15;
const RETURN: u16 = 0x06;
const OFFSET_NUMBER: u32 = 0;
const OFFSET_ARCHITECTURE: u32 = 4;

/// Stops the program at the calls with these numbers from now on. It must stand at its `exec` event.
pub(super) fn install(pid: Pid, numbers: &[i64]) -> io::Result<()> {
    step(pid)?;
    let before = ptrace::getregs(pid)?;
    let text = ptrace::read(pid, address(before.rip))?;
    let patched = (text.cast_unsigned() & !SYSCALL_MASK) | SYSCALL;
    ptrace::write(pid, address(before.rip), patched.cast_signed())?;

    let program = program(numbers);
    let place = (before.rsp - BELOW_STACK_BYTES) & !0xf;
    for (index, word) in program.iter().enumerate() {
        ptrace::write(pid, address(place + 16 + 8 * index as u64), word.cast_signed())?;
    }
    ptrace::write(pid, address(place), libc::c_long::try_from(program.len()).map_err(io::Error::other)?)?;
    ptrace::write(pid, address(place + 8), (place + 16).cast_signed())?;

    call(pid, before, libc::SYS_prctl, [libc::PR_SET_NO_NEW_PRIVS as u64, 1, 0])?;
    call(pid, before, libc::SYS_seccomp, [u64::from(libc::SECCOMP_SET_MODE_FILTER), 0, place])?;

    ptrace::write(pid, address(before.rip), text)?;
    ptrace::setregs(pid, before)?;
    Ok(())
}

/// Makes the program call the system.
fn call(pid: Pid, before: user_regs_struct, number: libc::c_long, arguments: [u64; 3]) -> io::Result<()> {
    let [rdi, rsi, rdx] = arguments;
    let asking =
        user_regs_struct { rax: number.cast_unsigned(), rdi, rsi, rdx, r10: 0, r8: 0, orig_rax: u64::MAX, ..before };
    ptrace::setregs(pid, asking)?;
    step(pid)?;
    step(pid)?;
    match ptrace::getregs(pid)?.rax.cast_signed() {
        0 => Ok(()),
        error => Err(io::Error::from_raw_os_error(i32::try_from(-error).unwrap_or(libc::EINVAL))),
    }
}

/// To the next entry into the system, or the next way out of it.
fn step(pid: Pid) -> io::Result<()> {
    ptrace::syscall(pid, None)?;
    match waitpid(pid, Some(WaitPidFlag::__WALL))? {
        WaitStatus::PtraceSyscall(_) => Ok(()),
        other => Err(io::Error::other(format!("the program did not reach a system call: {other:?}"))),
    }
}

/// The filter's instructions, each as one word of memory.
fn program(numbers: &[i64]) -> Vec<u64> {
    let mut program = vec![
        instruction(LOAD_WORD, 0, 0, OFFSET_ARCHITECTURE),
        instruction(JUMP_IF_EQUAL, 1, 0, ARCHITECTURE),
        instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
        instruction(LOAD_WORD, 0, 0, OFFSET_NUMBER),
    ];
    for number in numbers {
        program.push(instruction(JUMP_IF_EQUAL, 0, 1, *number as u32));
        program.push(instruction(RETURN, 0, 0, libc::SECCOMP_RET_TRACE));
    }
    program.push(instruction(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW));
    program
}

fn instruction(code: u16, if_true: u8, if_false: u8, value: u32) -> u64 {
    u64::from(code) | u64::from(if_true) << 16 | u64::from(if_false) << 24 | u64::from(value) << 32
}

fn address(value: u64) -> *mut c_void {
    std::ptr::without_provenance_mut(usize::try_from(value).unwrap_or_default())
}
