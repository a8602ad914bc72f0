use edge::{Manners, Result};

/// copy package catalogs: URL, directory, SQLite or package lines to one catalog
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
