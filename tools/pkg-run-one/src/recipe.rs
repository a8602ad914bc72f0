//! Recipes: found by name or file, checked, their patterns compiled.

use contract::recipe::{Recipe, Rule};
use contract::run::Outcome;
use edge::{Failure, Result};
use regex::{Regex, RegexBuilder};
use std::path::Path;

/// Built-in recipes: name, document without files, files. A new one is a directory and a line here.
type BuiltIn = (&'static str, &'static str, &'static [(&'static str, &'static str)]);
const BUILT_IN: &[BuiltIn] = &[
    (
        "racket",
        include_str!("recipes/racket.json"),
        &[
            ("marks.rkt", include_str!("recipes/racket/marks.rkt")),
            ("catalogs.rkt", include_str!("recipes/racket/catalogs.rkt")),
            ("any-machine.rkt", include_str!("recipes/racket/any-machine.rkt")),
            ("build.rkt", include_str!("recipes/racket/build.rkt")),
            ("test.rkt", include_str!("recipes/racket/test.rkt")),
        ],
    ),
    (
        "cargo",
        include_str!("recipes/cargo.json"),
        &[
            ("marks.sh", include_str!("recipes/marks.sh")),
            ("cargo.sh", include_str!("recipes/cargo/cargo.sh")),
            ("build.sh", include_str!("recipes/cargo/build.sh")),
            ("test.sh", include_str!("recipes/cargo/test.sh")),
        ],
    ),
    (
        "command",
        include_str!("recipes/command.json"),
        &[
            ("marks.sh", include_str!("recipes/marks.sh")),
            ("build.sh", include_str!("recipes/command/build.sh")),
            ("test.sh", include_str!("recipes/command/test.sh")),
        ],
    ),
];

/// Largest recipe file.
const MAX_BYTES: u64 = 16 << 20;

/// A recipe with its rules ready for use.
#[derive(Debug)]
pub struct Loaded {
    pub recipe: Recipe,
    pub rules: Vec<CompiledRule>,
    /// Phase to the pattern its log must have.
    pub evidence: Vec<(String, Regex)>,
    /// Phase, pattern, and what its failure means once the log has the pattern.
    pub past: Vec<(String, Regex, Outcome)>,
}

#[derive(Debug)]
pub struct CompiledRule {
    pub rule: Rule,
    pub pattern: Regex,
}

/// A built-in recipe by name, or one from a file.
pub fn load(name_or_file: &str) -> Result<Loaded> {
    if let Some(built_in) = BUILT_IN.iter().find(|built_in| built_in.0 == name_or_file) {
        return check(parse_built_in(built_in)?, name_or_file);
    }
    let path = Path::new(name_or_file);
    if !name_or_file.contains(['/', '.']) && !path.exists() {
        let names: Vec<&str> = BUILT_IN.iter().map(|built_in| built_in.0).collect();
        return Err(Failure::unavailable(format!("no recipe is called \"{name_or_file}\""))
            .detail("built in", names.join(", "))
            .hint("name a file to use a recipe of your own"));
    }
    let text = edge::read_input(path, MAX_BYTES)?;
    let recipe = contract::read(&text)
        .map_err(|error| Failure::data(format!("cannot read recipe \"{name_or_file}\": {error}")))?;
    check(recipe, name_or_file)
}

fn parse_built_in((name, document, files): &BuiltIn) -> Result<Recipe> {
    let mut recipe: Recipe = contract::read(document.as_bytes())
        .map_err(|error| Failure::bug(format!("built-in recipe \"{name}\": {error}")))?;
    recipe.files = files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Ok(recipe)
}

/// Checks what serde cannot and compiles the patterns.
pub fn check(recipe: Recipe, shown: &str) -> Result<Loaded> {
    let bad = |what: String| Failure::data(format!("cannot use recipe \"{shown}\": {what}"));
    if recipe.stages.is_empty() {
        return Err(bad("it has no stage".to_owned()));
    }
    for stage in &recipe.stages {
        let name = &stage.name;
        if stage.phases.is_empty() || stage.run.is_empty() {
            return Err(bad(format!("stage \"{name}\" needs \"phases\" and \"run\"")));
        }
        if stage.phases.len() > 1 && !stage.marks {
            return Err(bad(format!("stage \"{name}\" has several phases, so it must print marks")));
        }
        if let Some(phase) = stage
            .fails_as
            .keys()
            .chain(stage.evidence.keys())
            .chain(stage.past.keys())
            .find(|phase| !stage.phases.contains(phase))
        {
            return Err(bad(format!("stage \"{name}\" has no phase \"{phase}\"")));
        }
    }
    for name in recipe.files.keys().chain(&recipe.reads) {
        if name.starts_with('/') || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(bad(format!("file name \"{name}\" leads elsewhere")));
        }
    }
    if let Some(name) = recipe.env.keys().find(|name| !is_variable(name)) {
        return Err(bad(format!("\"{name}\" is no name of an environment variable")));
    }
    let compile = |pattern: &str| {
        RegexBuilder::new(pattern)
            .multi_line(true)
            .build()
            .map_err(|error| bad(format!("pattern \"{pattern}\": {}", last_line(&error.to_string()))))
    };
    let mut rules = Vec::new();
    for rule in &recipe.rules {
        const COUNTERS: [&str; 4] = ["network_refusals", "memory_kills", "process_refusals", "disk_full"];
        if let Some(needs) = rule.needs.as_deref().filter(|needs| !COUNTERS.contains(needs)) {
            return Err(bad(format!("no counter is called \"{needs}\"")));
        }
        rules.push(CompiledRule { pattern: compile(&rule.pattern)?, rule: rule.clone() });
    }
    let mut evidence = Vec::new();
    for (phase, pattern) in recipe.stages.iter().flat_map(|stage| &stage.evidence) {
        evidence.push((phase.clone(), compile(pattern)?));
    }
    let mut past = Vec::new();
    for (phase, milestone) in recipe.stages.iter().flat_map(|stage| &stage.past) {
        past.push((phase.clone(), compile(&milestone.pattern)?, milestone.fails_as));
    }
    crate::result::test_counts::TestCounter::new(&recipe)
        .map_err(|error| bad(format!("pattern of \"tests\": {}", last_line(&error.to_string()))))?;
    Ok(Loaded { recipe, rules, evidence, past })
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

fn last_line(text: &str) -> &str {
    text.lines().last().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_recipe_is_sound() {
        for (name, ..) in BUILT_IN {
            let loaded = load(name).unwrap_or_else(|failure| panic!("{name}: {failure}"));
            assert_eq!(loaded.recipe.name, *name);
            assert!(!loaded.recipe.stages.is_empty());
        }
    }

    #[test]
    fn an_unsound_recipe_is_refused_with_the_reason() {
        let base = load("racket").unwrap().recipe;
        let refused = |change: &dyn Fn(&mut Recipe)| {
            let mut recipe = base.clone();
            change(&mut recipe);
            check(recipe, "r").unwrap_err().message
        };
        assert!(refused(&|r| r.stages.clear()).ends_with("it has no stage"));
        assert!(refused(&|r| r.stages[0].marks = false).contains("must print marks"));
        assert!(
            refused(&|r| {
                r.files.insert("../x".into(), String::new());
            })
            .contains("leads elsewhere")
        );
        assert!(
            refused(&|r| {
                r.env.insert("A B".into(), String::new());
            })
            .contains("environment variable")
        );
        assert!(refused(&|r| r.rules[0].pattern = "(".into()).contains("pattern"));
        assert!(refused(&|r| r.rules[0].needs = Some("x".into())).contains("no counter"));
        assert!(
            refused(&|r| {
                r.stages[0].evidence.insert("x".into(), "y".into());
            })
            .contains("no phase")
        );
    }
}
