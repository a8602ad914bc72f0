//! What ssh says when it cannot connect, told as a person can act on it. One row for each way to fail.

use edge::{Exit, Failure};

/// Why a machine could not be reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// `TryAgain` when it may pass by itself, as while a machine boots; else `Unavailable`.
    pub exit: Exit,
    pub cause: String,
    pub hint: String,
}

const ENDS: &str = "sshd there ends connections, or goes down: its log says why (MaxStartups, an address that is not allowed, a full disk)";

/// What ssh says, whether it passes by itself, what it means (empty: as ssh says it), what to do. HOST is replaced. The
/// first row that is found counts: ssh often says more than one thing.
const TROUBLES: [(&str, Exit, &str, &str); 24] = [
    (
        "Temporary failure in name resolution",
        Exit::TryAgain,
        "",
        "the name server does not answer: does this host have a network?",
    ),
    (
        "Could not resolve hostname",
        Exit::Unavailable,
        "",
        "the setting \"host\" must be a name that this host can look up, or an address",
    ),
    (
        "REMOTE HOST IDENTIFICATION HAS CHANGED",
        Exit::Unavailable,
        "HOST has another key than the one that is known: it may be another machine",
        "if the machine was made anew: take its old key out of the file of known keys (ssh-keygen -R HOST) and put in the new one; else see the setting \"host\"",
    ),
    (
        "Host key verification failed",
        Exit::Unavailable,
        "the key of HOST is not known, and nobody is there to be asked about it",
        "connect once by hand (ssh HOST) and check the key, or name a file with it in the setting \"known_hosts\"",
    ),
    (
        "bad permissions",
        Exit::Unavailable,
        "others can read the private key, so that ssh does not use it",
        "take the rights from the others: chmod 600 and the file that the setting \"identity\" names",
    ),
    (
        "not accessible",
        Exit::Unavailable,
        "",
        "the setting \"identity\" must name a file with a private key, relative to the document",
    ),
    (
        "Load key",
        Exit::Unavailable,
        "",
        "the setting \"identity\" must name a file with a private key that needs no passphrase, or one that ssh-agent holds",
    ),
    (
        // a machine that boots lets root in first
        "not permitted to log in yet",
        Exit::TryAgain,
        "the machine does not let anybody in yet",
        "does it come to an end with booting?",
    ),
    (
        "Permission denied",
        Exit::Unavailable,
        "",
        "no password is asked for: put your public key on the machine (ssh-copy-id HOST), name its private key in the setting \"identity\", and see the setting \"user\"",
    ),
    (
        "Too many authentication failures",
        Exit::Unavailable,
        "",
        "ssh offers more keys than the machine wants to see: name the right one in the setting \"identity\"",
    ),
    (
        "Unable to negotiate",
        Exit::Unavailable,
        "",
        "this ssh and the sshd there have no method in common: see the setting \"options\"",
    ),
    ("Bad configuration option", Exit::Unavailable, "", "see the setting \"options\" and ssh_config(5)"),
    (
        "Bad owner or permissions",
        Exit::Unavailable,
        "",
        "ssh does not read a configuration that others can write",
    ),
    ("too long for Unix domain socket", Exit::Unavailable, "", "set TMPDIR to a directory with a short name"),
    (
        "Network is unreachable",
        Exit::TryAgain,
        "",
        "this host has no way to that network: is the host-only network up?",
    ),
    (
        "No route to host",
        Exit::TryAgain,
        "",
        "nobody has that address: is the machine up, and the setting \"host\" right?",
    ),
    ("Connection refused", Exit::TryAgain, "", "is sshd running there, and the setting \"port\" right?"),
    (
        "during banner exchange",
        Exit::TryAgain,
        "",
        "something listens there that does not greet as sshd does: see the settings \"host\" and \"port\"",
    ),
    (
        "not responding",
        Exit::TryAgain,
        "HOST fell silent",
        "the machine hangs, or its network went away; the setting \"silence_s\" says how long to wait for it",
    ),
    ("timed out", Exit::TryAgain, "", "nothing answers at that address: is the machine up?"),
    // which of these is a race between what sshd sends and what it did not read
    ("Connection reset", Exit::TryAgain, "", ENDS),
    ("Connection closed", Exit::TryAgain, "", ENDS),
    ("closed by remote host", Exit::TryAgain, "", ENDS),
    ("Broken pipe", Exit::TryAgain, "", ENDS),
];

