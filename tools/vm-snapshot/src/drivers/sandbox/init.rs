//! Carries out a plan: the keeper's side, and `init`, process 1 of the sandbox, which holds its namespaces.

use super::cgroup::Groups;
use super::disk::{self, Disk, Keeping};
use super::host::Host;
use super::plan::{self, Plan, Step};
use super::watch::{Counters, Watch};
use super::{Note, skin};
use crate::drivers::{Running, Tick};
use crate::instance::owner::Owner;
use crate::process::{Fork, UnshareFlags, fork, unshare};
use crate::state::store::Seat;
use edge::{Exit, Failure, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountFlags, MountPropagationFlags, UnmountFlags};
use rustix::process::{Pid, Signal, WaitOptions};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How often to look at a disk.
const DISK_EVERY: Duration = Duration::from_millis(250);

/// Makes the sandbox; runs in the keeper.
pub fn start(seat: &Seat) -> Result<Running> {
    let host = Host::look(seat);
    let trouble = |what: &str, error: io::Error| {
        Failure::try_again(format!("cannot open machine \"{}\": {what}: {error}", seat.instance.machine.name))
    };
    let disk = Disk::prepare(seat, &host).map_err(|error| trouble("disk", error))?;
    let skins = seat.dir.ancestors().nth(2).unwrap_or(&seat.dir).join("skins");
    // the skin depends on the plan, and the plan only on where the skin is
    let items = plan::plan(seat, &host, Path::new(""), &disk.dir).skin;
    let skin = skin::directory(&skins, &items, &host).map_err(|error| trouble("skin", error))?;
    let plan = plan::plan(seat, &host, &skin, &disk.dir);
    let root = seat.dir.join("root");
    fs::create_dir_all(&root).map_err(|error| trouble("directories", error))?;
    let groups = Groups::make(seat);
    let watch = Watch::needed(seat, &groups, disk.keeping);
    let isolated = isolate(&plan, &host);
    let begun = isolated.and_then(|()| spawn_init(&plan, &disk, &root, &watch));
    let (pid, wire) = match begun {
        Ok(begun) => begun,
        Err(error) => {
            groups.remove();
            return Err(explain(seat, &host, &error));
        }
    };
    let note = Note {
        init: Owner::of(pid.as_raw_nonzero().get()).ok_or_else(|| Failure::try_again("cannot find init"))?,
        user_map: plan.user_map.is_some(),
        own_network: plan.own_network,
        disk: disk.dir.clone(),
        disk_keeping: disk.keeping,
        watched: watch.limits.clone(),
        groups: groups.clone(),
    };
    let tick = match disk.keeping {
        Keeping::None => None,
        _ => {
            Some(watch_disk(seat, &disk, pid, wire.try_clone().map_err(|error| trouble("lifeline", error))?))
        }
    };
    let end = move || {
        // the lifeline of init was held until here
        let _wire = wire;
        let _ = rustix::process::kill_process(pid, Signal::KILL);
        let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
        groups.remove();
    };
    Ok(Running {
        watch: note.init.watch(),
        tick,
        note: serde_json::to_value(&note).map_err(|error| Failure::bug(error.to_string()))?,
        end: Box::new(end),
    })
}

/// Notes when the disk is full; where the kernel does not keep the limit, everything inside is killed then.
fn watch_disk(seat: &Seat, disk: &Disk, init: Pid, mut orders: io::PipeWriter) -> Tick {
    let (upper, full) = (disk.dir.join("upper"), seat.dir.join("disk-full"));
    let limit = seat.instance.machine.disk_mb << 20;
    let root = PathBuf::from(format!("/proc/{}/root", init.as_raw_nonzero()));
    let watched = disk.keeping == Keeping::Watched;
    let action = move || {
        if watched {
            let (over, next) = disk::look(&upper, limit);
            if over {
                let _ = fs::write(&full, "");
                let _ = orders.write_all(b"k");
            }
            return next;
        }
        if disk::used_of_file_system(&root).is_some_and(|(_, full)| full) {
            let _ = fs::write(&full, "");
        }
        DISK_EVERY
    };
    Tick { every: DISK_EVERY, action: Box::new(action) }
}

/// What to say when the kernel refuses: which step, and what a person can do.
fn explain(seat: &Seat, host: &Host, error: &io::Error) -> Failure {
    let failure = Failure::new(
        Exit::Unavailable,
        format!("cannot open machine \"{}\": {error}", seat.instance.machine.name),
    );
    if host.is_root {
        failure
            .hint("in a container, the sandbox needs the capability sys_admin and a state directory that is not on overlayfs (--state-dir)")
    } else {
        failure.hint("an ordinary user needs user namespaces: see /proc/sys/user/max_user_namespaces and, on Ubuntu, kernel.apparmor_restrict_unprivileged_userns; root needs nothing")
    }
}

