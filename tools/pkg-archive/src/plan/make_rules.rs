//! `packages.mk`: to packages what `cc -MMD` files are to objects. Pure: the whole text from the plan.

use std::fmt::Write;

/// What is run together: one package, or all packages of a dependency cycle.
#[derive(Clone, Debug, PartialEq)]
pub struct Group {
    /// Sorted.
    pub packages: Vec<Member>,
    /// Packages outside the group that must have a result first, sorted.
    pub needs: Vec<String>,
    /// Seconds it took last time, for the order.
    pub duration_s: f64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub name: String,
    /// False when there is `failed/NAME.json` instead of a zip.
    pub archived: bool,
}

/// A group of one or more packages that nothing is known about.
pub const USUAL_DURATION_S: f64 = 10.0;

const HEAD: &str = "\
# Written by pkg-archive; a later run replaces it. Needs GNU make 4.3 or later.
#
# Set before including it:
#   OUT          where results go
#   ARCHIVE      the directory of this file (default .)
#   PKG_RUN_ONE  pkg-run-one with the options it needs (machines, machine, ...)
#   RUN          what to put in front of it, for example srun -Q -n1 (default nothing)
# Defines PACKAGES, long chains first, and RESULTS, one file for each.

ARCHIVE ?= .
PKG_RUN_ONE ?= pkg-run-one
$(if $(OUT),,$(error packages.mk needs OUT, the directory for results))

# $(1): packages that are run together. What is put in front may claim success without having run anything, so the
# results must be there and must not be older than what they were made from.
define run_packages
$(RUN) $(PKG_RUN_ONE) --archive $(ARCHIVE) --out $(OUT) $(1)
@for package in $(1); do \\
  result=$(OUT)/results/$$package.json; \\
  test -s $$result || { echo \"packages.mk: no result was written: $$result\" >&2; exit 75; }; \\
  for newer in $?; do \\
    test ! $$newer -nt $$result || { echo \"packages.mk: no new result was written: $$result\" >&2; exit 75; }; \\
  done; \\
done
endef
";

/// The text for groups given in an order in which every group comes after those it needs.
pub fn write(groups: &[Group]) -> String {
    let order = longest_chain_first(groups);
    let mut text = HEAD.to_owned();
    text.push_str("\nPACKAGES :=");
    for member in order.iter().flat_map(|group| &group.packages) {
        let _ = write!(text, " \\\n  {}", member.name);
    }
    text.push_str("\nRESULTS := $(PACKAGES:%=$(OUT)/results/%.json)\n");
    // the first target, so that this file is enough for make
    text.push_str("\n.PHONY: results\nresults: $(RESULTS)\n");
    for group in order {
        rule(&mut text, group);
    }
    text
}

fn rule(text: &mut String, group: &Group) {
    let names: Vec<&str> = group.packages.iter().map(|member| member.name.as_str()).collect();
    let targets: Vec<String> = names.iter().map(|name| format!("$(OUT)/results/{name}.json")).collect();
    let colon = if names.len() > 1 { " &:" } else { ":" };
    let _ = write!(text, "\n{}{colon}", targets.join(" "));
    for member in &group.packages {
        let (dir, suffix) = if member.archived { ("pkgs", "zip.CHECKSUM") } else { ("failed", "json") };
        let _ = write!(text, " \\\n  $(ARCHIVE)/{dir}/{}.{suffix}", member.name);
    }
    for need in &group.needs {
        let _ = write!(text, " \\\n  $(OUT)/results/{need}.json");
    }
    let _ = writeln!(text, "\n\t$(call run_packages,{})", names.join(" "));
}

/// Groups by the length in seconds of the longest chain of groups that waits for them, longest first: with `make -j`
/// the chain that decides how long everything takes starts at once.
fn longest_chain_first(groups: &[Group]) -> Vec<&Group> {
    let group_of: std::collections::HashMap<&str, usize> = groups
        .iter()
        .enumerate()
        .flat_map(|(at, group)| group.packages.iter().map(move |member| (member.name.as_str(), at)))
        .collect();
    let mut chain_s = vec![0.0f64; groups.len()];
    for (at, group) in groups.iter().enumerate().rev() {
        chain_s[at] += group.duration_s;
        for need in &group.needs {
            if let Some(&below) = group_of.get(need.as_str()).filter(|below| **below < at) {
                chain_s[below] = chain_s[below].max(chain_s[at]);
            }
        }
    }
    let mut order: Vec<usize> = (0..groups.len()).collect();
    order.sort_by(|a, b| {
        let name = |at: usize| groups[at].packages.first().map(|member| member.name.as_str());
        chain_s[*b].total_cmp(&chain_s[*a]).then_with(|| name(*a).cmp(&name(*b)))
    });
    order.into_iter().map(|at| &groups[at]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(names: &str, needs: &str, duration_s: f64) -> Group {
        let member = |name: &str| Member {
            name: name.trim_end_matches('!').to_owned(),
            archived: !name.ends_with('!'),
        };
        Group {
            packages: names.split_whitespace().map(member).collect(),
            needs: needs.split_whitespace().map(str::to_owned).collect(),
            duration_s,
        }
    }

    #[test]
    fn long_chains_start_first() {
        let groups = [
            group("base", "", 1.0),
            group("lonely", "", 3.0),
            group("slow", "base", 9.0),
            group("top", "slow", 1.0),
        ];
        let order: Vec<&str> =
            longest_chain_first(&groups).iter().map(|group| group.packages[0].name.as_str()).collect();
        assert_eq!(order, ["base", "slow", "lonely", "top"]);
    }

    #[test]
    fn rules_of_a_package_a_cycle_and_a_failure() {
        let text = write(&[group("a b", "base", 1.0), group("c!", "", 1.0)]);
        assert!(text.contains(
            "\n$(OUT)/results/a.json $(OUT)/results/b.json &: \\\n  $(ARCHIVE)/pkgs/a.zip.CHECKSUM \\\n  \
             $(ARCHIVE)/pkgs/b.zip.CHECKSUM \\\n  $(OUT)/results/base.json\n\t$(call run_packages,a b)\n"
        ));
        assert!(
            text.contains(
                "\n$(OUT)/results/c.json: \\\n  $(ARCHIVE)/failed/c.json\n\t$(call run_packages,c)\n"
            )
        );
    }
}
