//! What each source shows before it is parsed: its name, its first line, its length.
use super::rule;
use crate::report::Violation;
use crate::tree::SourceFile;

/// A file that grows beyond this has two subjects (I12).
const MAX_FILE_LINES: usize = 800;

/// Names that say nothing: whatever is put there belongs to what it helps.
const NAMELESS: [&str; 7] = ["common", "helper", "helpers", "misc", "shared", "util", "utils"];

/// Checks one source.
pub(crate) fn check(source: &SourceFile) -> Vec<Violation> {
    let mut violations = Vec::new();
    let mut found = |rule, message: String| violations.push(Violation::new(&source.path, 1, rule, message));
    if !source.text.starts_with("//! ") {
        found(rule::HEADER, "the first line must be a `//! ` header that says what the file is".to_owned());
    }
    let lines = source.text.lines().count();
    if lines > MAX_FILE_LINES {
        found(
            rule::FILE_SIZE,
            format!("{lines} lines; split the file by subject ({MAX_FILE_LINES} at most)"),
        );
    }
    let parts = source.path.trim_end_matches(".rs").split('/');
    if let Some(name) = parts.into_iter().find(|part| NAMELESS.contains(part)) {
        found(rule::NAMED_FILE, format!("`{name}` names no subject"));
    }
    violations
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(path: &str, text: &str) -> Vec<&'static str> {
        let source = SourceFile { path: path.to_owned(), text: text.to_owned() };
        check(&source).into_iter().map(|violation| violation.rule).collect()
    }

    #[test]
    fn a_good_file_passes() {
        let text = "//! What.\n".to_owned() + &"\n".repeat(MAX_FILE_LINES - 1);
        assert_eq!(rules("a/src/commonwealth.rs", &text), [""; 0]);
    }

    #[test]
    fn a_file_without_header_is_seen() {
        assert_eq!(rules("a/src/b.rs", "use core::fmt;\n//! Late.\n"), [rule::HEADER]);
        assert_eq!(rules("a/src/b.rs", "// Not a header.\n"), [rule::HEADER]);
        assert_eq!(rules("a/src/b.rs", ""), [rule::HEADER]);
    }

    #[test]
    fn a_long_file_is_seen() {
        let text = "//! What.\n".to_owned() + &"\n".repeat(MAX_FILE_LINES);
        assert_eq!(rules("a/src/b.rs", &text), [rule::FILE_SIZE]);
    }

    #[test]
    fn a_nameless_file_or_folder_is_seen() {
        assert_eq!(rules("a/src/utils.rs", "//! What.\n"), [rule::NAMED_FILE]);
        assert_eq!(rules("a/tests/common/mod.rs", "//! What.\n"), [rule::NAMED_FILE]);
    }
}
