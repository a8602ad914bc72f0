//! Runs VBoxManage, and tells what goes wrong as a person can act on it.

use super::commands::{self, Words};
use super::info::{self, Info};
use crate::drivers::setting;
use crate::state::store::Seat;
use edge::{Exit, Failure, Result};
use std::process::{Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// VBoxManage, or what the document says instead.
pub struct Manage {
    program: String,
    /// Begins the message of a failure: `cannot open machine "m"`.
    action: String,
}

/// How long a machine that another VBoxManage holds is waited for: a clone or a snapshot of it may be in the making.
const LOCK_PATIENCE: Duration = Duration::from_secs(30);

/// What VBoxManage says, the exit code, what to do. The first row that is found counts; `WARNING` is told on stdout when the
/// kernel module is not loaded, and matters only where a machine is started.
const TROUBLES: [(&str, Exit, &str); 11] = [
    (
        "Could not find a registered machine",
        Exit::Unavailable,
        "VBoxManage list vms tells the machines of this user; the setting \"vm\" names one, and vm-snapshot create makes one of an \"image\"",
    ),
    (
        "Could not find a snapshot",
        Exit::Unavailable,
        "VBoxManage snapshot VM list tells its snapshots; the setting \"init\" names the one of the bare machine",
    ),
    (
        "already locked by a session",
        Exit::TryAgain,
        "another program of VirtualBox has the machine: close its window, or wait until its snapshot is taken",
    ),
    (
        "/dev/vboxdrv does not exist",
        Exit::Unavailable,
        "load the kernel module of VirtualBox (modprobe vboxdrv; Debian: package virtualbox-dkms)",
    ),
    (
        "VERR_VMX_IN_VMX_ROOT_MODE",
        Exit::TryAgain,
        "another hypervisor, as KVM, has the processor: end its machines",
    ),
    ("VERR_SVM_IN_USE", Exit::TryAgain, "another hypervisor, as KVM, has the processor: end its machines"),
    (
        "VERR_VMX_NO_VMX",
        Exit::Unavailable,
        "the processor has no virtualisation, or the firmware switched it off: use driver \"sandbox\", \"docker\" or \"uml\"",
    ),
    (
        "VERR_SVM_NO_SVM",
        Exit::Unavailable,
        "the processor has no virtualisation, or the firmware switched it off: use driver \"sandbox\", \"docker\" or \"uml\"",
    ),
    (
        "VERR_NO_MEMORY",
        Exit::TryAgain,
        "this host has too little memory free: fewer machines at once (\"pool\"), or less \"memory_mb\"",
    ),
    ("VERR_DISK_FULL", Exit::TryAgain, "the disk with the folder of the machine is full"),
    (
        "host networking interface",
        Exit::Unavailable,
        "the host-only network of the machine is gone: VBoxManage hostonlyif create makes one",
    ),
];

impl Manage {
    pub fn of(seat: &Seat, action: &str) -> Manage {
        let program = match setting(seat, "vboxmanage") {
            Some(path) if path.contains('/') => seat.instance.base_dir.join(path).display().to_string(),
            name => name.unwrap_or("VBoxManage").to_owned(),
        };
        Manage { program, action: action.to_owned() }
    }

    /// By the name of the program alone.
    pub fn at(program: &str, action: &str) -> Manage {
        Manage { program: program.to_owned(), action: action.to_owned() }
    }

    pub fn program(&self) -> &str {
        &self.program
    }

    /// stdout of a command that must succeed. One that finds the machine held by another is tried again for a while.
    pub fn run(&self, words: &Words) -> Result<String> {
        let until = Instant::now() + LOCK_PATIENCE;
        let mut nap = Duration::from_millis(50);
        loop {
            let failure = match self.once(words) {
                Ok(said) => return Ok(said),
                Err(failure) => failure,
            };
            let is_locked = failure.message.contains("already locked by a session");
            if !is_locked || Instant::now() > until {
                return Err(failure);
            }
            sleep(nap);
            nap = (nap * 2).min(Duration::from_secs(1));
        }
    }

    fn once(&self, words: &Words) -> Result<String> {
        let output =
            Command::new(&self.program).args(words).stdin(Stdio::null()).output().map_err(|error| {
                Failure::unavailable(format!("{}: cannot run \"{}\": {error}", self.action, self.program))
                    .hint("install VirtualBox, or name its VBoxManage in the setting \"vboxmanage\"")
            })?;
        let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
        let stderr = String::from_utf8_lossy(&output.stderr);
        // some commands fail with status 0
        if output.status.success() && !stderr.contains("VBoxManage: error: ") {
            return Ok(stdout);
        }
        Err(self.explain(words, &stdout, &stderr))
    }

    fn explain(&self, words: &Words, stdout: &str, stderr: &str) -> Failure {
        let errors: Vec<&str> =
            stderr.lines().filter_map(|line| line.strip_prefix("VBoxManage: error: ")).collect();
        let has = |text: &str| {
            let only_when_started = text.starts_with("/dev/");
            stderr.contains(text)
                || (only_when_started
                    && words.first().is_some_and(|word| word == "startvm")
                    && stdout.contains(text))
        };
        let cause = errors.first().copied().unwrap_or("it does not say why");
        let known = TROUBLES.iter().find(|(text, ..)| has(text));
        let (exit, hint) = known.map_or((Exit::TryAgain, None), |(_, exit, hint)| (*exit, Some(*hint)));
        let command = format!("VBoxManage {}", words.join(" "));
        let mut failure = Failure::new(exit, format!("{}: {cause}", self.action)).detail("command", command);
        if errors.is_empty() && !stderr.trim().is_empty() {
            failure = failure.detail("said", stderr.trim());
        }
        for more in errors.iter().skip(1) {
            failure = match more.split_once(": ") {
                Some(("Details", text)) => failure.detail("details", text),
                Some(("Context", _)) => failure,
                _ => failure.detail("and", more),
            };
        }
        match hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    pub fn info(&self, vm: &str) -> Result<Info> {
        let said = self.run(&commands::show(vm))?;
        info::read(&said).ok_or_else(|| {
            Failure::try_again(format!(
                "{}: cannot understand what VBoxManage says about \"{vm}\"",
                self.action
            ))
            .detail("said", said.trim())
        })
    }

    /// Whether a machine of this name is registered.
    pub fn knows(&self, vm: &str) -> Result<bool> {
        let machines = info::machines(&self.run(&commands::list_machines())?);
        Ok(machines.iter().any(|(name, uuid)| name == vm || uuid == vm))
    }

    /// Ends a machine if it runs, and waits until VirtualBox is done with that.
    pub fn power_off(&self, vm: &str) -> Result<()> {
        let until = Instant::now() + LOCK_PATIENCE;
        let mut asked = false;
        while self.info(vm)?.is_up() {
            if !asked {
                match self.run(&commands::power_off(vm)) {
                    Err(failure) if !failure.message.contains("is not currently running") => {
                        return Err(failure);
                    }
                    _ => asked = true,
                }
            } else if Instant::now() > until {
                return Err(Failure::try_again(format!("{}: \"{vm}\" does not end", self.action)));
            } else {
                sleep(Duration::from_millis(100));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn explained(command: &str, stdout: &str, stderr: &str) -> Failure {
        let manage = Manage { program: "VBoxManage".into(), action: "cannot open machine \"m\"".into() };
        manage.explain(&command.split(' ').map(str::to_owned).collect(), stdout, stderr)
    }

    #[test]
    fn what_cannot_pass_is_not_tried_again() {
        let failure = explained(
            "showvminfo x",
            "WARNING: The character device /dev/vboxdrv does not exist.\n",
            "VBoxManage: error: Could not find a registered machine named 'x'\nVBoxManage: error: Details: code VBOX_E_OBJECT_NOT_FOUND (0x80bb0001)\nVBoxManage: error: Context: \"F()\" at line 1\n",
        );
        assert_eq!(failure.exit, Exit::Unavailable);
        assert_eq!(
            failure.message,
            "cannot open machine \"m\": Could not find a registered machine named 'x'"
        );
        assert_eq!(failure.details.len(), 2);
        assert!(failure.hint.unwrap().contains("list vms"));
    }

    #[test]
    fn the_missing_kernel_module_matters_only_where_a_machine_starts() {
        let warning = "WARNING: The character device /dev/vboxdrv does not exist.\nWaiting for VM \"m\" to power on...\n";
        let ended = "VBoxManage: error: The virtual machine 'm' has terminated unexpectedly during startup with exit code 1 (0x1)\n";
        let failure = explained("startvm m", warning, ended);
        assert_eq!(failure.exit, Exit::Unavailable);
        assert!(failure.hint.unwrap().contains("modprobe vboxdrv"));
        assert_eq!(explained("startvm m", "", ended).exit, Exit::TryAgain);
        assert_eq!(explained("modifyvm m", warning, "VBoxManage: error: no\n").hint, None);
    }
}
