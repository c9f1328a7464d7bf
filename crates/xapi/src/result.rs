//! Results of tasks: XML-RPC text of a value, for JSON clients too.

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::refs::Ref;

/// A result larger than this is cut off: results are references and short texts.
const LEAVES_MAX: usize = 100_000;

/// What a task came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TaskResult {
    leaves: Vec<String>,
}

impl TaskResult {
    /// Reads `<value>…</value>`, with an array or not. Text that is no XML stands for itself; some releases say
    /// references so.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        if !text.starts_with('<') {
            return Self { leaves: if text.is_empty() { Vec::new() } else { vec![text.to_owned()] } };
        }
        Self { leaves: leaves(text).unwrap_or_default() }
    }

    /// The one text; empty for a result without one.
    #[must_use]
    pub fn text(&self) -> &str {
        self.leaves.first().map_or("", String::as_str)
    }

    /// All texts of an array.
    #[must_use]
    pub fn texts(&self) -> &[String] {
        &self.leaves
    }

    /// The one reference.
    #[must_use]
    pub fn reference<R: Ref>(&self) -> Option<R> {
        self.references().into_iter().next()
    }

    /// All references, null ones left out.
    #[must_use]
    pub fn references<R: Ref>(&self) -> Vec<R> {
        self.leaves
            .iter()
            .filter(|text| text.starts_with("OpaqueRef:"))
            .map(|text| R::from(text.clone()))
            .filter(|reference| !reference.is_null())
            .collect()
    }
}

/// Texts of all `<value>`s that hold no others, in order.
fn leaves(text: &str) -> Option<Vec<String>> {
    let mut reader = Reader::from_str(text);
    let mut found = Vec::new();
    let mut current: Option<String> = None;
    let mut seen_value = false;
    loop {
        match reader.read_event().ok()? {
            Event::Start(tag) => match tag.name().as_ref() {
                "value" => {
                    seen_value = true;
                    current = Some(String::new());
                }
                "array" | "struct" => current = None,
                _ => {}
            },
            Event::Empty(tag) if tag.name().as_ref() == "value" => seen_value = true,
            Event::Text(part) => {
                if let Some(current) = current.as_mut() {
                    current.push_str(&part);
                }
            }
            Event::CData(part) => {
                if let Some(current) = current.as_mut() {
                    current.push_str(&part);
                }
            }
            Event::GeneralRef(part) => {
                if let Some(current) = current.as_mut() {
                    let resolved = match part.resolve_char_ref().ok()? {
                        Some(c) => c.to_string(),
                        None => quick_xml::escape::resolve_predefined_entity(&part)?.to_owned(),
                    };
                    current.push_str(&resolved);
                }
            }
            Event::End(tag) if tag.name().as_ref() == "value" => {
                if let Some(leaf) = current.take() {
                    if !leaf.is_empty() {
                        found.push(leaf);
                    }
                    if found.len() > LEAVES_MAX {
                        return None;
                    }
                }
            }
            Event::Eof => return seen_value.then_some(found),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{VdiRef, VmRef};

    #[test]
    fn reads_what_xapi_writes() {
        let one = TaskResult::parse("<value>OpaqueRef:1</value>");
        assert_eq!(one.reference::<VmRef>().unwrap(), VmRef::from("OpaqueRef:1"));
        let two = TaskResult::parse(
            "<value><array><data><value>OpaqueRef:1</value><value>OpaqueRef:2</value></data></array></value>",
        );
        assert_eq!(two.references::<VdiRef>().len(), 2);
        let tagged = TaskResult::parse("<value><string>a &amp; b &#x41;</string></value>");
        assert_eq!(tagged.text(), "a & b A");
        for nothing in ["", " ", "<value></value>", "<value/>", "<value><array><data/></array></value>"] {
            let result = TaskResult::parse(nothing);
            assert_eq!((result.text(), result.references::<VmRef>().len()), ("", 0), "{nothing}");
        }
        assert!(TaskResult::parse("<value>OpaqueRef:NULL</value>").reference::<VmRef>().is_none());
    }

    #[test]
    fn takes_bare_text_and_survives_nonsense() {
        assert!(TaskResult::parse("OpaqueRef:1").reference::<VmRef>().is_some());
        for odd in ["<", "<value>", "<value>&bad;</value>", "<a><b></a>", "<value><value><value>", "</value>"] {
            assert_eq!(TaskResult::parse(odd).references::<VmRef>().len(), 0, "{odd}");
        }
    }
}
