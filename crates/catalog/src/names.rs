//! What people type: names, ids, and the beginnings of ids.

use xenkeep_api::Problem;

/// How many candidates a hint lists before it says "…".
const SHOWN: usize = 12;

/// Nothing bears this name; `known` is what there is, `otherwise` what to do if there is nothing.
pub(crate) fn not_found(noun: &str, name: &str, known: &[String], otherwise: &str) -> Problem {
    let hint = if known.is_empty() { otherwise.to_owned() } else { format!("there are: {}", listed(known)) };
    Problem::new(format!("{noun}.not_found"), format!("there is no {noun} {}", quoted(name))).hint(hint).about(name)
}

/// Several ids begin like this.
pub(crate) fn ambiguous(noun: &str, prefix: &str, matches: &[String]) -> Problem {
    Problem::new(format!("{noun}.ambiguous"), format!("several {noun}s have an id that begins with {prefix}"))
        .hint(format!("type more of it: {}", listed(matches)))
        .about(prefix)
}

/// The beginning of an id, made of hex digits (and, for uuids, hyphens), as it is stored; none if it can't be one.
pub(crate) fn id_prefix(text: &str, longest: usize) -> Option<String> {
    let fits = !text.is_empty()
        && text.len() <= longest
        && text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    fits.then(|| text.to_ascii_lowercase())
}

fn listed(names: &[String]) -> String {
    let mut text = names.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if names.len() > SHOWN {
        text.push_str(", …");
    }
    text
}

/// A name from outside inside a sentence: no line breaks or control codes, not endless.
fn quoted(name: &str) -> String {
    let mut text: String = name.chars().filter(|c| !c.is_control()).take(80).collect();
    if name.chars().count() > 80 {
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hints_name_what_there_is() {
        let problem = not_found("client", "lob", &["lab".to_owned(), "prod".to_owned()], "add one");
        assert_eq!(problem.code, "client.not_found");
        assert_eq!(problem.hint.as_deref(), Some("there are: lab, prod"));
        assert_eq!(not_found("client", "lob", &[], "add one").hint.as_deref(), Some("add one"));
    }

    #[test]
    fn hostile_names_stay_one_short_line() {
        let problem = not_found("client", &format!("a\nb\u{1b}[31m{}", "x".repeat(1000)), &[], "");
        assert!(!problem.message.contains(['\n', '\u{1b}']));
        assert!(problem.message.chars().count() < 120, "{}", problem.message);
    }

    #[test]
    fn id_prefixes_are_hex() {
        assert_eq!(id_prefix("AB-c", 36).as_deref(), Some("ab-c"));
        for bad in ["", "xyz", "ab%", "a b", "'"] {
            assert_eq!(id_prefix(bad, 36), None, "{bad:?}");
        }
        assert_eq!(id_prefix(&"a".repeat(65), 64), None);
    }
}
