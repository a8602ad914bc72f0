use edge::{Manners, Result};

/// select and edit package catalog entries, as a filter or in place
#[derive(clap::Parser, Debug)]
#[command(version)]
struct Args {
    #[command(flatten)]
    manners: Manners,
}

#[derive(Debug)]
pub struct Config {}

pub fn parse() -> Result<(Config, Manners)> {
    let args: Args = edge::parse_args()?;
    Ok((Config {}, args.manners))
}
