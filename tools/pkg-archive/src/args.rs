use edge::{Manners, Result};

/// archive the packages of a catalog: zips, catalog, manifest and make rules
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
