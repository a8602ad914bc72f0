use edge::{Manners, Result};

/// serve installer sites and catalogs over HTTP
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
