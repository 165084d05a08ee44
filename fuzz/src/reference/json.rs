//! The JSON (RFC 8259) that a token may use: numbers have only digits, members are not repeated,
//! and there are no lone surrogates.

/// A JSON value. The members of an object are sorted by name.
#[derive(Debug, PartialEq)]
pub(crate) enum Json {
    Array(Vec<Self>),
    Bool(bool),
    Null,
    Number(u64),
    Object(Vec<(String, Self)>),
    Text(String),
}

impl Json {
    /// Reads a complete text.
    pub(super) fn read(text: &str) -> Option<Self> {
        let mut reader = Reader { rest: text };
        let value = reader.value(0)?;
        reader.skip_space();
        reader.rest.is_empty().then_some(value)
    }

    /// A member of an object.
    pub(super) fn member(&self, name: &str) -> Option<&Self> {
        let Self::Object(members) = self else { return None };
        members.iter().find(|(found, _)| found == name).map(|(_, value)| value)
    }

    /// Returns true for an object that has no members except these.
    pub(super) fn has_only(&self, names: &[&str]) -> bool {
        matches!(self, Self::Object(members) if members.iter().all(|(name, _)| names.contains(&name.as_str())))
    }

    pub(super) fn text(&self) -> Option<&str> {
        if let Self::Text(text) = self { Some(text) } else { None }
    }

    pub(super) fn number(&self) -> Option<u64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }
}

struct Reader<'a> {
    rest: &'a str,
}

impl Reader<'_> {
    fn value(&mut self, depth: usize) -> Option<Json> {
        self.skip_space();
        for (word, value) in [("null", Json::Null), ("true", Json::Bool(true)), ("false", Json::Bool(false))] {
            if self.skip(word) {
                return Some(value);
            }
        }
        match self.rest.chars().next()? {
            '{' if depth < 128 => self.object(depth + 1),
            '[' if depth < 128 => self.array(depth + 1),
            '"' => self.text().map(Json::Text),
            '0'..='9' => self.number().map(Json::Number),
            _ => None,
        }
    }

    fn object(&mut self, depth: usize) -> Option<Json> {
        let mut members: Vec<(String, Json)> = Vec::new();
        let mut more = self.open('{', '}');
        while more {
            self.skip_space();
            let name = self.text()?;
            self.skip_space();
            if !self.skip(":") || members.iter().any(|(other, _)| *other == name) {
                return None;
            }
            members.push((name, self.value(depth)?));
            more = self.comma_or('}')?;
        }
        members.sort_by(|(one, _), (other, _)| one.cmp(other));
        Some(Json::Object(members))
    }

    fn array(&mut self, depth: usize) -> Option<Json> {
        let mut values = Vec::new();
        let mut more = self.open('[', ']');
        while more {
            values.push(self.value(depth)?);
            more = self.comma_or(']')?;
        }
        Some(Json::Array(values))
    }

    /// Skips the opening bracket, and the closing one if it follows. Returns true if there is
    /// content between them.
    fn open(&mut self, open: char, close: char) -> bool {
        self.skip(open.to_string().as_str());
        self.skip_space();
        !self.skip(close.to_string().as_str())
    }

    /// Skips the comma or the closing bracket after a member. Returns true for a comma.
    fn comma_or(&mut self, close: char) -> Option<bool> {
        self.skip_space();
        if self.skip(",") { Some(true) } else { self.skip(close.to_string().as_str()).then_some(false) }
    }

    /// Digits without a leading zero.
    fn number(&mut self) -> Option<u64> {
        let end = self.rest.find(|character: char| !character.is_ascii_digit()).unwrap_or(self.rest.len());
        let (digits, rest) = self.rest.split_at(end);
        self.rest = rest;
        let plain = digits == "0" || !digits.starts_with('0');
        digits.parse().ok().filter(|_| plain)
    }

    fn text(&mut self) -> Option<String> {
        let mut text = String::new();
        if !self.skip("\"") {
            return None;
        }
        loop {
            match self.next()? {
                '"' => return Some(text),
                '\\' => text.push(self.escaped()?),
                '\0'..='\u{1F}' => return None,
                character => text.push(character),
            }
        }
    }

    fn escaped(&mut self) -> Option<char> {
        Some(match self.next()? {
            character @ ('"' | '\\' | '/') => character,
            'b' => '\u{8}',
            'f' => '\u{C}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => {
                let unit = self.unit()?;
                let second =
                    if (0xD800..0xDC00).contains(&unit) && self.skip("\\u") { Some(self.unit()?) } else { None };
                let mut units = char::decode_utf16([unit].into_iter().chain(second));
                let character = units.next()?.ok()?;
                if units.next().is_some() {
                    return None;
                }
                character
            }
            _ => return None,
        })
    }

    fn unit(&mut self) -> Option<u16> {
        let digits = self.rest.get(..4).filter(|digits| digits.chars().all(|digit| digit.is_ascii_hexdigit()))?;
        self.rest = &self.rest[4..];
        u16::from_str_radix(digits, 16).ok()
    }

    fn next(&mut self) -> Option<char> {
        let character = self.rest.chars().next()?;
        self.rest = &self.rest[character.len_utf8()..];
        Some(character)
    }

    fn skip(&mut self, word: &str) -> bool {
        let rest = self.rest.strip_prefix(word);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_space(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }
}
