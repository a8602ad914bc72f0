//! What is asked of the engine: on its socket where that is plain ([`Api`]), through its client elsewhere.

use super::api::{Answer, Api};
use super::plan::{container, texts};
use crate::drivers::setting;
use crate::state::store::Seat;
use edge::{Exit, Failure, Result};
use serde_json::Value;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};

/// The client program.
pub(super) fn program(seat: &Seat) -> &str {
    setting(seat, "engine").unwrap_or("docker")
}

/// What the engine calls an image.
pub(super) fn image_id(seat: &Seat, image: &str) -> Result<String> {
    let what = format!("find image \"{image}\"");
    match Api::of(program(seat)).map(|api| api.get(&format!("images/{image}/json"))) {
        Some(Ok(Answer::Done(shown))) if shown["Id"].is_string() => {
            Ok(shown["Id"].as_str().unwrap_or_default().to_owned())
        }
        Some(Ok(Answer::Refused(why))) => Err(explain(&what, program(seat), &why)),
        _ => must(seat, &what, &texts(&["image", "inspect", "--format={{.Id}}", image])),
    }
}

/// Whether it is plain that the engine can limit no disk: its layers are not on the file system that has quotas for them.
pub(super) fn has_no_quota(seat: &Seat, image: &str) -> bool {
    const XFS: i64 = 0x5846_5342;
    let Some(Ok(Answer::Done(shown))) =
        Api::of(program(seat)).map(|api| api.get(&format!("images/{image}/json")))
    else {
        return false;
    };
    let driver = &shown["GraphDriver"];
    let on = driver["Data"]["UpperDir"].as_str().and_then(|dir| rustix::fs::statfs(dir).ok());
    driver["Name"] == "overlay2" && on.is_some_and(|on| on.f_type != XFS)
}

/// Starts the container and waits until its process 1 says who the user is and where at home.
pub(super) fn begin(seat: &Seat, what: &str) -> Result<(String, String)> {
    let name = container(seat);
    let started = Api::of(program(seat)).and_then(|api| {
        // before it is started, so that nothing is missed
        let said = api.attach(&name).ok()?;
        Some((api.ask("POST", &format!("containers/{name}/start")).ok()?, said))
    });
    let (said, complaint) = match started {
        Some((Answer::Done(_), said)) => (said.line(), String::new()),
        Some((Answer::Refused(why), _)) => (String::new(), why),
        None => begin_by_client(seat, what)?,
    };
    let mut words = said.trim_end().splitn(3, ' ');
    match (words.next(), words.next(), words.next()) {
        (Some("up"), Some(user), home) => Ok((user.to_owned(), home.unwrap_or("/").to_owned())),
        _ if complaint.is_empty() => {
            Err(Failure::try_again(format!("cannot {what}: its image cannot run sh")))
        }
        _ => Err(explain(what, program(seat), &complaint)),
    }
}

/// The first line of process 1, and what the client complains of.
fn begin_by_client(seat: &Seat, what: &str) -> Result<(String, String)> {
    let cannot = |error: std::io::Error| Failure::try_again(format!("cannot {what}: {error}"));
    let mut child = Command::new(program(seat))
        .args(["start", "--attach", &container(seat)])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    let mut said = String::new();
    if let Some(stdout) = child.stdout.take() {
        let _ = BufReader::new(stdout.take(4096)).read_line(&mut said);
    }
    // the client is no longer needed; the container stays
    let _ = child.kill();
    let output = child.wait_with_output().map_err(cannot)?;
    Ok((said, String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}

/// What the engine shows of the container; `sized`: with the size of what was written. None: it is not there.
pub(super) fn shown(seat: &Seat, sized: bool) -> Option<Value> {
    let name = container(seat);
    let size = u8::from(sized);
    if let Some(Ok(answer)) =
        Api::of(program(seat)).map(|api| api.get(&format!("containers/{name}/json?size={size}")))
    {
        return match answer {
            Answer::Done(shown) => Some(shown),
            Answer::Refused(_) => None,
        };
    }
    let args: &[&str] = if sized { &["inspect", "--size", &name] } else { &["inspect", &name] };
    let output = run(seat, &texts(args)).ok().filter(|output| output.status.success())?;
    serde_json::from_slice::<Value>(&output.stdout).ok()?.get_mut(0).map(Value::take)
}

/// Removes the container, or only kills it where it is to be there again. False: it may still be there.
pub(super) fn put_away(seat: &Seat, keep: bool) -> bool {
    let name = container(seat);
    let (method, path, args): (_, _, &[&str]) = if keep {
        ("POST", format!("containers/{name}/kill"), &["kill", &name])
    } else {
        ("DELETE", format!("containers/{name}?force=1&v=1"), &["rm", "--force", "--volumes", &name])
    };
    match Api::of(program(seat)).map(|api| api.ask(method, &path)) {
        Some(Ok(answer)) => matches!(answer, Answer::Done(_)),
        _ => run(seat, &texts(args)).is_ok_and(|output| output.status.success()),
    }
}

pub(super) fn run(seat: &Seat, args: &[String]) -> std::io::Result<Output> {
    Command::new(program(seat)).args(args).stdin(Stdio::null()).output()
}

/// Runs the engine; what it says on stderr is the cause of a failure, sorted by what a person can do.
pub(super) fn must(seat: &Seat, what: &str, args: &[String]) -> Result<String> {
    let engine = program(seat);
    let output = run(seat, args).map_err(|error| {
        Failure::unavailable(format!("cannot {what}: cannot run \"{engine}\": {error}"))
            .hint("install docker.io or podman, or name the program with the setting \"engine\"")
    })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(explain(what, engine, said.trim()))
}

fn explain(what: &str, engine: &str, said: &str) -> Failure {
    let has = |text: &str| said.contains(text);
    let cause = said.lines().next_back().unwrap_or_default();
    let failure = |exit| Failure::new(exit, format!("cannot {what}: {cause}"));
    if has("Cannot connect to the Docker daemon") || has("permission denied while trying to connect") {
        failure(Exit::Unavailable)
            .hint(format!("start the {engine} service, or join the group that may use its socket"))
    } else if has("No such image")
        || has("Unable to find image")
        || has("image not known")
        || has("pull access denied")
    {
        failure(Exit::Unavailable)
            .hint(format!("\"{engine} import FILE.tar NAME\" makes an image of a root tree"))
    } else {
        failure(Exit::TryAgain)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn troubles_are_told_apart() {
        let daemon =
            explain("open", "docker", "Cannot connect to the Docker daemon at unix:///x. Is it running?");
        assert_eq!(daemon.exit, Exit::Unavailable);
        assert!(daemon.hint.is_some_and(|hint| hint.contains("service")));
        assert_eq!(explain("open", "docker", "Error: No such image: nix").exit, Exit::Unavailable);
        assert_eq!(
            explain("open", "docker", "Error response from daemon: no space left").exit,
            Exit::TryAgain
        );
    }
}