fn make_dirs(plan: &Plan, disk: &Path) -> io::Result<()> {
    // a work directory serves one mount
    crate::state::store::remove_tree(&disk.join("work"));
    for part in &plan.parts {
        for kind in ["upper", "work"] {
            let dir = disk.join(kind).join(&part.name);
            if !dir.exists() {
                fs::create_dir_all(&dir)?;
                fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
            }
        }
    }
    Ok(())
}

/// Moves the keeper's future children into a process namespace of their own; for an ordinary user in a user namespace.
fn isolate(plan: &Plan, host: &Host) -> io::Result<()> {
    let Some((inside, outside)) = plan.user_map else {
        return unshare(UnshareFlags::NEWPID).map_err(step("process namespace"));
    };
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWPID).map_err(step("user namespace"))?;
    fs::write("/proc/self/uid_map", format!("{inside} {outside} 1")).map_err(step("user numbers"))?;
    fs::write("/proc/self/setgroups", "deny").map_err(step("groups"))?;
    fs::write("/proc/self/gid_map", format!("{inside} {} 1", host.gid)).map_err(step("group numbers"))
}

/// Starts process 1 and waits until the sandbox is ready. The pipe given back is its lifeline, and takes orders.
fn spawn_init(plan: &Plan, disk: &Disk, root: &Path, watch: &Watch) -> io::Result<(Pid, io::PipeWriter)> {
    let (mut ready, say) = io::pipe()?;
    let (lifeline, wire) = io::pipe()?;
    match fork()? {
        Fork::Child => {
            drop((ready, wire));
            init(plan, disk, root, watch, say.into(), &lifeline.into());
        }
        Fork::Parent(pid) => {
            drop((say, lifeline));
            let mut said = String::new();
            let _ = ready.read_to_string(&mut said);
            if said == "ready" {
                return Ok((pid, wire));
            }
            let _ = rustix::process::waitpid(Some(pid), WaitOptions::empty());
            Err(io::Error::other(if said.is_empty() { "init died".to_owned() } else { said }))
        }
    }
}

/// Process 1 of the sandbox. A byte on the lifeline is the order to kill everybody else.
fn init(plan: &Plan, disk: &Disk, root: &Path, watch: &Watch, say: OwnedFd, lifeline: &OwnedFd) -> ! {
    let mut say = File::from(say);
    let mut counters = Counters::open(watch);
    let made = die_with_parent(lifeline).and_then(|()| enter_new_world(plan, disk, root));
    match made {
        Ok(()) => {
            let _ = say.write_all(b"ready");
            drop(say);
        }
        Err(error) => {
            let _ = say.write_all(error.to_string().as_bytes());
            std::process::exit(1);
        }
    }
    loop {
        // a command whose caller was killed ends up here; that is rare, so now and then is often enough
        while matches!(rustix::process::wait(WaitOptions::NOHANG), Ok(Some(_))) {}
        let nap = counters.look();
        let mut fds = [PollFd::new(lifeline, PollFlags::IN)];
        if matches!(poll(&mut fds, Some(&nap)), Ok(1..)) {
            match rustix::io::read(lifeline, &mut [0; 64]) {
                Ok(1..) => crate::process::kill_everyone_below(),
                _ => std::process::exit(0),
            }
        }
    }
}

/// From now on the kernel kills this process when its parent dies. `lifeline`: read end of a pipe whose only write end
/// the parent holds; it tells that the parent was gone already.
pub fn die_with_parent(lifeline: &OwnedFd) -> io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut fds = [PollFd::from_borrowed_fd(lifeline.as_fd(), PollFlags::IN)];
    if poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0 {
        std::process::exit(1);
    }
    Ok(())
}

fn enter_new_world(plan: &Plan, disk: &Disk, root: &Path) -> io::Result<()> {
    let null = File::options().read(true).write(true).open("/dev/null")?;
    rustix::stdio::dup2_stdin(&null)?;
    let mut namespaces = UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    if plan.own_network {
        namespaces |= UnshareFlags::NEWNET;
    }
    unshare(namespaces).map_err(step("namespaces"))?;
    rustix::mount::mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
        .map_err(|error| step("private mounts")(error.into()))?;
    disk.mount().map_err(step("disk image"))?;
    make_dirs(plan, &disk.dir).map_err(step("directories"))?;
    rustix::process::umask(rustix::fs::Mode::empty());
    for one in &plan.steps {
        carry_out(one, root).map_err(|error| step(&format!("{one:?}"))(error))?;
    }
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    change_root(root).map_err(step("new root"))?;
    rustix::system::sethostname(plan::HOSTNAME.as_bytes())?;
    if plan.own_network {
        super::network::loopback_up().map_err(step("loopback"))?;
    }
    let _ = rustix::thread::set_name(c"sandbox-init");
    Ok(())
}

