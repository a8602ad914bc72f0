//! Roles that this program plays for itself. They run before anything else, in a process with one thread, because the
//! system calls they need (user namespaces, fork) ask for that.

use std::ffi::OsString;
use std::process::ExitCode;

/// The exit code of an internal role, if the command line asks for one.
pub fn role() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    let name = args.next()?;
    let name = name.to_str().filter(|name| name.starts_with("internal-"))?;
    edge::say::set_program("vm-snapshot");
    crate::process::close_inherited();
    match name {
        "internal-keep" => {
            let args: Vec<OsString> = args.collect();
            match (args.first().and_then(|a| a.to_str()), args.get(1).and_then(|a| a.to_str())) {
                (Some(state), Some(id)) => Some(crate::instance::keeper::role(state, id)),
                _ => Some(ExitCode::from(2)),
            }
        }
        "internal-enter" => Some(crate::drivers::sandbox::enter_role(args.collect())),
        "internal-freeze" => Some(crate::drivers::sandbox::freeze_role(&args.collect::<Vec<OsString>>())),
        "internal-guard" => Some(crate::drivers::guest::role(args.collect())),
        "internal-jail" => Some(crate::drivers::uml::jail_role(&args.collect::<Vec<OsString>>())),
        "internal-line" => Some(crate::drivers::uml::line_role(&args.collect::<Vec<OsString>>())),
        "internal-talk" => Some(crate::drivers::vm::agent::role(args.collect())),
        "internal-local" => Some(crate::drivers::local::role(args.collect())),
        _ => None,
    }
}
