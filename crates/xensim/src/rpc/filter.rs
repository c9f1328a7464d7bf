//! Expressions of `get_all_records_where`, such as `field "name__label" = "x" and not (field "is_a_template" = "true")`.

use crate::model::{Map, database_text};

/// Parentheses and `not`s deeper than this are refused.
const MAX_DEPTH: usize = 200;

/// A parsed expression.
#[derive(Debug, PartialEq)]
pub(super) enum Filter {
    True,
    False,
    Not(Box<Filter>),
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Equal(Term, Term),
}

#[derive(Debug, PartialEq)]
pub(super) enum Term {
    Field(String),
    Literal(String),
}

/// The text isn't an expression.
#[derive(Debug, PartialEq)]
pub(super) struct Malformed;

impl Filter {
    /// Whether the record fits.
    pub(super) fn holds(&self, record: &Map) -> bool {
        match self {
            Filter::True => true,
            Filter::False => false,
            Filter::Not(inner) => !inner.holds(record),
            Filter::And(parts) => parts.iter().all(|part| part.holds(record)),
            Filter::Or(parts) => parts.iter().any(|part| part.holds(record)),
            Filter::Equal(left, right) => left.text(record) == right.text(record),
        }
    }
}

impl Term {
    fn text(&self, record: &Map) -> Option<String> {
        match self {
            Term::Literal(text) => Some(text.clone()),
            Term::Field(name) => record.get(&wire_name(name)).map(database_text),
        }
    }
}

/// Expressions name fields as the database does, with `__` between a name space and the rest.
fn wire_name(name: &str) -> String {
    name.replace("__", "_")
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Open,
    Close,
    Equal,
}

/// Reads an expression.
pub(super) fn parse(text: &str) -> Result<Filter, Malformed> {
    let tokens = tokens(text)?;
    let mut parser = Parser { tokens: &tokens, at: 0 };
    let filter = parser.either(0)?;
    if parser.at == tokens.len() { Ok(filter) } else { Err(Malformed) }
}

fn tokens(text: &str) -> Result<Vec<Token>, Malformed> {
    let mut tokens = Vec::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            c if c.is_whitespace() => {}
            '(' => tokens.push(Token::Open),
            ')' => tokens.push(Token::Close),
            '=' => tokens.push(Token::Equal),
            quote @ ('"' | '\'') => {
                let mut word = String::new();
                loop {
                    match chars.next().ok_or(Malformed)? {
                        '\\' => word.push(chars.next().ok_or(Malformed)?),
                        c if c == quote => break,
                        c => word.push(c),
                    }
                }
                tokens.push(Token::Quoted(word));
            }
            c => {
                let mut word = String::from(c);
                while let Some(c) = chars.next_if(|c| c.is_alphanumeric() || *c == '_') {
                    word.push(c);
                }
                tokens.push(Token::Word(word));
            }
        }
    }
    Ok(tokens)
}

struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Parser<'_> {
    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.at).cloned();
        self.at += 1;
        token
    }

    fn take_word(&mut self, wanted: &str) -> bool {
        let found = matches!(self.tokens.get(self.at), Some(Token::Word(word)) if word == wanted);
        self.at += usize::from(found);
        found
    }

    fn either(&mut self, depth: usize) -> Result<Filter, Malformed> {
        let mut parts = vec![self.both(depth)?];
        while self.take_word("or") {
            parts.push(self.both(depth)?);
        }
        Ok(Filter::Or(parts))
    }

    fn both(&mut self, depth: usize) -> Result<Filter, Malformed> {
        let mut parts = vec![self.single(depth)?];
        while self.take_word("and") {
            parts.push(self.single(depth)?);
        }
        Ok(Filter::And(parts))
    }

    fn single(&mut self, depth: usize) -> Result<Filter, Malformed> {
        if depth > MAX_DEPTH {
            return Err(Malformed);
        }
        if self.take_word("not") {
            return Ok(Filter::Not(Box::new(self.single(depth + 1)?)));
        }
        if self.take_word("true") {
            return Ok(Filter::True);
        }
        if self.take_word("false") {
            return Ok(Filter::False);
        }
        if self.tokens.get(self.at) == Some(&Token::Open) {
            self.at += 1;
            let inner = self.either(depth + 1)?;
            return if self.take() == Some(Token::Close) { Ok(inner) } else { Err(Malformed) };
        }
        let left = self.term()?;
        if self.take() != Some(Token::Equal) {
            return Err(Malformed);
        }
        Ok(Filter::Equal(left, self.term()?))
    }

    fn term(&mut self) -> Result<Term, Malformed> {
        match self.take() {
            Some(Token::Quoted(text)) => Ok(Term::Literal(text)),
            Some(Token::Word(word)) if word == "field" => match self.take() {
                Some(Token::Quoted(name)) => Ok(Term::Field(name)),
                _ => Err(Malformed),
            },
            _ => Err(Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::Value;

    fn record() -> Map {
        Map::from([
            ("name_label".to_owned(), Value::from("a \"b\"")),
            ("is_a_template".to_owned(), Value::Bool(false)),
            ("memory_static_max".to_owned(), Value::Int(1024)),
            ("tags".to_owned(), Value::texts(["x", "y"])),
        ])
    }

    #[test]
    fn expressions_choose_records() {
        for (text, holds) in [
            ("true", true),
            ("false", false),
            ("not false", true),
            (r#"field "name__label" = "a \"b\"""#, true),
            (r#"field "name_label" = "a""#, false),
            (r#"(field "is_a_template" = "false") and (true)"#, true),
            (r#"field "is_a_template" = "true" or field "memory__static_max" = "1024""#, true),
            (r#"not (field "tags" = "('x' 'y')")"#, false),
            (r#"field "no_such_field" = """#, false),
            ("true and false or true", true),
        ] {
            assert_eq!(parse(text).unwrap().holds(&record()), holds, "{text}");
        }
    }

    #[test]
    fn nonsense_is_refused() {
        let deep = "(".repeat(100_000);
        for text in ["", "tru", "field = \"x\"", "field \"a\" = ", "(true", "true)", "\"a", "true true", &deep] {
            assert_eq!(parse(text), Err(Malformed), "{}", &text[..text.len().min(20)]);
        }
    }
}
