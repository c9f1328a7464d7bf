use quick_xml::Reader;
use quick_xml::escape::resolve_xml_entity;
use quick_xml::events::{BytesRef, Event};

use super::{MAX_DEPTH, MAX_TEXT_BYTES, MAX_VALUES, Struct, Value, not_a_value};
use crate::Error;

/// Reads one `<value>` that fills the whole text.
pub fn parse(xml: &[u8]) -> Result<Value, Error> {
    let mut parser = Parser::new(xml)?;
    parser.expect_open("value")?;
    let value = parser.value(0)?;
    parser.expect_end()?;
    Ok(value)
}

/// Reads a `<methodCall>`: the name of the method and its parameters.
pub fn parse_call(xml: &[u8]) -> Result<(String, Vec<Value>), Error> {
    let mut parser = Parser::new(xml)?;
    parser.expect_open("methodCall")?;
    parser.expect_open("methodName")?;
    let method = parser.text("methodName")?.trim().to_owned();
    let mut params = Vec::new();
    if parser.open_or_close("params")? {
        while parser.open_or_close("param")? {
            parser.expect_open("value")?;
            params.push(parser.value(0)?);
            parser.expect_close()?;
        }
        parser.expect_close()?;
    }
    parser.expect_end()?;
    Ok((method, params))
}

/// What stands next. Comments and processing instructions are skipped.
enum Piece {
    Open(String),
    Close,
    Text(String),
    End,
}

/// quick-xml sees to it that every tag is closed by its own name.
struct Parser<'a> {
    reader: Reader<&'a [u8]>,
    values: usize,
}

impl<'a> Parser<'a> {
    fn new(xml: &'a [u8]) -> Result<Self, Error> {
        if xml.len() > MAX_TEXT_BYTES {
            return Err(Error::TooLarge { what: "an XML-RPC text".into(), limit: MAX_TEXT_BYTES as u64 });
        }
        let text = std::str::from_utf8(xml).map_err(not_a_value)?;
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Ok(Parser { reader, values: 0 })
    }

    fn next(&mut self) -> Result<Piece, Error> {
        loop {
            return Ok(match self.reader.read_event().map_err(not_a_value)? {
                Event::Start(tag) => Piece::Open(tag.name().as_ref().to_owned()),
                Event::End(_) => Piece::Close,
                Event::Text(text) => Piece::Text(text.xml10_content().into_owned()),
                Event::CData(text) => Piece::Text(text.xml10_content().into_owned()),
                Event::GeneralRef(reference) => Piece::Text(resolve(&reference)?),
                Event::Eof => Piece::End,
                Event::DocType(_) => return Err(not_a_value("a document type is declared")),
                Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::Empty(_) => continue,
            });
        }
    }

    /// The next piece that is not white space; any other text is an error.
    fn next_tag(&mut self) -> Result<Piece, Error> {
        loop {
            match self.next()? {
                Piece::Text(text) if text.trim().is_empty() => {}
                Piece::Text(_) => return Err(not_a_value("text between tags")),
                piece => return Ok(piece),
            }
        }
    }

    fn expect_open(&mut self, name: &str) -> Result<(), Error> {
        match self.open_or_close(name)? {
            true => Ok(()),
            false => Err(not_a_value(format_args!("<{name}> is missing"))),
        }
    }

    fn expect_close(&mut self) -> Result<(), Error> {
        match self.next_tag()? {
            Piece::Close => Ok(()),
            _ => Err(not_a_value("a closing tag is missing")),
        }
    }

    fn expect_end(&mut self) -> Result<(), Error> {
        loop {
            match self.next_tag()? {
                Piece::End => return Ok(()),
                Piece::Close => {}
                _ => return Err(not_a_value("something follows the end")),
            }
        }
    }

    /// `<name>` (true), or the end of what surrounds it (false).
    fn open_or_close(&mut self, name: &str) -> Result<bool, Error> {
        match self.next_tag()? {
            Piece::Open(found) if found == name => Ok(true),
            Piece::Open(found) => Err(not_a_value(format_args!("<{found}> in place of <{name}>"))),
            Piece::Close => Ok(false),
            _ => Err(not_a_value(format_args!("the end in place of <{name}>"))),
        }
    }

    /// All text up to the end of the element that is open.
    fn text(&mut self, name: &str) -> Result<String, Error> {
        let mut all = String::new();
        loop {
            match self.next()? {
                Piece::Text(text) => all.push_str(&text),
                Piece::Close => return Ok(all),
                _ => return Err(not_a_value(format_args!("<{name}> does not end"))),
            }
        }
    }

    /// What is in a `<value>`, its end included.
    fn value(&mut self, depth: usize) -> Result<Value, Error> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(Error::TooLarge { what: "the number of XML-RPC values".into(), limit: MAX_VALUES as u64 });
        }
        if depth > MAX_DEPTH {
            return Err(Error::TooLarge { what: "the depth of an XML-RPC value".into(), limit: MAX_DEPTH as u64 });
        }
        let mut all = String::new();
        loop {
            match self.next()? {
                Piece::Text(text) => all.push_str(&text),
                Piece::Close => return Ok(Value::String(all)),
                Piece::Open(tag) if all.trim().is_empty() => {
                    let value = self.typed(&tag, depth)?;
                    self.expect_close()?;
                    return Ok(value);
                }
                Piece::Open(_) => return Err(not_a_value("text before a tag")),
                Piece::End => return Err(not_a_value("<value> does not end")),
            }
        }
    }

    /// What is in an element that says its type, its end included.
    fn typed(&mut self, tag: &str, depth: usize) -> Result<Value, Error> {
        match tag {
            "struct" => return self.members(depth).map(Value::Struct),
            "array" => return self.elements(depth).map(Value::Array),
            _ => {}
        }
        let text = self.text(tag)?;
        let trimmed = text.trim();
        match tag {
            "string" => Some(Value::String(text)),
            "int" | "i4" | "i8" => trimmed.parse().ok().map(Value::Int),
            "double" => trimmed.parse().ok().map(Value::Double),
            "dateTime.iso8601" => Some(Value::DateTime(text)),
            "boolean" => match trimmed {
                "1" | "true" => Some(Value::Bool(true)),
                "0" | "false" => Some(Value::Bool(false)),
                _ => None,
            },
            "nil" => Some(Value::Nil),
            _ => return Err(not_a_value(format_args!("unknown type <{tag}>"))),
        }
        .ok_or_else(|| not_a_value(format_args!("wrong contents of <{tag}>")))
    }

    fn members(&mut self, depth: usize) -> Result<Struct, Error> {
        let mut fields = Struct::new();
        while self.open_or_close("member")? {
            self.expect_open("name")?;
            let name = self.text("name")?;
            self.expect_open("value")?;
            fields.push(name, self.value(depth + 1)?);
            self.expect_close()?;
        }
        Ok(fields)
    }

    fn elements(&mut self, depth: usize) -> Result<Vec<Value>, Error> {
        let mut elements = Vec::new();
        if self.open_or_close("data")? {
            while self.open_or_close("value")? {
                elements.push(self.value(depth + 1)?);
            }
            self.expect_close()?;
        }
        Ok(elements)
    }
}

/// Only characters and the five names that XML itself knows: nobody can blow a text up.
fn resolve(reference: &BytesRef<'_>) -> Result<String, Error> {
    if let Some(character) = reference.resolve_char_ref().map_err(not_a_value)? {
        return Ok(character.into());
    }
    let name: &str = reference;
    resolve_xml_entity(name).map(str::to_owned).ok_or_else(|| not_a_value(format_args!("unknown entity &{name};")))
}
