use crate::{Failure, Result};
use clap::Parser;
use clap::error::ErrorKind;
use std::io::IsTerminal;

/// Parses the command line. Help and version are printed and end the program (exit 0); anything wrong is a
/// usage failure (exit 2) with clap's advice as the hint.
pub fn parse_args<A: Parser>() -> Result<A> {
    parse_args_from(std::env::args_os().collect())
}

/// [`parse_args`] for arguments that a program has looked at first; the program's name comes first.
pub fn parse_args_from<A: Parser>(arguments: Vec<std::ffi::OsString>) -> Result<A> {
    A::try_parse_from(arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let _ = error.print();
            std::process::exit(0)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = error.print();
            std::process::exit(2)
        }
        _ => {
            let text = error.render().to_string();
            let text = text.strip_prefix("error: ").unwrap_or(&text);
            let (message, rest) = text.split_once("\n\n").unwrap_or((text, ""));
            let tip = rest.lines().find_map(|line| line.trim().strip_prefix("tip: "));
            let mut failure = Failure::usage(message.split_whitespace().collect::<Vec<_>>().join(" "));
            if let Some(tip) = tip {
                failure = failure.hint(tip);
            }
            if let Some(usage) = rest.lines().find_map(|line| line.strip_prefix("Usage: ")) {
                failure = failure.detail("usage", usage);
            }
            failure
        }
    })
}

/// For a program about to read stdin: on a terminal nothing would come, so this says what was expected.
pub fn refuse_terminal_stdin(expected: &str) -> Result<()> {
    if std::io::stdin().is_terminal() {
        return Err(Failure::usage(format!("expected {expected} on stdin, but stdin is a terminal"))
            .hint(format!("pipe it in or name a file; see {} --help", crate::say::program())));
    }
    Ok(())
}
