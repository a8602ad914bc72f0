//! Keys of prefab structures in the form `write` prints.

use crate::Value;

/// The key as `write` shows it: what can be inferred is left out, `#s((p 1) x)` is `#s(p x)`. `None` if it is no key
/// for this many fields.
pub(crate) fn normal_key(key: Value, fields: usize) -> Option<Value> {
    let items = match key {
        Value::Symbol(_) => return Some(key),
        Value::List(items) if !items.is_empty() => items,
        _ => return None,
    };
    // each level: name, count, (automatic fields, value), vector of mutable fields; the parents follow
    let mut levels: Vec<(Value, Option<usize>, Vec<Value>)> = Vec::new();
    for item in items {
        match item {
            Value::Symbol(_) => levels.push((item, None, Vec::new())),
            Value::Int(count) if count >= 0 => {
                let level = levels.last_mut()?;
                if level.1.is_some() || !level.2.is_empty() {
                    return None;
                }
                level.1 = Some(usize::try_from(count).ok()?);
            }
            Value::List(auto) => {
                let level = levels.last_mut()?;
                let [Value::Int(count), _] = auto.as_slice() else { return None };
                match count {
                    0 => {}
                    1.. if level.2.is_empty() => level.2.push(Value::List(auto)),
                    _ => return None,
                }
            }
            Value::Vector(mut mutable) => {
                if !mutable.iter().all(|index| matches!(index, Value::Int(0..))) {
                    return None;
                }
                mutable.sort_by_key(|index| if let Value::Int(index) = index { *index } else { 0 });
                if !mutable.is_empty() {
                    levels.last_mut()?.2.push(Value::Vector(mutable));
                }
            }
            _ => return None,
        }
    }
    let auto_fields = |level: &(Value, Option<usize>, Vec<Value>)| match level.2.first() {
        Some(Value::List(auto)) => match auto.first() {
            Some(Value::Int(count)) => usize::try_from(*count).unwrap_or(usize::MAX),
            _ => 0,
        },
        _ => 0,
    };
    let mut counted = 0usize;
    for (at, level) in levels.iter().enumerate() {
        counted = counted.checked_add(auto_fields(level))?;
        counted = match level.1 {
            Some(count) => counted.checked_add(count)?,
            None if at == 0 => counted,
            None => return None,
        };
    }
    match levels.first()?.1 {
        Some(_) if counted != fields => return None,
        None if counted > fields => return None,
        _ => {}
    }
    let mut key = Vec::new();
    for (at, (name, count, rest)) in levels.into_iter().enumerate() {
        key.push(name);
        if at > 0 {
            key.push(Value::Int(i64::try_from(count?).ok()?));
        }
        key.extend(rest);
    }
    Some(if key.len() == 1 { key.swap_remove(0) } else { Value::List(key) })
}
