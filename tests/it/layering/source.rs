//! Reads Rust source as far as the layering rules need it: the paths that a file names, and where.
//!
//! This is not a parser. It reads words, and knows comments, literals, attributes, `use` trees and
//! inline modules. It does not see a path that a macro builds from pieces; the crate has none.

use std::collections::{BTreeMap, BTreeSet};

/// The names in one file.
#[derive(Debug, Default)]
pub(super) struct Source {
    /// Every path of two or more segments, and every imported one. `super` and `self` are resolved
    /// to `crate`.
    pub(super) paths: Vec<Named>,
    /// Every word that starts a path or has no path, and the name of every macro call, with its
    /// `!`.
    pub(super) words: Vec<Named>,
    /// The names that `use` declarations bring into the module, each with its path. A `pub use` is
    /// a re-export.
    pub(super) imports: BTreeMap<String, Import>,
    /// The modules in other files that only tests compile, from the crate's root.
    pub(super) test_modules: BTreeSet<String>,
}

/// One name that a `use` declaration brings into a module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Import {
    /// The path of the item, from the crate's root where it is ours.
    pub(super) path: String,
    /// True for a re-export: `pub use`, `pub(crate) use` and so on.
    pub(super) exported: bool,
    /// True if only tests compile it.
    pub(super) test: bool,
}

/// One occurrence of a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Named {
    /// The path or the word.
    pub(super) text: String,
    /// The line, from 1.
    pub(super) line: usize,
    /// True if only tests compile it, as far as this file shows.
    pub(super) test: bool,
    /// True if the name appears in a `use` declaration.
    pub(super) imported: bool,
}

/// Reads a file whose module path, without `crate`, is `module`.
pub(super) fn read(module: &str, text: &str) -> Source {
    let mut reader = Reader {
        tokens: tokens(text),
        at: 0,
        depth: 0,
        inline: Vec::new(),
        test_use: false,
        exported: false,
        module: module.to_owned(),
        source: Source::default(),
    };
    reader.read();
    reader.source
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// An identifier or keyword, `r#` taken off.
    Word(String),
    /// `::`
    Colons,
    Sign(char),
}

struct Reader {
    tokens: Vec<(Token, usize)>,
    at: usize,
    depth: usize,
    /// The open inline modules: name, depth of their braces, true if only tests compile them.
    inline: Vec<(String, usize, bool)>,
    /// True while the reader is in a `use` declaration that only tests compile.
    test_use: bool,
    /// True if the item that follows is `pub`, in any form.
    exported: bool,
    module: String,
    source: Source,
}

impl Reader {
    fn read(&mut self) {
        let mut test_attribute = false;
        while let Some(token) = self.peek(0).cloned() {
            match token {
                Token::Sign('#') if self.is_sign(1, '[') => {
                    test_attribute |= self.attribute();
                    continue;
                }
                Token::Sign('{') => self.depth += 1,
                Token::Sign('}') => {
                    self.depth -= 1;
                    self.inline.retain(|(_, depth, _)| *depth <= self.depth);
                }
                Token::Word(word) => {
                    self.word(&word, test_attribute);
                    // An attribute and a visibility both belong to the item after the words
                    // `pub(crate)`, `pub(in …)`.
                    let visibility = matches!(word.as_str(), "pub" | "crate" | "super" | "in");
                    test_attribute &= visibility;
                    self.exported = visibility && (self.exported || word == "pub");
                    continue;
                }
                _ => {}
            }
            self.at += 1;
        }
    }

    /// Reads past `#[…]`. Returns true if only tests compile the item that follows. The paths
    /// inside count as well.
    fn attribute(&mut self) -> bool {
        let mut words = Vec::new();
        let mut brackets = 0_usize;
        loop {
            match self.peek(0) {
                Some(Token::Sign('[')) => brackets += 1,
                Some(Token::Sign(']')) => brackets -= 1,
                Some(Token::Word(word)) => {
                    words.push(word.clone());
                    self.path();
                    continue;
                }
                None => break,
                _ => {}
            }
            self.at += 1;
            if brackets == 0 && !words.is_empty() {
                break;
            }
        }
        words.first().is_some_and(|word| word == "cfg")
            && words.iter().any(|word| word == "test")
            && !words.iter().any(|word| word == "not" || word == "any")
    }

