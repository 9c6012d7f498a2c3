//! What the syntax of one file says: its functions, what they call and assert, its statics and macros.
use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};
use quote::ToTokens;
use syn::visit::{self, Visit};
use syn::{Attribute, Block, Ident, ImplItemFn, ItemFn, ItemMod, ItemStatic, TraitItemFn};

use crate::report::Failure;
use crate::tree::SourceFile;

/// A function with a body.
#[derive(Clone, Debug)]
pub(crate) struct Function {
    /// Its name.
    pub(crate) name: String,
    /// The line of its `fn`.
    pub(crate) line: usize,
    /// From `fn` to the closing brace.
    pub(crate) lines: usize,
    /// Whether it only exists under test.
    pub(crate) in_test: bool,
    /// Whether it is a test.
    pub(crate) is_test: bool,
    /// Whether its own body can fail a test.
    pub(crate) asserts: bool,
    /// The names it calls.
    pub(crate) calls: Vec<String>,
}

/// A `static`.
#[derive(Clone, Debug)]
pub(crate) struct Static {
    /// Its name.
    pub(crate) name: String,
    /// Its line.
    pub(crate) line: usize,
    /// Whether it is `mut`, or its type lets itself be changed through a shared reference.
    pub(crate) mutable: bool,
}

/// One file.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// Its functions.
    pub(crate) functions: Vec<Function>,
    /// Its statics outside tests.
    pub(crate) statics: Vec<Static>,
    /// Names and lines of the macros called anywhere in it, inside other macros too.
    pub(crate) macros: Vec<(String, usize)>,
    /// Names and lines of tests ignored without a reason.
    pub(crate) ignored: Vec<(String, usize)>,
    /// Modules in other files that only exist under test.
    pub(crate) test_modules: Vec<String>,
}

impl Facts {
    /// Reads a file; `in_test` says that all of it only exists under test.
    pub(crate) fn of(source: &SourceFile, in_test: bool) -> Result<Self, Failure> {
        let failure = |message| Failure::Parse { file: source.path.clone(), message };
        let syntax = syn::parse_file(&source.text).map_err(|error| failure(error.to_string()))?;
        let mut reader = FactReader { facts: Facts::default(), in_test };
        reader.visit_file(&syntax);
        find_macros(syntax.into_token_stream(), &mut reader.facts.macros);
        Ok(reader.facts)
    }
}

struct FactReader {
    facts: Facts,
    in_test: bool,
}

impl FactReader {
    fn function(&mut self, attributes: &[Attribute], line: usize, name: &Ident, block: &Block) {
        let is_test = attributes.iter().any(is_test_attribute);
        let should_panic = attributes.iter().any(|attribute| attribute.path().is_ident("should_panic"));
        let body = BodyFacts::of(block.to_token_stream());
        let end = block.brace_token.span.close().end().line;
        self.facts.functions.push(Function {
            name: name.to_string(),
            line,
            lines: end.saturating_sub(line) + 1,
            in_test: self.in_test || is_test || attributes.iter().any(is_cfg_test),
            is_test,
            asserts: body.asserts || should_panic,
            calls: body.calls,
        });
        if attributes
            .iter()
            .any(|attribute| matches!(&attribute.meta, syn::Meta::Path(path) if path.is_ident("ignore")))
        {
            self.facts.ignored.push((name.to_string(), line));
        }
    }
}

impl<'ast> Visit<'ast> for FactReader {
    fn visit_item_fn(&mut self, item: &'ast ItemFn) {
        self.function(&item.attrs, item.sig.fn_token.span.start().line, &item.sig.ident, &item.block);
        visit::visit_item_fn(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast ImplItemFn) {
        self.function(&item.attrs, item.sig.fn_token.span.start().line, &item.sig.ident, &item.block);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast TraitItemFn) {
        if let Some(block) = &item.default {
            self.function(&item.attrs, item.sig.fn_token.span.start().line, &item.sig.ident, block);
        }
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let outside = self.in_test;
        if item.attrs.iter().any(is_cfg_test) {
            if item.content.is_none() {
                self.facts.test_modules.push(item.ident.to_string());
            }
            self.in_test = true;
        }
        visit::visit_item_mod(self, item);
        self.in_test = outside;
    }

    fn visit_item_static(&mut self, item: &'ast ItemStatic) {
        if !self.in_test {
            let mutable = matches!(item.mutability, syn::StaticMutability::Mut(_))
                || is_mutable(item.ty.to_token_stream());
            let line = item.static_token.span.start().line;
            self.facts.statics.push(Static { name: item.ident.to_string(), line, mutable });
        }
        visit::visit_item_static(self, item);
    }
}

/// `#[test]`, `#[tokio::test]` and their like.
fn is_test_attribute(attribute: &Attribute) -> bool {
    attribute.path().segments.last().is_some_and(|last| last.ident == "test")
}

/// `#[cfg(test)]`, alone or in an `all`.
fn is_cfg_test(attribute: &Attribute) -> bool {
    let condition = attribute.meta.to_token_stream().to_string();
    let mut words = condition.split(|c: char| !c.is_alphanumeric());
    attribute.path().is_ident("cfg")
        && words.clone().any(|word| word == "test")
        && !words.any(|word| word == "not" || word == "any")
}

fn is_mutable(tokens: TokenStream) -> bool {
    const CELLS: [&str; 10] = [
        "Cell", "Lazy", "LazyCell", "LazyLock", "Mutex", "Once", "OnceCell", "OnceLock", "RefCell", "RwLock",
    ];
    tokens.into_iter().any(|token| match token {
        TokenTree::Group(group) => is_mutable(group.stream()),
        TokenTree::Ident(ident) => {
            let name = ident.to_string();
            CELLS.contains(&name.as_str()) || name.starts_with("Atomic") || name == "UnsafeCell"
        }
        _ => false,
    })
}

fn find_macros(tokens: TokenStream, out: &mut Vec<(String, usize)>) {
    let mut tokens = tokens.into_iter().peekable();
    while let Some(token) = tokens.next() {
        match token {
            TokenTree::Group(group) => find_macros(group.stream(), out),
            TokenTree::Ident(ident) => {
                // `a != b` is an identifier before a joint `!`.
                if matches!(tokens.peek(), Some(TokenTree::Punct(p)) if p.as_char() == '!' && p.spacing() == Spacing::Alone)
                {
                    out.push((ident.to_string(), ident.span().start().line));
                }
            }
            _ => {}
        }
    }
}

/// What the tokens of a body say. Tokens and not expressions: so the inside of macros is seen too.
#[derive(Default)]
struct BodyFacts {
    asserts: bool,
    calls: Vec<String>,
}

impl BodyFacts {
    fn of(tokens: TokenStream) -> Self {
        let mut facts = Self::default();
        facts.read(tokens);
        facts
    }

