//! A directory with a machines document and a state of its own, and what a test starts for it.

use serde_json::Value;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output};
use std::time::{Duration, Instant};

/// Processes that a test started; ended with it.
pub struct Service(pub Child);

impl Drop for Service {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let until = Instant::now() + Duration::from_secs(10);
        while matches!(self.0.try_wait(), Ok(None)) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn missing(test: &str, programs: &[&str]) -> bool {
    let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap_or_default());
    let have = |program: &&&str| !std::env::split_paths(&path).any(|dir| dir.join(program).exists());
    if let Some(program) = programs.iter().find(have) {
        eprintln!("skipped: {test}: {program} is not installed");
        return true;
    }
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !root {
        eprintln!("skipped: {test}: not root");
    }
    !root
}

pub struct Lab {
    // services end before their directory goes
    pub services: Vec<Service>,
    pub dir: tempfile::TempDir,
    pub env: Vec<(&'static str, String)>,
    /// The ordinary user that vm-snapshot runs as; None: whoever runs the test.
    pub user: Option<u32>,
    /// Instances that were opened, whose traces are looked for.
    opened: std::sync::Mutex<Vec<String>>,
    /// A script of the host that prints what else is left.
    pub leftovers: String,
}

impl Lab {
    pub fn new(machine: &str) -> Lab {
        let dir = tempfile::Builder::new().prefix("vms").tempdir().expect("a directory");
        let document = format!(r#"{{"kind":"machines","v":1,"state_dir":"state","machines":[{machine}]}}"#);
        std::fs::write(dir.path().join("machines.json"), document).expect("machines");
        Lab {
            services: Vec::new(),
            dir,
            env: Vec::new(),
            user: None,
            opened: std::sync::Mutex::default(),
            leftovers: String::new(),
        }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().canonicalize().expect("it is there")
    }

    /// vm-snapshot as a test of this lab runs it: the checkout may be out of bounds for an ordinary user.
    pub fn program(&self) -> PathBuf {
        if self.user.is_some() { self.path().join("vm-snapshot") } else { tests::program("vm-snapshot") }
    }

    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = tests::command(self.program(), &self.path());
        self.dress(&mut command);
        command.args(args);
        command
    }

    /// Has a command run with the environment of this lab, as its user.
    pub fn dress(&self, command: &mut Command) {
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        if let Some(user) = self.user {
            command.uid(user).gid(user);
        }
    }

    /// From now on all is done by an ordinary user, to whom the directory belongs.
    pub fn become_user(&mut self, user: u32) {
        std::fs::copy(tests::program("vm-snapshot"), self.path().join("vm-snapshot")).expect("a copy");
        self.user = Some(user);
        tests::sh_ok(&format!("chmod 755 .; chown -R {user}:{user} ."), &self.path());
        let path = format!(
            "{}:{}:/usr/sbin:/sbin",
            self.path().display(),
            std::env::var("PATH").unwrap_or_default()
        );
        self.env.push(("PATH", path));
    }

    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().expect("vm-snapshot runs")
    }

    pub fn open(&self, args: &[&str]) -> Value {
        let mut all = vec!["open"];
        all.extend(args);
        let output = self.run(&all);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        let testbed: Value = serde_json::from_slice(&output.stdout).expect("a testbed");
        self.note(testbed["id"].as_str().expect("an id"));
        testbed
    }

    /// Remembers an instance, so that what is left of it is found.
    pub fn note(&self, id: &str) {
        self.opened.lock().expect("no test panics with it").push(id.to_owned());
    }

    /// Numbers of the processes with all these texts in their command line.
    pub fn processes(&self, texts: &[&str]) -> Vec<u32> {
        running()
            .filter(|(_, line)| texts.iter().all(|text| line.contains(text)))
            .map(|(pid, _)| pid)
            .collect()
    }

    /// What is left of instances: directories, processes, mounts, files for a while, and what `leftovers` prints.
    pub fn left(&self) -> Vec<String> {
        let state = self.path().join("state/instances");
        let entries = |dir: &Path| {
            let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect::<Vec<String>>()
        };
        let ids: Vec<String> = {
            let opened = self.opened.lock().expect("no test panics with it");
            opened.iter().filter(|id| id.contains('-')).cloned().collect()
        };
        let traces = |text: &str| ids.iter().any(|id| text.contains(id.as_str()));
        let mut left: Vec<String> = entries(&state).iter().map(|name| format!("directory {name}")).collect();
        left.extend(
            entries(&std::env::temp_dir())
                .iter()
                .filter(|name| traces(name))
                .map(|name| format!("file {name}")),
        );
        let here = state.display().to_string();
        for (pid, line) in running() {
            let cwd = std::fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
            if line.contains(&here) || traces(&line) || cwd.starts_with(&state) {
                left.push(format!("process {line}"));
            }
        }
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        left.extend(mounts.lines().filter(|line| line.contains(&here)).map(|line| format!("mount {line}")));
        if !self.leftovers.is_empty() {
            let mut shell = tests::command("sh", &self.path());
            self.dress(&mut shell);
            let output = shell.arg("-c").arg(&self.leftovers).output().expect("sh runs");
            left.extend(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned));
        }
        left
    }
}

impl Drop for Lab {
    /// A test that failed leaves no machine behind either.
    fn drop(&mut self) {
        for state in ["state", "twin"] {
            let instances = self.dir.path().join(state).join("instances");
            for entry in std::fs::read_dir(instances).into_iter().flatten().flatten() {
                let name = entry.file_name().to_string_lossy().into_owned();
                let _ = self.run(&["--state-dir", state, "close", &name]);
                let _ = self.run(&["--state-dir", state, "stop", &name]);
            }
        }
    }
}

/// Processes that are alive, with their command lines.
fn running() -> impl Iterator<Item = (u32, String)> {
    std::fs::read_dir("/proc").expect("/proc").flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(entry.path().join("cmdline")).ok()?;
        let is_zombie = std::fs::read_to_string(entry.path().join("stat")).ok()?.contains(") Z ");
        (!is_zombie).then(|| (pid, String::from_utf8_lossy(&line).replace('\0', " ")))
    })
}

/// A root tree of a few programs of the host and their libraries, for images without a download.
pub const SMALL_TREE: &str = r#"
mkdir -p tree/usr/bin tree/etc tree/tmp tree/root tree/home/racket tree/proc tree/sys tree/dev; chmod 1777 tree/tmp; ln -s usr/bin tree/bin
for p in dash sh env id chown mkdir cat grep getent sed head tr ls sleep setsid tar mktemp cp mv dirname rm cut date seq cmp cksum true false touch sort; do
  f=/usr/bin/$p; cp -L $f tree/usr/bin/
  for l in $(ldd $f | grep -o '/[^ ]*'); do mkdir -p tree$(dirname $l); [ -e tree$l ] || cp -L $l tree$l; done
done
printf 'root:x:0:0:root:/root:/bin/sh\nracket:x:4242:4242::/home/racket:/bin/sh\n' > tree/etc/passwd
printf 'root:x:0:\nracket:x:4242:\n' > tree/etc/group; chown 4242:4242 tree/home/racket
"#;

pub fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a port")
        .port()
}

pub fn write_program(path: &Path, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::write(path, text).expect("a program");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).expect("a mode");
}