    fn word(&mut self, word: &str, test_attribute: bool) {
        match word {
            "use" => {
                self.at += 1;
                self.test_use = test_attribute;
                self.use_tree(&[]);
                self.test_use = false;
            }
            "mod" => {
                let name = self.word_at(1).unwrap_or_default();
                if self.is_sign(2, '{') {
                    self.inline.push((name, self.depth + 1, test_attribute || self.in_test()));
                    self.at += 2;
                } else {
                    if test_attribute || self.in_test() {
                        self.source.test_modules.insert(join(&self.here(), &name));
                    }
                    self.at += 2;
                }
            }
            _ => {
                self.note_word(word.to_owned(), self.line());
                self.path();
            }
        }
    }

    /// Reads one path of an expression or a type.
    fn path(&mut self) {
        let line = self.line();
        let mut segments = Vec::new();
        while let Some(Token::Word(word)) = self.peek(0) {
            segments.push(word.clone());
            self.at += 1;
            if self.peek(0) == Some(&Token::Colons) && matches!(self.peek(1), Some(Token::Word(_))) {
                self.at += 1;
            } else {
                break;
            }
        }
        if segments.len() > 1 {
            self.note_path(&segments, line, false);
        }
        if self.is_sign(0, '!') && !self.is_sign(1, '=') {
            let name = segments.last().cloned().unwrap_or_default();
            self.note_word(format!("{name}!"), line);
        }
    }

    /// Reads one branch of a `use` declaration, up to the sign that ends it.
    fn use_tree(&mut self, prefix: &[String]) {
        let mut path = prefix.to_vec();
        let line = self.line();
        let mut alias = None;
        loop {
            match self.peek(0).cloned() {
                Some(Token::Word(word)) if word == "as" => {
                    alias = self.word_at(1);
                    self.at += 2;
                }
                Some(Token::Word(word)) => {
                    path.push(word);
                    self.at += 1;
                }
                Some(Token::Colons) => self.at += 1,
                Some(Token::Sign('*')) => {
                    path.push("*".to_owned());
                    self.at += 1;
                }
                Some(Token::Sign('{')) => {
                    self.at += 1;
                    while !self.is_sign(0, '}') && self.peek(0).is_some() {
                        let before = self.at;
                        self.use_tree(&path);
                        // Past the comma, or past what no tree begins with.
                        if self.is_sign(0, ',') || self.at == before {
                            self.at += 1;
                        }
                    }
                    self.at += 1;
                    return;
                }
                _ => break,
            }
        }
        // `use a::{self}` names `a`.
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        self.note_import(&path, alias);
        self.note_path(&path, line, true);
    }

    fn note_import(&mut self, path: &[String], alias: Option<String>) {
        let Some(name) = alias.or_else(|| path.last().cloned()) else { return };
        if self.inline.is_empty() {
            let import = Import { path: self.resolve(path), exported: self.exported, test: self.test_use };
            self.source.imports.insert(name, import);
        }
    }

    fn note_path(&mut self, segments: &[String], line: usize, imported: bool) {
        let text = self.resolve(segments);
        let test = self.in_test();
        self.source.paths.push(Named { text, line, test, imported });
    }

    fn note_word(&mut self, text: String, line: usize) {
        let test = self.in_test();
        self.source.words.push(Named { text, line, test, imported: false });
    }

    /// The path from the crate's root where it begins at this module, else as it stands.
    fn resolve(&self, segments: &[String]) -> String {
        let mut module: Vec<&str> = self.here_parts();
        let mut rest = segments;
        match segments.first().map(String::as_str) {
            Some("self") => rest = &segments[1..],
            Some("super") => {
                while rest.first().is_some_and(|segment| segment == "super") {
                    module.pop();
                    rest = &rest[1..];
                }
            }
            _ => return segments.join("::"),
        }
        let tail = rest.iter().map(String::as_str);
        ["crate"].into_iter().chain(module).chain(tail).collect::<Vec<_>>().join("::")
    }

    fn here_parts(&self) -> Vec<&str> {
        let file = self.module.split("::").filter(|part| !part.is_empty());
        file.chain(self.inline.iter().map(|(name, ..)| name.as_str())).collect()
    }

    fn here(&self) -> String {
        self.here_parts().join("::")
    }

    fn in_test(&self) -> bool {
        self.test_use || self.inline.iter().any(|(_, _, test)| *test)
    }

    fn peek(&self, ahead: usize) -> Option<&Token> {
        self.tokens.get(self.at + ahead).map(|(token, _)| token)
    }

    fn is_sign(&self, ahead: usize, sign: char) -> bool {
        self.peek(ahead) == Some(&Token::Sign(sign))
    }

