use std::fmt;

/// Exit status of every program of the suite (see downstream(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done. A package that fails to build is a verdict, so this too.
    Ok = 0,
    /// Done, but the answer is no or some items failed, each told in the output.
    No = 1,
    /// Wrong usage.
    Usage = 2,
    /// Bad input data; the message gives the position.
    Data = 65,
    /// Something needed is not there: a program, a server, a machine, a snapshot.
    Unavailable = 69,
    /// Our bug.
    Software = 70,
    /// Cannot write the output.
    CantCreate = 73,
    /// Trouble outside the package; trying again may help.
    TryAgain = 75,
}

pub type Result<T> = std::result::Result<T, Failure>;

/// One failed action, told once: what was being done, details, and what a person can do about it.
///
/// The message is lower case, action first, subject quoted, no final stop:
/// `cannot read catalog "https://…": connection refused`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    pub exit: Exit,
    pub message: String,
    /// `key: value` lines below the message, in order.
    pub details: Vec<(String, String)>,
    pub hint: Option<String>,
    closed_pipe: bool,
}

impl Failure {
    pub fn new(exit: Exit, message: impl Into<String>) -> Failure {
        Failure { exit, message: message.into(), details: Vec::new(), hint: None, closed_pipe: false }
    }
    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, message)
    }
    pub fn data(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Data, message)
    }
    pub fn unavailable(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Unavailable, message)
    }
    pub fn cant_create(message: impl Into<String>) -> Failure {
        Failure::new(Exit::CantCreate, message)
    }
    pub fn try_again(message: impl Into<String>) -> Failure {
        Failure::new(Exit::TryAgain, message)
    }
    pub fn bug(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Software, message)
    }
    /// The reader of stdout went away: no error for a program in a pipeline.
    pub fn closed_pipe() -> Failure {
        Failure { closed_pipe: true, ..Failure::new(Exit::CantCreate, "cannot write to stdout: closed pipe") }
    }
    pub fn is_closed_pipe(&self) -> bool {
        self.closed_pipe
    }
    #[must_use]
    pub fn detail(mut self, key: impl Into<String>, value: impl fmt::Display) -> Failure {
        self.details.push((key.into(), value.to_string()));
        self
    }
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Puts the action in front of an error of another library.
pub trait Context<T> {
    /// `read(path).context(Exit::Data, || format!("cannot read {path:?}"))` gives `cannot read "…": cause`.
    fn context(self, exit: Exit, action: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: fmt::Display> Context<T> for std::result::Result<T, E> {
    fn context(self, exit: Exit, action: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|error| Failure::new(exit, format!("{}: {error}", action())))
    }
}
