use crate::args::{Command, Config};
use crate::instance::{exec, open, standing};
use crate::state::{machines, snapshots};
use edge::{Done, Result, out, say};

pub fn run(config: Config) -> Result<Done> {
    let store = machines::store(&config)?;
    let load = || machines::load(&config.machines);
    match config.command {
        Command::Open { machine, open: options } => open::open(&store, &load()?, &machine, &options)?,
        Command::Start { machine, open: options } => standing::start(&store, &load()?, &machine, &options)?,
        Command::Stop { machine } => standing::stop(&store, &machine)?,
        Command::Restore { machine, snapshot } => standing::restore(&store, &load()?, &machine, &snapshot)?,
        Command::Delete { machine, snapshot } => {
            standing::delete(&store, load().ok().as_ref(), &machine, snapshot.as_deref())?;
        }
        Command::Exec { id, exec: options, argv } => return exec::exec(&store, &id, &options, argv),
        Command::Shell { id, exec: options } => return exec::shell(&store, &id, &options),
        Command::Status { id } => out::json_document(&exec::usage(&store, &id)?)?,
        Command::Close { id } => {
            for id in id {
                open::close(&store, &id)?;
            }
        }
        Command::Take { id, snapshot, replace } => {
            out::json_document(&open::take(&store, &id, &snapshot, replace)?)?;
        }
        Command::Create { machine } => standing::create(&store, &load()?, &machine)?,
        Command::List { machine: Some(machine), tree: true } => {
            let instances = crate::state::list::standing(&store, &machine);
            out::bytes(
                snapshots::tree(&snapshots::of_machine(&store, load().ok().as_ref(), &machine)?, &instances)
                    .as_bytes(),
            )?;
        }
        Command::List { machine, tree: _ } => crate::state::list::list(&store, load, machine.as_deref())?,
        Command::CopyIn { id, from, to } => crate::instance::copy::copy_in(&store, &id, &from, &to)?,
        Command::CopyOut { id, from, to } => crate::instance::copy::copy_out(&store, &id, &from, &to)?,
        Command::Prune => {
            for id in store.sweep() {
                say::info(format!("removed what was left of \"{id}\""));
            }
        }
        Command::Selftest { machine, open: options } => {
            return crate::selftest::selftest(&store, &load()?, &machine, &options);
        }
    }
    Ok(Done::All)
}
