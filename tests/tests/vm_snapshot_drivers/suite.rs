//! What every machine does, whatever it is made of.

use crate::lab::Lab;
use std::time::{Duration, Instant};

impl Lab {
    /// What is the same for all machines: exit codes, an owner that dies, closing twice.
    pub fn behaves(&self, machine: &str) {
        let testbed = self.open(&[machine]);
        let id = testbed["id"].as_str().expect("an id");
        let code = |args: &[&str]| {
            let mut all = vec!["exec", id];
            all.extend(args);
            self.run(&all).status.code()
        };
        assert_eq!(code(&["--", "sh", "-c", "exit 41"]), Some(41));
        assert_eq!(code(&["--", "sh", "-c", "kill -9 $$"]), Some(137));
        assert_eq!(code(&["--", "no-such-program"]), Some(127));
        assert_eq!(code(&["--cwd", "/no/such", "--", "true"]), Some(126));
        assert_eq!(
            code(&["--env", "A=b c", "--", "sh", "-c", "[ \"$A\" = 'b c' ] && [ -z \"$SECRET\" ]"]),
            Some(0)
        );
        let usage = self.run(&["status", id]);
        assert!(String::from_utf8_lossy(&usage.stdout).contains("\"alive\": true"));
        for _ in 0..2 {
            assert!(self.run(&["close", id]).status.success());
        }
        assert_eq!(code(&["true"]), Some(69));
        let script = format!("\"$0\" open {machine} >/dev/null; sleep 0.2");
        let mut shell = tests::command("sh", &self.path());
        shell.envs(self.env.iter().map(|(key, value)| (key, value)));
        let status =
            shell.arg("-c").arg(script).arg(tests::program("vm-snapshot")).status().expect("sh runs");
        assert!(status.success());
        let until = Instant::now() + Duration::from_secs(10);
        let instances = self.path().join("state/instances");
        while std::fs::read_dir(&instances).expect("instances").count() > 0 {
            assert!(Instant::now() < until, "an instance outlives its owner");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}
