//! XML-RPC: values, calls and answers as text.

use quick_xml::{
    Reader,
    events::{BytesRef, Event},
};

use crate::model::{Map, Value, date_from_text, date_text};

/// Values deeper than this are refused.
const MAX_DEPTH: usize = 64;

/// The text isn't XML-RPC.
#[derive(Debug, thiserror::Error)]
#[error("not XML-RPC: {0}")]
pub struct XmlError(String);

fn bad<T>(what: impl Into<String>) -> Result<T, XmlError> {
    Err(XmlError(what.into()))
}

/// Writes `<value>…</value>` as XAPI does: text and integers bare, all else tagged.
pub fn to_text(value: &Value) -> String {
    let mut text = String::new();
    write_value(&mut text, value);
    text
}

/// Writes a whole `methodResponse`.
pub(super) fn response(value: &Value) -> String {
    let mut text = String::from("<?xml version=\"1.0\"?><methodResponse><params><param>");
    write_value(&mut text, value);
    text.push_str("</param></params></methodResponse>");
    text
}

/// Writes a fault, which XAPI sends only for what never reached its dispatcher.
pub(super) fn fault(code: i64, message: &str) -> String {
    let value = Value::map([("faultCode", Value::Int(code)), ("faultString", Value::from(message))]);
    let mut text = String::from("<?xml version=\"1.0\"?><methodResponse><fault>");
    // Standard clients want a tagged number here.
    text.push_str(&to_text(&value).replacen(
        &format!("<value>{code}</value>"),
        &format!("<value><int>{code}</int></value>"),
        1,
    ));
    text.push_str("</fault></methodResponse>");
    text
}

fn write_value(out: &mut String, value: &Value) {
    out.push_str("<value>");
    match value {
        Value::Nil => {}
        Value::Str(text) => escape(out, text),
        Value::Int(number) => out.push_str(&number.to_string()),
        Value::TaggedInt(number) => out.push_str(&format!("<i4>{number}</i4>")),
        Value::Float(number) => out.push_str(&format!("<double>{number:?}</double>")),
        Value::Bool(truth) => out.push_str(&format!("<boolean>{}</boolean>", u8::from(*truth))),
        Value::Date(seconds) => {
            out.push_str(&format!("<dateTime.iso8601>{}</dateTime.iso8601>", date_text(*seconds)));
        }
        Value::Set(members) => {
            out.push_str("<array><data>");
            members.iter().for_each(|member| write_value(out, member));
            out.push_str("</data></array>");
        }
        Value::Map(map) => {
            out.push_str("<struct>");
            for (name, member) in map {
                out.push_str("<member><name>");
                escape(out, name);
                out.push_str("</name>");
                write_value(out, member);
                out.push_str("</member>");
            }
            out.push_str("</struct>");
        }
    }
    out.push_str("</value>");
}

/// Escapes what XML needs escaped, and drops the control characters that XML can't hold.
fn escape(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\t' | '\n' | '\r' => out.push(c),
            c if c < ' ' || c == '\u{fffe}' || c == '\u{ffff}' => {}
            c => out.push(c),
        }
    }
}

/// Reads one `<value>…</value>`.
pub fn from_text(text: &[u8]) -> Result<Value, XmlError> {
    let mut tokens = Tokens::new(text)?;
    tokens.open("value")?;
    let value = read_value(&mut tokens, 0)?;
    tokens.end()?;
    Ok(value)
}

/// Reads a `methodCall`: the method and its parameters.
pub(super) fn call(text: &[u8]) -> Result<(String, Vec<Value>), XmlError> {
    let mut tokens = Tokens::new(text)?;
    tokens.open("methodCall")?;
    tokens.open("methodName")?;
    let method = tokens.text_until_close()?.trim().to_owned();
    let mut params = Vec::new();
    match tokens.next_solid()? {
        Token::Close => return Ok((method, params)),
        Token::Open(name) if name == "params" => {}
        other => return bad(format!("{other:?} after the method's name")),
    }
    loop {
        match tokens.next_solid()? {
            Token::Close => break,
            Token::Open(name) if name == "param" => {
                tokens.open("value")?;
                params.push(read_value(&mut tokens, 0)?);
                tokens.close()?;
            }
            other => return bad(format!("{other:?} among the parameters")),
        }
    }
    tokens.close()?;
    tokens.end()?;
    Ok((method, params))
}

/// Reads what follows `<value>`, up to and with `</value>`.
fn read_value(tokens: &mut Tokens<'_>, depth: usize) -> Result<Value, XmlError> {
    if depth > MAX_DEPTH {
        return bad("too deep");
    }
    let mut text = String::new();
    let tag = loop {
        match tokens.next()? {
            Token::Text(more) => text.push_str(&more),
            Token::Close => return Ok(Value::Str(text)),
            Token::Open(tag) => break tag,
            Token::End => return bad("it ends early"),
        }
    };
    if !text.trim().is_empty() {
        return bad("text beside a tag in a value");
    }
    let value = match tag.as_str() {
        "array" => read_array(tokens, depth)?,
        "struct" => read_struct(tokens, depth)?,
        scalar => read_scalar(scalar, &tokens.text_until_close()?)?,
    };
    tokens.close()?;
    Ok(value)
}

