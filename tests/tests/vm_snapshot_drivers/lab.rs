//! A directory with a machines document and a state of its own, and what a test starts for it.

use serde_json::Value;
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
}

impl Lab {
    pub fn new(machine: &str) -> Lab {
        let dir = tempfile::Builder::new().prefix("vms").tempdir().expect("a directory");
        let document = format!(r#"{{"kind":"machines","v":1,"state_dir":"state","machines":[{machine}]}}"#);
        std::fs::write(dir.path().join("machines.json"), document).expect("machines");
        Lab { services: Vec::new(), dir, env: Vec::new() }
    }

    pub fn path(&self) -> PathBuf {
        self.dir.path().canonicalize().expect("it is there")
    }

    pub fn run(&self, args: &[&str]) -> Output {
        let mut command = tests::command(tests::program("vm-snapshot"), &self.path());
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command.args(args).output().expect("vm-snapshot runs")
    }

    pub fn open(&self, args: &[&str]) -> Value {
        let mut all = vec!["open"];
        all.extend(args);
        let output = self.run(&all);
        assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("a testbed")
    }

    pub fn selftest(&self, machine: &str, at_least: usize) {
        let output = self.run(&["selftest", machine]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let failed: Vec<&str> = text.lines().filter(|line| !line.contains("\"ok\":true")).collect();
        assert_eq!(failed, [""; 0], "{}", String::from_utf8_lossy(&output.stderr));
        assert!(text.lines().count() >= at_least, "{text}{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// A root tree of a few programs of the host and their libraries, for images without a download.
pub const SMALL_TREE: &str = r#"
mkdir -p tree/usr/bin tree/etc tree/tmp tree/root tree/home/racket tree/proc tree/sys tree/dev; chmod 1777 tree/tmp; ln -s usr/bin tree/bin
for p in dash sh env id chown mkdir cat grep getent sed head tr ls sleep setsid tar mktemp cp dirname rm cut date seq cmp true false touch sort; do
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
