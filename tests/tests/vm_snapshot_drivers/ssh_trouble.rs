//! Each way in which a machine cannot be reached by ssh, with real sshds and networks of their own: what it says, what it
//! advises, whether it tries again (exit 75 after its patience) or not (exit 69 at once).

use crate::lab::{Lab, Service, missing};
use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Two network namespaces: `vm-snapshot` runs in the one, 10.9.0.1; sshd in the other, 10.9.0.2, where
/// `port` 22 lets the key in, 23 has another key of its own, 24 wants a password.
struct Net {
    lab: Lab,
    name: String,
}

impl Drop for Net {
    fn drop(&mut self) {
        for side in ["a", "b"] {
            let _ = Command::new("ip").args(["netns", "del", &format!("{}{side}", self.name)]).status();
        }
    }
}

impl Net {
    fn new(test: &str, machines: &str) -> Option<Net> {
        if missing(test, &["sshd", "ssh", "ssh-keygen", "ip"]) {
            return None;
        }
        let machine = |more: &str| {
            format!(
                r#"{{"driver":"ssh","known_hosts":"known","identity":"key","user":"root","patience_s":1,"options":["ConnectTimeout=8"],{more}}}"#
            )
        };
        let machines: Vec<String> = machines.lines().map(|line| machine(line.trim())).collect();
        let lab = Lab::new(&machines.join(","));
        let name = format!("vms-{test}-{}", std::process::id());
        let script = format!(
            "ip netns add {name}a; ip netns add {name}b
             ip link add va netns {name}a type veth peer name vb netns {name}b
             ip -n {name}a addr add 10.9.0.1/24 dev va; ip -n {name}b addr add 10.9.0.2/24 dev vb
             for side in a:va b:vb; do ip -n {name}${{side%:*}} link set lo up; ip -n {name}${{side%:*}} link set ${{side#*:}} up; done
             # nobody is there, and nobody says so; and somebody says so
             ip -n {name}a neigh add 10.9.0.9 lladdr 02:00:00:00:00:09 dev va nud permanent
             ip -n {name}a route add unreachable 10.9.0.8
             for k in key other host changed; do ssh-keygen -q -t ed25519 -N '' -f $k; done
             cp key loose; chmod 644 loose; echo nonsense > broken; chmod 600 broken; mkdir -p /run/sshd
             for p in 22 23 24 27 28 29; do
                 if [ $p = 22 ]; then n=10.9.0.2; else n=\"[10.9.0.2]:$p\"; fi; echo \"$n $(cut -d' ' -f1,2 host.pub)\"
             done > known"
        );
        tests::sh_ok(&script, &lab.path());
        Some(Net { lab, name })
    }

    fn spawn(&mut self, side: &str, command: &str) {
        let child = Command::new("ip")
            .args(["netns", "exec", &format!("{}{side}", self.name), "sh", "-c", command])
            .current_dir(self.lab.path())
            .stdin(Stdio::null())
            .spawn()
            .expect("ip runs");
        self.lab.services.push(Service(child));
    }

    fn sshd(&mut self, port: u16, key: &str, more: &str) {
        let sshd = format!(
            "exec /usr/sbin/sshd -D -e -f /dev/null -p {port} -h \"$PWD/{key}\" -o AuthorizedKeysFile=\"$PWD/key.pub\" \
             -o StrictModes=no -o PidFile=none -o UsePAM=no {more} 2>>sshd.log"
        );
        self.spawn("b", &sshd);
    }

    fn run(&self, args: &[&str]) -> Output {
        let side = format!("{}a", self.name);
        let mut command = tests::command("ip", &self.lab.path());
        command.args(["netns", "exec", &side]).arg(tests::program("vm-snapshot")).args(args);
        command.output().expect("vm-snapshot runs")
    }

    /// Must fail with this exit code and say all that.
    fn told(&self, machine: &str, code: i32, texts: &[&str]) {
        let begun = Instant::now();
        let output = self.run(&["open", machine]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{machine}: {said}");
        for text in texts.iter().chain(&["  hint: ", &format!("cannot open machine \"{machine}\"")]) {
            assert!(said.contains(text), "{machine}: no \"{text}\" in {said}");
        }
        assert_eq!(said.contains("  tried: "), code == 75, "{machine}: {said}");
        assert!(begun.elapsed() < Duration::from_secs(40), "{machine} takes {:?}", begun.elapsed());
        let left = std::fs::read_dir(self.lab.path().join("state/instances")).expect("instances").count();
        assert_eq!(left, 0, "{machine} leaves an instance");
    }
}

#[test]
fn each_way_to_fail_is_told_apart() {
    let machines = r#""name":"far","host":"10.9.0.2"
        "name":"name","host":"no-such-host.invalid"
        "name":"unknown","host":"10.9.0.2","known_hosts":"/dev/null"
        "name":"changed","host":"10.9.0.2","port":23
        "name":"password","host":"10.9.0.2","port":24
        "name":"locked","host":"10.9.0.2","identity":"other"
        "name":"nokey","host":"10.9.0.2","identity":"no-such-key"
        "name":"brokenkey","host":"10.9.0.2","identity":"broken"
        "name":"loosekey","host":"10.9.0.2","identity":"loose"
        "name":"option","host":"10.9.0.2","options":["NoSuchOption=1"]
        "name":"wrong","host":"10.9.0.2","machine_id":"0123456789abcdef0123456789abcdef"
        "name":"noroute","host":"10.9.0.8"
        "name":"unreachable","host":"10.10.0.2"
        "name":"refused","host":"10.9.0.2","port":26
        "name":"silent","host":"10.9.0.9","options":["ConnectTimeout=1"]
        "name":"mute","host":"10.9.0.2","port":27,"options":["ConnectTimeout=1"]
        "name":"rude","host":"10.9.0.2","port":28"#;
    let Some(mut net) = Net::new("told", machines) else { return };
    net.sshd(22, "host", "-o PasswordAuthentication=no");
    net.sshd(23, "changed", "");
    net.sshd(24, "host", "-o PubkeyAuthentication=no -o PasswordAuthentication=yes");
    let listen = "import socket, time, sys; s = socket.create_server(('10.9.0.2', int(sys.argv[1]))); c = []\n\
                  while True:\n    k = s.accept()[0]; c.append(k) if sys.argv[1] == '27' else k.close()";
    for port in ["27", "28"] {
        net.spawn("b", &format!("exec python3 -c \"{listen}\" {port}"));
    }
    let until = Instant::now() + Duration::from_secs(20);
    while !net.run(&["create", "far"]).status.success() {
        assert!(Instant::now() < until, "sshd does not come up");
        std::thread::sleep(Duration::from_millis(100));
    }
    // without a name server this is no answer, and with one it is "no"
    let name = net.run(&["open", "name"]);
    let said = String::from_utf8_lossy(&name.stderr).into_owned();
    assert!(said.contains("Could not resolve hostname") && said.contains("  hint: "), "{said}");
    assert!(matches!(name.status.code(), Some(69 | 75)), "{said}");
    for (machine, texts) in [
        ("unknown", ["the key of 10.9.0.2 is not known", "check the key"]),
        ("changed", ["has another key than the one that is known", "ssh-keygen -R 10.9.0.2"]),
        ("password", ["Permission denied (password", "no password is asked for"]),
        ("locked", ["Permission denied (publickey", "put your public key on the machine"]),
        ("nokey", ["not accessible", "must name a file with a private key, relative"]),
        ("brokenkey", ["Load key", "needs no passphrase"]),
        ("loosekey", ["others can read the private key", "chmod 600"]),
        ("option", ["Bad configuration option", "see the setting \"options\""]),
        ("wrong", ["another machine answers there", "wanted: 0123456789abcdef0123456789abcdef"]),
    ] {
        net.told(machine, 69, &texts);
    }
    for (machine, texts) in [
        ("noroute", ["No route to host", "nobody has that address"]),
        ("unreachable", ["Network is unreachable", "host-only network"]),
        ("refused", ["Connection refused", "is sshd running there"]),
        ("silent", ["timed out", "is the machine up?"]),
        ("mute", ["during banner exchange", "does not greet as sshd does"]),
        ("rude", ["kex_exchange_identification", "sshd there ends connections"]),
    ] {
        net.told(machine, 75, &texts);
    }
}

#[test]
fn a_machine_that_comes_up_late_is_waited_for() {
    let Some(mut net) = Net::new("late", r#""name":"far","host":"10.9.0.2","patience_s":30"#) else {
        return;
    };
    let begun = Instant::now();
    net.spawn(
        "b",
        "sleep 2; exec /usr/sbin/sshd -D -e -f /dev/null -h \"$PWD/host\" -o AuthorizedKeysFile=\"$PWD/key.pub\" \
         -o StrictModes=no -o PidFile=none -o UsePAM=no 2>>sshd.log",
    );
    let output = net.run(&["-v", "create", "far"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert!(begun.elapsed() > Duration::from_secs(2));
}

/// Runs a command that prints a line and then nothing, does something to the machine, and gives what exec makes of it:
/// exit code, stderr and how long that took.
fn in_mid_command(net: &Net, accident: &str) -> (Option<i32>, String, Duration) {
    let until = Instant::now() + Duration::from_secs(20);
    let id = loop {
        let opened = net.run(&["open", "far", "--owner", &std::process::id().to_string()]);
        if let Ok(testbed) = serde_json::from_slice::<serde_json::Value>(&opened.stdout) {
            break testbed["id"].as_str().expect("an id").to_owned();
        }
        assert!(Instant::now() < until, "{}", String::from_utf8_lossy(&opened.stderr));
        std::thread::sleep(Duration::from_millis(100));
    };
    // an exit code that ssh has, too, is the command's own while the machine answers
    assert_eq!(net.run(&["exec", &id, "--", "sh", "-c", "exit 255"]).status.code(), Some(255));
    let mut child = tests::command("ip", &net.lab.path())
        .args(["netns", "exec", &format!("{}a", net.name)])
        .arg(tests::program("vm-snapshot"))
        .args(["exec", &id, "--", "sh", "-c", "echo started; exec sleep 60"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("exec");
    let mut started = [0; 8];
    child.stdout.as_mut().expect("stdout").read_exact(&mut started).expect("it starts");
    let begun = Instant::now();
    tests::sh_ok(accident, &net.lab.path());
    let output = child.wait_with_output().expect("it ends");
    let took = begun.elapsed();
    assert!(net.run(&["close", &id]).status.success());
    // it could not be reached any more
    let _ = std::fs::remove_dir_all(std::env::temp_dir().join(format!("vm-snapshot-{id}")));
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned(), took)
}

#[test]
fn a_machine_that_ends_in_mid_command_is_trouble_and_no_exit_code() {
    let Some(mut net) = Net::new("ends", r#""name":"far","host":"10.9.0.2""#) else { return };
    net.sshd(22, "host", "");
    // all of the network's own processes: it is switched off
    let accident = format!("ip netns pids {}b | xargs kill -9", net.name);
    let (code, said, took) = in_mid_command(&net, &accident);
    assert_eq!(code, Some(75), "{said}");
    // or it was just then going down
    let told = [("Connection refused", "is sshd running there"), ("Connection ", "or goes down")];
    assert!(told.iter().any(|(what, hint)| said.contains(what) && said.contains(hint)), "{said}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_machine_that_falls_silent_in_mid_command_is_given_up_in_time() {
    let machine = r#""name":"far","host":"10.9.0.2","silence_s":4"#;
    let Some(mut net) = Net::new("hangs", machine) else { return };
    net.sshd(22, "host", "");
    let accident = format!("ip -n {}b link set vb down", net.name);
    let (code, said, took) = in_mid_command(&net, &accident);
    assert_eq!(code, Some(75), "{said}");
    // how soon the kernel gives up an address that does not answer depends on it
    let told = ["timed out", "No route to host"].iter().any(|text| said.contains(text));
    assert!(told && said.contains("is the machine up"), "{said}");
    assert!(took > Duration::from_secs(3) && took < Duration::from_secs(30), "{took:?}");
}