fn read_scalar(tag: &str, text: &str) -> Result<Value, XmlError> {
    let word = text.trim();
    let value = match tag {
        "string" => Some(Value::from(text)),
        "int" | "i4" | "i8" => word.parse().ok().map(Value::Int),
        "double" => word.parse().ok().map(Value::Float),
        "boolean" => match word {
            "1" | "true" => Some(Value::Bool(true)),
            "0" | "false" => Some(Value::Bool(false)),
            _ => None,
        },
        "dateTime.iso8601" => date_from_text(word).map(Value::Date),
        "nil" => Some(Value::Nil),
        "base64" => Some(Value::from(word)),
        _ => None,
    };
    value.ok_or_else(|| XmlError(format!("<{tag}>{word}</{tag}>")))
}

fn read_array(tokens: &mut Tokens<'_>, depth: usize) -> Result<Value, XmlError> {
    let mut members = Vec::new();
    tokens.open("data")?;
    loop {
        match tokens.next_solid()? {
            Token::Close => break,
            Token::Open(name) if name == "value" => members.push(read_value(tokens, depth + 1)?),
            other => return bad(format!("{other:?} in an array")),
        }
    }
    tokens.close()?;
    Ok(Value::Set(members))
}

fn read_struct(tokens: &mut Tokens<'_>, depth: usize) -> Result<Value, XmlError> {
    let mut map = Map::new();
    loop {
        match tokens.next_solid()? {
            Token::Close => return Ok(Value::Map(map)),
            Token::Open(name) if name == "member" => {
                tokens.open("name")?;
                let name = tokens.text_until_close()?;
                tokens.open("value")?;
                map.insert(name, read_value(tokens, depth + 1)?);
                tokens.close()?;
            }
            other => return bad(format!("{other:?} in a struct")),
        }
    }
}

#[derive(Debug)]
enum Token {
    Open(String),
    Close,
    Text(String),
    End,
}

struct Tokens<'a> {
    reader: Reader<&'a [u8]>,
}

impl<'a> Tokens<'a> {
    fn new(text: &'a [u8]) -> Result<Tokens<'a>, XmlError> {
        let text = std::str::from_utf8(text).map_err(|error| XmlError(error.to_string()))?;
        let mut reader = Reader::from_str(text);
        reader.config_mut().expand_empty_elements = true;
        Ok(Tokens { reader })
    }

    fn next(&mut self) -> Result<Token, XmlError> {
        loop {
            let event = self.reader.read_event().map_err(|error| XmlError(error.to_string()))?;
            let token = match event {
                Event::Start(tag) => Token::Open(tag.name().into_inner().to_owned()),
                Event::End(_) => Token::Close,
                Event::Text(text) => Token::Text(text.xml10_content().into_owned()),
                Event::CData(text) => Token::Text(text.xml10_content().into_owned()),
                Event::GeneralRef(reference) => Token::Text(resolve(&reference)?),
                Event::Eof => Token::End,
                Event::DocType(_) => return bad("a document type"),
                Event::Decl(_) | Event::PI(_) | Event::Comment(_) => continue,
                Event::Empty(_) => continue,
            };
            return Ok(token);
        }
    }

    /// The next token that isn't white space.
    fn next_solid(&mut self) -> Result<Token, XmlError> {
        loop {
            match self.next()? {
                Token::Text(text) if text.trim().is_empty() => {}
                token => return Ok(token),
            }
        }
    }

    fn open(&mut self, wanted: &str) -> Result<(), XmlError> {
        match self.next_solid()? {
            Token::Open(name) if name == wanted => Ok(()),
            other => bad(format!("{other:?} where <{wanted}> should be")),
        }
    }

    fn close(&mut self) -> Result<(), XmlError> {
        match self.next_solid()? {
            Token::Close => Ok(()),
            other => bad(format!("{other:?} where a tag should close")),
        }
    }

    fn end(&mut self) -> Result<(), XmlError> {
        match self.next_solid()? {
            Token::End => Ok(()),
            other => bad(format!("{other:?} after the end")),
        }
    }

    fn text_until_close(&mut self) -> Result<String, XmlError> {
        let mut text = String::new();
        loop {
            match self.next()? {
                Token::Text(more) => text.push_str(&more),
                Token::Close => return Ok(text),
                other => return bad(format!("{other:?} where text should be")),
            }
        }
    }
}

fn resolve(reference: &BytesRef<'_>) -> Result<String, XmlError> {
    if let Some(c) = reference.resolve_char_ref().map_err(|error| XmlError(error.to_string()))? {
        return Ok(c.to_string());
    }
    let name: &str = reference;
    match quick_xml::escape::resolve_predefined_entity(name) {
        Some(text) => Ok(text.to_owned()),
        None => bad(format!("&{name};")),
    }
}

#[cfg(test)]
#[path = "xml_tests.rs"]
mod tests;
