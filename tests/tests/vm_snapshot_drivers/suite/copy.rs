//! copy-in and copy-out.

use super::{Pace, Suite};

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
}