    fn read(&mut self, tokens: TokenStream) {
        let mut tokens = tokens.into_iter().peekable();
        while let Some(token) = tokens.next() {
            match token {
                TokenTree::Group(group) => self.read(group.stream()),
                TokenTree::Punct(punct) => self.asserts |= punct.as_char() == '?',
                TokenTree::Ident(ident) => match tokens.peek() {
                    Some(TokenTree::Punct(next)) if next.as_char() == '!' => {
                        self.asserts |= is_assertion(&ident);
                    }
                    Some(TokenTree::Group(next)) if next.delimiter() == Delimiter::Parenthesis => {
                        self.call(&ident);
                    }
                    // A function handed on by name, as in `runs().for_each(check)`, is called as well.
                    _ => self.calls.push(ident.to_string()),
                },
                TokenTree::Literal(_) => {}
            }
        }
    }

    fn call(&mut self, name: &Ident) {
        let name = name.to_string();
        self.asserts |= ["unwrap", "expect", "unwrap_err", "expect_err"].contains(&name.as_str());
        self.calls.push(name);
    }
}

fn is_assertion(name: &Ident) -> bool {
    let name = name.to_string();
    name.contains("assert") || name == "panic" || name == "unreachable" || name == "proptest"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(text: &str) -> Facts {
        Facts::of(&SourceFile { path: "a.rs".to_owned(), text: text.to_owned() }, false).unwrap()
    }

    #[test]
    fn functions_are_measured_and_placed() {
        let facts = facts(
            "impl A {\n    /// Doc.\n    #[inline]\n    fn a(\n        &self,\n    ) {\n        b();\n    }\n}\n\
             trait T { fn declared(); fn given() {} }\n\
             #[cfg(test)]\nmod tests { fn c() {} }\n#[cfg(not(test))]\nmod product { fn d() {} }\n",
        );
        let seen: Vec<_> =
            facts.functions.iter().map(|f| (f.name.as_str(), f.line, f.lines, f.in_test)).collect();
        assert_eq!(
            seen,
            [("a", 4, 5, false), ("given", 10, 1, false), ("c", 12, 1, true), ("d", 14, 1, false)]
        );
    }

    #[test]
    fn macros_are_seen_inside_macros_but_not_in_comments_or_comparisons() {
        let facts = facts("fn a() { // todo!()\n let s = \"todo!()\"; if todo != s { vec![todo!()]; } }");
        assert_eq!(facts.macros, [("vec".to_owned(), 2), ("todo".to_owned(), 2)]);
    }

    #[test]
    fn state_that_changes_behind_a_shared_reference_is_seen() {
        let facts = facts(
            "static A: [u8; 2] = [0; 2]; static mut B: u8 = 0; static C: AtomicU64 = AtomicU64::new(0);\n\
             fn f() { static D: std::sync::Mutex<Vec<u8>> = Mutex::new(Vec::new()); }",
        );
        let mutable: Vec<_> = facts.statics.iter().filter(|s| s.mutable).map(|s| s.name.as_str()).collect();
        assert_eq!((mutable, facts.statics.len()), (vec!["B", "C", "D"], 4));
    }

    #[test]
    fn tests_and_their_assertions_are_seen() {
        let facts = facts(
            "#[test]\nfn a() { let _ = f(1); }\n#[test]\nfn b() { assert_eq!(1, 1); }\n\
             #[tokio::test]\nasync fn c() { f(1).unwrap(); }\n#[test]\n#[should_panic]\nfn d() { g(); }\n\
             #[test]\n#[ignore]\nfn e() -> R { f()?; }\n#[test]\n#[ignore = \"slow\"]\nfn h() { x }",
        );
        let asserts: Vec<_> = facts.functions.iter().map(|f| (f.is_test, f.asserts)).collect();
        assert_eq!(
            asserts,
            [(true, false), (true, true), (true, true), (true, true), (true, true), (true, false)]
        );
        assert_eq!(facts.ignored, [("e".to_owned(), 12)]);
        assert_eq!(facts.functions[0].calls, ["let", "_", "f"]);
    }
}
