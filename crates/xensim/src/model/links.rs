//! References that point both ways: clients write the single side, the server keeps the set side.

use std::sync::OnceLock;

use super::Class;

const TABLE: &str = include_str!("schema/links.txt");

/// One such pair: `VBD.VM` and `VM.VBDs`.
#[derive(Debug, PartialEq, Eq)]
pub struct Link {
    /// Class and field that hold one reference.
    pub one: (Class, &'static str),
    /// Class and field that hold all objects whose `one` points here.
    pub many: (Class, &'static str),
}

/// All pairs.
pub fn links() -> &'static [Link] {
    static LINKS: OnceLock<Vec<Link>> = OnceLock::new();
    LINKS.get_or_init(|| TABLE.lines().map(parse).collect())
}

/// The pairs that a class has a side in.
pub(super) fn links_of(class: Class) -> impl Iterator<Item = &'static Link> {
    links().iter().filter(move |link| link.one.0 == class || link.many.0 == class)
}

fn parse(line: &'static str) -> Link {
    let (one, many) = line.split_once(' ').expect("the table is our own: two sides a line");
    let side = |text: &'static str| {
        let (class, field) = text.split_once('.').expect("the table is our own: CLASS.FIELD");
        (Class::parse(class).expect("the table is our own: a known class"), field)
    };
    Link { one: side(one), many: side(many) }
}
