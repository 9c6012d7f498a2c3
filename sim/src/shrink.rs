//! The search for the shortest script that fails in the same way: delta debugging.
//!
//! Steps bring their own dice, so a script without some of its steps is a script.
use crate::oracle::{Broken, Oracle};
use crate::run::run;
use crate::script::Script;

/// Runs that one search makes at most.
const MAX_RUNS: usize = 3_000;

/// The shortest script found that breaks the same promise, with how it breaks it.
#[must_use]
pub fn shortest(script: &Script, broken: Broken) -> (Script, Broken) {
    search(script, broken, |script| run(script, false).err())
}

fn search(script: &Script, broken: Broken, fails: impl FnMut(&Script) -> Option<Broken>) -> (Script, Broken) {
    let mut search = Search { oracle: broken.oracle, runs: 0, best: (script.clone(), broken), fails };
    let mut size = script.steps.len().div_ceil(2);
    while size > 0 && search.runs < MAX_RUNS {
        let is_shorter = search.pass(size);
        // The smallest pieces are tried until none can go.
        size = if size == 1 && is_shorter { 1 } else { size / 2 };
    }
    search.best
}

struct Search<F> {
    oracle: Oracle,
    runs: usize,
    best: (Script, Broken),
    fails: F,
}

impl<F: FnMut(&Script) -> Option<Broken>> Search<F> {
    /// Tries to leave out each piece of `size` steps; whether any went.
    fn pass(&mut self, size: usize) -> bool {
        let mut is_shorter = false;
        let mut end = self.best.0.steps.len();
        // From the end: what comes after the failure goes first.
        while end > 0 && self.runs < MAX_RUNS {
            let start = end.saturating_sub(size);
            let mut steps = self.best.0.steps.clone();
            steps.drain(start..end);
            is_shorter |= self.try_this(Script { steps, ..self.best.0.clone() });
            end = start;
        }
        is_shorter
    }

    fn try_this(&mut self, script: Script) -> bool {
        self.runs += 1;
        match (self.fails)(&script) {
            Some(broken) if broken.oracle == self.oracle => {
                self.best = (script, broken);
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    #[test]
    fn what_the_failure_does_not_need_goes() {
        let script = Script::of_seed(Profile::Chain, 3, 400);
        let needed = [script.steps[7], script.steps[180], script.steps[399]];
        let broken = |oracle| Broken { oracle, what: String::new() };
        let fails = |script: &Script| {
            let here = needed.iter().filter(|step| script.steps.contains(step)).count();
            match here {
                3 => Some(broken(Oracle::Money)),
                // Another failure on the way is not the one that is looked for.
                2 => Some(broken(Oracle::NoAbort)),
                _ => None,
            }
        };
        let (short, _) = search(&script, broken(Oracle::Money), fails);
        assert_eq!(short.steps, needed);
    }
}
