//! How old an image or a snapshot is: what it holds is as old, security fixes and all, so that one beyond its limit is told.

use crate::drivers;
use crate::state::snapshots;
use crate::state::store::{Seat, Store};
use contract::machines::Machine;
use jiff::Timestamp;

/// Whole days since an instant; an instant to come is no age.
pub fn days(since: Timestamp, now: Timestamp) -> u64 {
    u64::try_from((now.as_second() - since.as_second()) / 86_400).unwrap_or(0)
}

/// Age of a snapshot, from its record.
pub fn of_snapshot(created: &str) -> Option<u64> {
    Some(days(created.parse().ok()?, Timestamp::now()))
}

/// What is to be said about an age: nothing as long as it is within the limit of the machine.
pub fn told(what: &str, age_days: u64, machine: &Machine) -> Option<String> {
    let limit = machine.old_after_days;
    (limit > 0 && age_days > u64::from(limit))
        .then(|| format!("{what} is {age_days} days old: make it anew (limit: {limit})"))
}

/// The same for what an instance starts from.
pub fn of_start(store: &Store, seat: &Seat) -> Option<String> {
    let machine = &seat.instance.machine;
    let driver = drivers::find(&machine.driver).ok()?;
    match &seat.instance.snapshot {
        Some(name) => {
            let snapshot = snapshots::find(store, &machine.name, name).ok()?;
            told(
                &format!("snapshot \"{name}\" of machine \"{}\"", machine.name),
                of_snapshot(&snapshot.created)?,
                machine,
            )
        }
        None => {
            let age = days(driver.image_made(seat)?, Timestamp::now());
            told(&format!("the image of machine \"{}\"", machine.name), age, machine)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_beyond_its_limit_is_told() {
        let at = |text: &str| text.parse::<Timestamp>().expect("an instant");
        let now = at("2026-04-11T00:00:00Z");
        assert_eq!(days(at("2026-01-01T00:00:01Z"), now), 99);
        assert_eq!(days(at("2027-01-01T00:00:00Z"), now), 0);
        let seat = crate::state::store::example(r#"{"name": "m"}"#);
        let mut machine = seat.instance.machine;
        assert_eq!(told("it", 90, &machine), None);
        assert_eq!(told("it", 91, &machine).as_deref(), Some("it is 91 days old: make it anew (limit: 90)"));
        machine.old_after_days = 0;
        assert_eq!(told("it", 5000, &machine), None);
    }
}
