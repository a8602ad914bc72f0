//! copy-in and copy-out.

use super::{Pace, Suite};
use std::io::Write;
use std::process::Child;
use std::time::{Duration, Instant};

/// Most that a process of vm-snapshot may ever have in memory while it copies.
const MOST_KB: u64 = 100 * 1024;

impl Suite<'_> {
    /// Trees, links, odd names, modes, and a large file: 64 MB, `DOWNSTREAM_COPY_MB` says how much else.
    pub(super) fn copies(&self, id: &str) {
        let asked = std::env::var("DOWNSTREAM_COPY_MB").ok().and_then(|size| size.parse::<u64>().ok());
        let size_mb = match self.pace {
            Pace::Native => asked.unwrap_or(64),
            Pace::Emulated => 8,
        };
        let path = self.lab.path();
        tests::sh_ok(
            &format!(
                "rm -rf d back; mkdir -p d/e/empty; head -c 1000000 /dev/urandom > d/one
                 for i in $(seq {size_mb}); do cat d/one; done > d/big; ln -s big d/link; ln -s /no/such d/dangling
                 echo x > 'd/e/a b'; printf 'new\\nline' > 'd/e/x
y'; printf '#!/bin/sh\\necho ran' > d/program; chmod 755 d/program; : > d/none; echo y > d/.hidden"
            ),
            &path,
        );
        let work_dir = self.said(id, "pwd");
        let work_dir = work_dir.trim_end();
        let inside = format!("{work_dir}/copied");
        self.ok(&["copy-in", id, "d", &inside]);
        assert_eq!(
            self.said(id, "copied/program; cat copied/link | head -c 0; ls -A copied/e | head -n 1"),
            "ran\na b\n"
        );
        self.ok(&["copy-out", id, &inside, "back"]);
        tests::sh_ok(
            "diff -r --no-dereference d back && test -L back/dangling && test -x back/program && rm -r back",
            &path,
        );
        // over what is there: into it, as cp does; and one file
        self.ok(&["copy-in", id, "machines.json", &inside]);
        self.ok(&["copy-out", id, &format!("{inside}/machines.json"), "again"]);
        tests::sh_ok("cmp again machines.json && rm again", &path);
        self.ok(&["copy-in", id, "machines.json", &format!("{work_dir}/deep/er/")]);
        self.ok(&["copy-out", id, &format!("{work_dir}/deep/er/machines.json"), "."]);
        // what is not there is told, and nothing half done stays
        self.refused(&["copy-out", id, &format!("{inside}/no-such"), "x"], 1, "cannot copy");
        self.refused(&["copy-in", id, "no-such", &inside], 1, "cannot copy");
        assert!(!path.join("x").exists());
        let scratch = std::fs::read_dir(&path).expect("the lab").flatten().map(|entry| entry.file_name());
        assert!(!scratch.into_iter().any(|name| name.to_string_lossy().starts_with(".copy-")));
        self.said(id, "rm -rf copied deep");
        tests::sh_ok("rm -rf d", &path);
    }

    /// A gigabyte in which no two blocks are the same, in and out again: whole, and with little memory.
    pub(super) fn gigabyte(&self) {
        let path = self.lab.path();
        let mut file = std::fs::File::create(path.join("giga")).expect("a file");
        let mut block: Vec<u8> =
            (0..1_048_576_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 23) as u8).collect();
        for n in 0..1024_u64 {
            block[..8].copy_from_slice(&n.to_le_bytes());
            file.write_all(&block).expect("room on the disk");
        }
        drop(file);
        let sum = tests::sh_ok("cksum < giga", &path);
        let id = self.open(&[]);
        let inside = format!("{}/giga", self.said(&id, "pwd").trim_end());
        let begun = Instant::now();
        let in_kb = self.peak_kb(&id, &["copy-in", &id, "giga", &inside]);
        let in_s = begun.elapsed().as_secs_f64();
        assert_eq!(self.said(&id, "cksum < giga"), sum, "{}: copy-in", self.machine);
        std::fs::remove_file(path.join("giga")).expect("it is there");
        let begun = Instant::now();
        let out_kb = self.peak_kb(&id, &["copy-out", &id, &inside, "giga"]);
        let out_s = begun.elapsed().as_secs_f64();
        assert_eq!(tests::sh_ok("cksum < giga", &path), sum, "{}: copy-out", self.machine);
        self.close(&id);
        std::fs::remove_file(path.join("giga")).expect("it is there");
        eprintln!(
            "{}: 1 GiB in {in_s:.1} s with {in_kb} KiB, out {out_s:.1} s with {out_kb} KiB",
            self.machine
        );
        assert!(in_kb > 0 && out_kb > 0 && in_kb.max(out_kb) < MOST_KB, "{in_kb} KiB in, {out_kb} KiB out");
        assert!(in_s.max(out_s) < 600.0, "{in_s} s in, {out_s} s out");
    }

    /// Runs vm-snapshot and gives the most that one of its processes had in memory.
    fn peak_kb(&self, id: &str, args: &[&str]) -> u64 {
        let mut child: Child = self.lab.command(args).spawn().expect("vm-snapshot runs");
        let mut peak_kb = 0;
        loop {
            for pid in self.lab.processes(&[id, "vm-snapshot"]) {
                let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
                let is_ours = status.starts_with("Name:\tvm-snapshot\n");
                let high = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
                let high_kb = high.and_then(|text| text.split_whitespace().next()?.parse().ok()).unwrap_or(0);
                peak_kb = if is_ours { high_kb.max(peak_kb) } else { peak_kb };
            }
            if let Some(status) = child.try_wait().expect("it runs") {
                assert!(status.success(), "vm-snapshot {args:?}: {status}");
                return peak_kb;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}