impl Trouble {
    /// From all that ssh said.
    pub fn of(host: &str, said: &str) -> Trouble {
        let last = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no answer").trim();
        let Some((text, exit, meaning, hint)) = TROUBLES.iter().find(|(text, ..)| said.contains(text)) else {
            return Trouble {
                exit: Exit::TryAgain,
                cause: plain(last),
                hint: "connect by hand to see more".to_owned(),
            };
        };
        let cause = if meaning.is_empty() {
            plain(said.lines().rfind(|line| line.contains(text)).unwrap_or(last))
        } else {
            meaning.replace("HOST", host)
        };
        Trouble { exit: *exit, cause, hint: hint.replace("HOST", host) }
    }

    /// `action` begins the message: `cannot open machine "m"`.
    pub fn failure(self, action: &str, host: &str) -> Failure {
        Failure::new(self.exit, format!("{action}: {}", self.cause)).detail("host", host).hint(self.hint)
    }
}

/// A line of ssh without what is the same in all.
fn plain(line: &str) -> String {
    let line = line.trim().trim_end_matches('.');
    line.strip_prefix("ssh: ").unwrap_or(line).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_fail_has_its_own_advice() {
        let permanent = [
            "ssh: Could not resolve hostname x: Name or service not known",
            "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\nHost key verification failed.",
            "Host key verification failed.",
            "Warning: Identity file k not accessible: No such file or directory.\nracket@x: Permission denied (publickey).",
            "Load key \"k\": invalid format\nracket@x: Permission denied (publickey).",
            "Load key \"k\": bad permissions\nracket@x: Permission denied (publickey).",
            "racket@x: Permission denied (publickey,password).",
        ];
        let passing = [
            "ssh: Could not resolve hostname x: Temporary failure in name resolution",
            "ssh: connect to host 10.0.0.1 port 22: No route to host",
            "ssh: connect to host x port 22: Network is unreachable",
            "ssh: connect to host x port 22: Connection refused",
            "ssh: connect to host x port 22: Connection timed out",
            "Connection timed out during banner exchange\nConnection to x port 22 timed out",
            "kex_exchange_identification: read: Connection reset by peer",
            "\"System is booting up. Unprivileged users are not permitted to log in yet.\"\nConnection closed by x",
        ];
        let of = |said: &&str| Trouble::of("x", said);
        let all: Vec<Trouble> = permanent.iter().chain(&passing).map(of).collect();
        let hints: std::collections::BTreeSet<&str> =
            all.iter().map(|trouble| trouble.hint.as_str()).collect();
        assert_eq!(hints.len(), permanent.len() + passing.len());
        assert!(permanent.iter().map(of).all(|trouble| trouble.exit == Exit::Unavailable));
        assert!(passing.iter().map(of).all(|trouble| trouble.exit == Exit::TryAgain));
    }

    #[test]
    fn a_connection_that_is_ended_is_one_trouble_however_it_ends() {
        for said in [
            "kex_exchange_identification: read: Connection reset by peer",
            "kex_exchange_identification: write: Connection reset by peer",
            "kex_exchange_identification: Connection closed by remote host",
            "kex_exchange_identification: write: Broken pipe",
            "Connection closed by 10.0.0.1 port 22",
            "Connection to 10.0.0.1 closed by remote host.",
            "client_loop: send disconnect: Broken pipe",
        ] {
            let trouble = Trouble::of("x", said);
            assert_eq!((trouble.exit, trouble.hint.as_str()), (Exit::TryAgain, ENDS), "{said}");
        }
    }

    #[test]
    fn the_message_says_what_ssh_said_or_what_it_means() {
        let cause = |said: &str| Trouble::of("10.0.0.1", said).cause;
        assert_eq!(
            cause("ssh: connect to host 10.0.0.1 port 22: No route to host\n"),
            "connect to host 10.0.0.1 port 22: No route to host"
        );
        assert_eq!(cause("Timeout, server 10.0.0.1 not responding."), "10.0.0.1 fell silent");
        assert_eq!(
            cause("mkdir: cannot create directory: No space left on device\n"),
            "mkdir: cannot create directory: No space left on device"
        );
        assert_eq!(cause(""), "no answer");
    }
}
