//! What lets us in over SSH, from the environment: for `sftp:` and `rsync:`.

use destinations::SshAccess;

use crate::environment;
use crate::failure::Failure;
use crate::password::{of_variables, words_of_variable};

/// One set for all servers that are named by their address. Asked for only where it is needed: a password may come from
/// a program that asks somebody.
pub(crate) fn let_in(access: &mut SshAccess) -> Result<(), Failure> {
    access.password = of_variables(environment::SSH_PASSWORD)?;
    access.key_file = environment::path(environment::SSH_KEY);
    access.key_passphrase = of_variables(environment::SSH_KEY_PASSPHRASE)?;
    access.known_hosts = environment::path(environment::SSH_KNOWN_HOSTS);
    access.host_fingerprint = environment::text(environment::SSH_FINGERPRINT);
    access.ssh_program = words_of_variable(environment::SSH_PROGRAM)?;
    access.sftp_command = words_of_variable(environment::SFTP_COMMAND)?;
    Ok(())
}

/// Who we are at every server, as ssh itself has it: the name, the home with keys and known hosts, the agent. No secret
/// of it ever leaves this machine.
pub(crate) fn be_this_user(access: &mut SshAccess) {
    access.username = uzers::get_current_username().map(|name| name.to_string_lossy().into_owned());
    access.home = environment::path(environment::HOME);
    access.agent_socket = environment::path(environment::SSH_AGENT);
}