/// Makes a mount the root; what was there before is gone.
pub fn change_root(root: &Path) -> io::Result<()> {
    rustix::process::chdir(root)?;
    rustix::process::pivot_root(".", ".")?;
    rustix::mount::unmount(".", UnmountFlags::DETACH)?;
    Ok(rustix::process::chdir("/")?)
}

fn step(name: &str) -> impl Fn(io::Error) -> io::Error {
    let name = name.to_owned();
    move |error| io::Error::new(error.kind(), format!("{name}: {error}"))
}

/// Carries out one step in making a file system below `root`.
pub fn carry_out(step: &Step, root: &Path) -> io::Result<()> {
    match step {
        Step::Overlay { at, lower, upper, work, options } => {
            // a snapshot may lack a part that the host has got since; upper and skin are always there
            let lower: Vec<String> =
                lower.iter().filter(|dir| dir.is_dir()).map(|dir| plan::escaped(dir)).collect();
            let data = format!(
                "lowerdir={},upperdir={},workdir={},{options}",
                lower.join(":"),
                plan::escaped(upper),
                plan::escaped(work)
            );
            mount("overlay", &root.join(at), "overlay", MountFlags::empty(), &data)
        }
        Step::Tmpfs { at, mode, size_kb } => mount(
            "tmpfs",
            &root.join(at),
            "tmpfs",
            MountFlags::NOSUID,
            &format!("mode={mode:o},size={size_kb}k"),
        ),
        Step::Dir { at, mode } => {
            let path = root.join(at);
            if !path.is_dir() {
                fs::create_dir_all(&path)?;
                fs::set_permissions(&path, fs::Permissions::from_mode(*mode))?;
            }
            Ok(())
        }
        Step::Link { at, to } => std::os::unix::fs::symlink(to, root.join(at)),
        Step::Node { at } => {
            File::create(root.join(at))?;
            Ok(rustix::mount::mount_bind(Path::new("/").join(at), root.join(at))?)
        }
        Step::Bind { from, at, read_only } => {
            let target = root.join(at);
            if rustix::mount::mount_bind(from, &target).is_err() {
                // as an ordinary user a directory with mounts in it can only be had whole
                rustix::mount::mount_bind_recursive(from, &target)?;
            }
            let mut flags = MountFlags::BIND | locked_flags(&target)?;
            if *read_only {
                flags |= MountFlags::RDONLY | MountFlags::NOSUID | MountFlags::NODEV;
            }
            Ok(rustix::mount::mount_remount(&target, flags, "")?)
        }
        Step::DevPts { at } => mount(
            "devpts",
            &root.join(at),
            "devpts",
            MountFlags::NOSUID | MountFlags::NOEXEC,
            "newinstance,ptmxmode=0666,mode=0620",
        ),
        Step::Proc { at } => mount_proc(&root.join(at)),
    }
}

/// Flags of a mount that a remount in a user namespace must not take away.
fn locked_flags(target: &Path) -> io::Result<MountFlags> {
    use rustix::fs::StatVfsMountFlags as Have;
    let have = rustix::fs::statvfs(target)?.f_flag;
    Ok([
        (Have::NOSUID, MountFlags::NOSUID),
        (Have::NODEV, MountFlags::NODEV),
        (Have::NOEXEC, MountFlags::NOEXEC),
        (Have::NOATIME, MountFlags::NOATIME),
        (Have::NODIRATIME, MountFlags::NODIRATIME),
        (Have::RELATIME, MountFlags::RELATIME),
    ]
    .into_iter()
    .filter(|(flag, _)| have.contains(*flag))
    .fold(MountFlags::empty(), |flags, (_, flag)| flags | flag))
}

pub fn mount_proc(at: &Path) -> io::Result<()> {
    mount("proc", at, "proc", MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC, "")
}

fn mount(source: &str, at: &Path, kind: &str, flags: MountFlags, data: &str) -> io::Result<()> {
    let data = CString::new(data)?;
    if data.as_bytes().len() >= 4096 {
        return Err(io::Error::other("too many snapshots below each other, or paths too long"));
    }
    Ok(rustix::mount::mount(source, at, kind, flags, Some(data.as_c_str()))?)
}
