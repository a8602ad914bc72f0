use edge::{Manners, Result};

/// build and test one package, or one cycle of packages, in fresh machines
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