    fn word_at(&self, ahead: usize) -> Option<String> {
        match self.peek(ahead) {
            Some(Token::Word(word)) => Some(word.clone()),
            _ => None,
        }
    }

    fn line(&self) -> usize {
        self.tokens.get(self.at).map_or(0, |(_, line)| *line)
    }
}

/// Joins a module path and a name.
fn join(module: &str, name: &str) -> String {
    if module.is_empty() { name.to_owned() } else { format!("{module}::{name}") }
}

/// The words and signs of a text: comments and the insides of literals are left out.
fn tokens(text: &str) -> Vec<(Token, usize)> {
    let characters: Vec<char> = text.chars().collect();
    let mut tokens = Vec::new();
    let (mut at, mut line) = (0, 1);
    while let Some(&character) = characters.get(at) {
        let next = characters.get(at + 1).copied().unwrap_or_default();
        let end = match character {
            '/' if next == '/' => line_end(&characters, at),
            '/' if next == '*' => comment_end(&characters, at),
            '"' => string_end(&characters, at + 1),
            '\'' => quote_end(&characters, at),
            ':' if next == ':' => {
                tokens.push((Token::Colons, line));
                at + 2
            }
            _ if character.is_alphabetic() || character == '_' => {
                let end = word_end(&characters, at);
                let word: String = characters[at..end].iter().collect();
                match literal_end(&characters, &word, end) {
                    Some(end) => end,
                    None if word == "r" && characters.get(end) == Some(&'#') => end + 1,
                    None => {
                        tokens.push((Token::Word(word), line));
                        end
                    }
                }
            }
            _ if character.is_ascii_digit() => word_end(&characters, at),
            _ => {
                if !character.is_whitespace() {
                    tokens.push((Token::Sign(character), line));
                }
                at + 1
            }
        };
        line += characters[at..end.min(characters.len())].iter().filter(|&&c| c == '\n').count();
        at = end;
    }
    tokens
}

fn line_end(characters: &[char], at: usize) -> usize {
    at + characters[at..].iter().position(|&c| c == '\n').unwrap_or(characters.len() - at)
}

/// The end of a block comment, which may hold others.
fn comment_end(characters: &[char], at: usize) -> usize {
    let (mut at, mut depth) = (at + 2, 1_usize);
    while depth > 0 && at < characters.len() {
        match (characters[at], characters.get(at + 1)) {
            ('/', Some('*')) => (at, depth) = (at + 2, depth + 1),
            ('*', Some('/')) => (at, depth) = (at + 2, depth - 1),
            _ => at += 1,
        }
    }
    at
}

/// The end of a string whose opening quote is before `at`.
fn string_end(characters: &[char], mut at: usize) -> usize {
    while let Some(&character) = characters.get(at) {
        match character {
            '"' => return at + 1,
            '\\' => at += 2,
            _ => at += 1,
        }
    }
    at
}

/// The end of a character literal, or of the quote sign of a lifetime.
fn quote_end(characters: &[char], at: usize) -> usize {
    match (characters.get(at + 1), characters.get(at + 2)) {
        (Some('\\'), _) => {
            let close = characters[at + 3..].iter().position(|&c| c == '\'').unwrap_or_default();
            at + 4 + close
        }
        (Some(_), Some('\'')) => at + 3,
        // A lifetime: its name is no word of interest.
        _ => word_end(characters, at + 1),
    }
}

fn word_end(characters: &[char], at: usize) -> usize {
    at + characters[at..].iter().position(|&c| !c.is_alphanumeric() && c != '_').unwrap_or(characters.len() - at)
}

/// The end of the literal that `prefix` opens, if it opens one: `b"…"`, `c"…"`, `r"…"`, `br#"…"#`,
/// `b'…'`.
fn literal_end(characters: &[char], prefix: &str, at: usize) -> Option<usize> {
    match (prefix, characters.get(at)?) {
        ("b" | "c", '"') => Some(string_end(characters, at + 1)),
        ("b", '\'') => Some(quote_end(characters, at)),
        ("r" | "br" | "cr", '"' | '#') => {
            let hashes = characters[at..].iter().take_while(|&&c| c == '#').count();
            if characters.get(at + hashes) != Some(&'"') {
                return None;
            }
            let close: Vec<char> = std::iter::once('"').chain(std::iter::repeat_n('#', hashes)).collect();
            let inside = at + hashes + 1;
            let length = characters[inside..].windows(close.len()).position(|window| window == close);
            Some(length.map_or(characters.len(), |length| inside + length + close.len()))
        }
        _ => None,
    }
}
