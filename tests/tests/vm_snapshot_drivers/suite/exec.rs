//! exec and shell: arguments, streams, exit codes, and what happens to a command that nobody waits for.

use super::{Pace, Suite};
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

impl Suite<'_> {
    /// argv arrives word by word, byte by byte.
    pub(super) fn arguments(&self, id: &str) {
        let long = "x".repeat(20_000);
        let texts = [
            "",
            " ",
            "a b",
            "*",
            "$HOME",
            "`id`",
            "$(id)",
            "'",
            "'\"\\",
            "-x",
            "--",
            "--env",
            "é",
            "a\tb",
            "two\nlines",
            "\n",
            "ends with\n",
            "%s%%\\n",
            ";",
            "&",
            "|",
            "#",
            "~",
            "!",
            "{a,b}",
            &long,
        ];
        let bytes: [&[u8]; 3] = [b"\xff", b"a\xfe\xc3\n\xff'\\1", b""];
        let words: Vec<&OsStr> =
            texts.into_iter().map(OsStr::new).chain(bytes.map(OsStr::from_bytes)).collect();
        let mut argv: Vec<&OsStr> =
            ["sh", "-c", r#"for a do printf '%s\0' "$a"; done"#, "sh"].map(OsStr::new).to_vec();
        argv.extend(&words);
        let output = self.exec(id, &[], &argv, b"");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let got: Vec<&[u8]> = output.stdout.split(|byte| *byte == 0).collect();
        let expected: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).chain([&b""[..]]).collect();
        for (got, expected) in got.iter().zip(&expected) {
            assert_eq!(
                String::from_utf8_lossy(got).escape_debug().to_string(),
                String::from_utf8_lossy(expected).escape_debug().to_string()
            );
        }
        assert!(got == expected, "{}: {} words of {}", self.machine, got.len(), expected.len());
    }

    /// stdin, stdout and stderr are apart and pass every byte.
    pub(super) fn streams(&self, id: &str) {
        let output = self.sh(id, "printf out; printf err >&2; printf OUT; printf ERR >&2");
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"outOUT"[..], &b"errERR"[..]));
        let count: u32 = if self.pace == Pace::Native { 3_000_000 } else { 300_000 };
        let bytes: Vec<u8> = (0..count).map(|n| (n.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
        let output = self.exec(id, &[], &["cat"], &bytes);
        assert!(output.stdout == bytes, "{}: {} bytes of {}", self.machine, output.stdout.len(), bytes.len());
        let output = self.exec(id, &[], &["sh", "-c", "cat >&2"], &bytes);
        assert!(output.stderr == bytes, "{}: {} bytes on stderr", self.machine, output.stderr.len());
        assert_eq!(output.stdout, b"");
        // it reads a part only, and what is late arrives
        let script = "head -c 5; sleep 0.3; printf late; printf late >&2";
        let output = self.exec(id, &[], &["sh", "-c", script], b"hello, world");
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"hellolate"[..], &b"late"[..]));
        // stdin stays open: a command that does not read it ends all the same, as does one whose stdin is closed
        let mut child = self.lab.command(&["exec", id, "true"]).stdin(Stdio::piped()).spawn().expect("exec");
        let held = child.stdin.take();
        self.ends(&mut child, 20, "a command that reads nothing");
        drop(held);
        assert_eq!(self.exec(id, &[], &["sh", "-c", "cat; echo end"], b"").stdout, b"end\n");
        // both streams at once, more than a pipe holds
        let script = "i=0; while [ $i -lt 4000 ]; do echo 1234567890123456789012345678901234567890; \
                      echo abcdefghijabcdefghijabcdefghijabcdefghij >&2; i=$((i+1)); done";
        let output = self.sh(id, script);
        assert_eq!((output.stdout.len(), output.stderr.len()), (4000 * 41, 4000 * 41));
    }

    /// One stream for both keeps the order of what was printed.
    pub(super) fn order(&self, id: &str) {
        let script = "i=0; while [ $i -lt 300 ]; do echo o$i; echo e$i >&2; i=$((i+1)); done; exit 3";
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let mut command = self.lab.command(&["exec", id, "--", "sh", "-c", script]);
        let both = writer.try_clone().expect("a pipe");
        let mut child = command.stdin(Stdio::null()).stdout(both).stderr(writer).spawn().expect("exec");
        drop(command);
        let mut said = String::new();
        reader.read_to_string(&mut said).expect("it prints");
        assert_eq!(child.wait().expect("it ends").code(), Some(3));
        let expected: String = (0..300).map(|i| format!("o{i}\ne{i}\n")).collect();
        assert!(said == expected, "{}: {said}", self.machine);
    }

    /// A reader that comes late finds all that was printed, however much of it is then still under way: with docker's own
    /// client one of these sizes loses its end.
    pub(super) fn late_readers(&self, id: &str) {
        if self.pace == Pace::Emulated {
            return;
        }
        let read = |size: usize| {
            let script = format!("head -c {size} /dev/zero; echo end >&2; exit 7");
            let mut command = self.lab.command(&["exec", id, "--", "sh", "-c", &script]);
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let child = command.spawn().expect("exec");
            std::thread::sleep(Duration::from_secs(5));
            let output = child.wait_with_output().expect("it ends");
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            (output.stdout.len(), said, output.status.code())
        };
        std::thread::scope(|scope| {
            let read = &read;
            let start = |n| (n, scope.spawn(move || read(n)));
            let reads: Vec<_> = (0..14).map(|n| start(1_400_000 + n * 10_000)).collect();
            for (size, seen) in reads {
                let seen = seen.join().expect("it is read");
                assert_eq!(seen, (size, "end\n".to_owned(), Some(7)), "{}", self.machine);
            }
        });
    }

    pub(super) fn exit_codes(&self, id: &str) {
        let code = |argv: &[&str]| self.exec(id, &[], argv, b"").status.code();
        let few: &[i32] = if self.pace == Pace::Native { &[1, 75, 125, 126, 127, 255] } else { &[1, 255] };
        for expected in few {
            assert_eq!(code(&["sh", "-c", &format!("exit {expected}")]), Some(*expected), "{}", self.machine);
        }
        for (signal, expected) in [("KILL", 137), ("TERM", 143), ("HUP", 129)] {
            assert_eq!(code(&["sh", "-c", &format!("kill -{signal} $$")]), Some(expected), "{signal}");
        }
        assert_eq!(code(&["no-such-program"]), Some(127));
        assert_eq!(code(&["-not-an-option"]), Some(127));
        assert_eq!(code(&["/etc/passwd"]), Some(126));
        assert_eq!(code(&["/no/such/program"]), Some(127));
        assert_eq!(self.exec(id, &["--cwd", "/no/such"], &["true"], b"").status.code(), Some(126));
    }

    /// Its own environment and nothing of the caller's; the directory it was told.
    pub(super) fn environment(&self, id: &str) {
        let mut exec = self.lab.command(&["exec", id, "--env", "A=b c", "--env", "B=x=$y\n", "--", "env"]);
        let output = exec.env("SECRET_TOKEN", "s3cret").stdin(Stdio::null()).output().expect("env");
        let said = format!("\n{}", String::from_utf8_lossy(&output.stdout));
        assert!(said.contains("\nA=b c\n") && said.contains("\nB=x=$y\n\n"), "{said}");
        assert!(said.contains("HOME=/") && said.contains("PATH=/"), "{said}");
        assert!(!said.contains("s3cret"), "{said}");
        assert_eq!(self.said(id, "mkdir -p 'a b'"), "");
        let there = format!("{}/a b", self.said(id, "pwd").trim_end());
        let output =
            self.exec(id, &["--cwd", &there], &["sh", "-c", "pwd; cd ..; rmdir 'a b' || rm -r 'a b'"], b"");
        assert_eq!(String::from_utf8_lossy(&output.stdout), format!("{there}\n"));
        if self.can("root") {
            assert_eq!(self.exec(id, &["--user", "root"], &["id", "-u"], b"").stdout, b"0\n");
        } else {
            self.refused(&["exec", id, "--user", "root", "--", "id"], 69, "user");
        }
        assert!(!self.exec(id, &["--user", "nobody-of-that-name"], &["id"], b"").status.success());
    }

    /// Endless output ends with its reader, endless commands with their exec: all that they started, too.
    pub(super) fn endings(&self, id: &str) {
        let endless = "while :; do echo y; done";
        let argv = ["exec", id, "--", "sh", "-c", endless, &self.tag("print")];
        let mut child =
            self.lab.command(&argv).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("exec");
        let mut two = [0; 4];
        child.stdout.take().expect("stdout").read_exact(&mut two).expect("it prints");
        assert_eq!(&two, b"y\ny\n");
        self.ends(&mut child, 20, "a command that nobody reads");
        self.until(20, "what nobody reads goes on inside", || self.inside(id, "print").is_empty());

        for signal in ["-KILL", "-TERM", "-INT"] {
            let tag = self.tag("stay");
            let script = format!(
                "trap '' TERM INT HUP; sh -c 'trap \"\" TERM INT HUP; while :; do sleep 0.1; done' {tag} & \
                 setsid sh -c 'trap \"\" TERM INT HUP; while :; do sleep 0.1; done' {tag} & echo up; wait"
            );
            let mut child = self
                .lab
                .command(&["exec", id, "--", "sh", "-c", &script, &tag])
                .stdin(Stdio::null())
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .expect("exec");
            child.stdout.take().expect("stdout").read_exact(&mut [0; 3]).expect("it is up");
            self.until(20, "it is not there", || self.inside(id, "stay").len() >= 3);
            tests::sh_ok(&format!("kill {signal} {}", child.id()), &self.lab.path());
            self.ends(&mut child, 20, "a command that was killed");
            self.until(20, &format!("after {signal} it goes on inside"), || {
                self.inside(id, "stay").is_empty()
            });
            if self.pace == Pace::Emulated {
                break;
            }
        }
        // what a command leaves in the background ends with it
        let script = format!(
            "setsid sh -c 'while :; do sleep 0.1; done' {} >/dev/null 2>&1 & echo up",
            self.tag("left")
        );
        assert_eq!(self.sh(id, &script).stdout, b"up\n");
        self.until(20, "the background goes on", || self.inside(id, "left").is_empty());
    }

    /// Processes with the tag: inside, and on the host, where a sandbox hides them from its other commands.
    fn inside(&self, id: &str, name: &str) -> Vec<String> {
        // the brackets keep the search from finding itself
        let (first, rest) = self.own();
        let script = format!("grep -ls 'TAG-{name}-[{first}]{rest}' /proc/[0-9]*/cmdline; :");
        let inside: Vec<String> = self.said(id, &script).lines().map(str::to_owned).collect();
        inside.into_iter().chain(self.lab.processes(&[&self.tag(name)]).iter().map(u32::to_string)).collect()
    }

    /// Waits for a process of the host.
    pub(super) fn ends(&self, child: &mut Child, seconds: u64, what: &str) {
        let until = Instant::now() + Duration::from_secs(seconds);
        while matches!(child.try_wait(), Ok(None)) {
            if Instant::now() > until {
                let _ = child.kill();
                panic!("{}: {what} does not end within {seconds} s", self.machine);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// A real terminal, in the right directory, and its exit status.
    pub(super) fn shell(&self, id: &str) {
        self.refused(&["exec", "--tty", id, "true"], 2, "stdin is not one");
        if !tests::require("shell", &["script"]) {
            return;
        }
        let wait = if self.pace == Pace::Native { 1 } else { 6 };
        let work_dir = self.said(id, "pwd");
        // an interrupt key ends the command and not the shell
        let keys = format!(
            "sleep {wait}; printf 'cd . && pwd; test -t 0 && test -t 1 && test -t 2 && echo terminal-$((40+2)); \
             stty size 2>/dev/null || echo 33 77\\n'; \
             sleep {wait}; printf 'sleep 100\\n'; sleep {wait}; printf '\\003'; sleep {wait}; \
             printf 'echo after-$((1+1)); exit 5\\n'; sleep {wait}"
        );
        let script = format!(
            "({keys}) | timeout 120 script -qefc 'stty rows 33 cols 77; vm-snapshot shell {id}' /dev/null"
        );
        let mut shell = tests::command("sh", &self.lab.path());
        self.lab.dress(&mut shell);
        let output = shell.arg("-c").arg(script).output().expect("sh runs");
        let said = String::from_utf8_lossy(&output.stdout);
        for text in [&format!("\n{}\r", work_dir.trim_end()), "terminal-42", "33 77", "after-2"] {
            assert!(said.contains(text), "{}: {text:?} is not in {said}", self.machine);
        }
        assert_eq!(output.status.code(), Some(5), "{said}");
    }

    /// Marks a process so that it can be found by its command line, also on a host that others use.
    fn tag(&self, name: &str) -> String {
        let (first, rest) = self.own();
        format!("TAG-{name}-{first}{rest}")
    }

    fn own(&self) -> (char, String) {
        let path = self.lab.path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let mut chars = name.chars();
        (chars.next().expect("a letter"), chars.collect())
    }
}
