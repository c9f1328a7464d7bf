use super::*;

#[test]
fn a_table_has_no_borders_and_no_blanks_at_the_end() {
    let rows = [["web1", "4.0 GiB", ""], ["a longer name", "12 GiB", "x"]].map(|row| row.map(str::to_owned));
    let text = table([Column::Text("NAME"), Column::Number("SIZE"), Column::Text("TAGS")], rows);
    insta::assert_snapshot!(text, @r"
    NAME              SIZE  TAGS
    web1           4.0 GiB
    a longer name   12 GiB  x
    ");
}

#[test]
fn details_leave_out_what_is_not_known() {
    let text = details([("name", "lab".to_owned()), ("pool", String::new()), ("master", "xen1".to_owned())]);
    assert_eq!(text, "name    lab\nmaster  xen1\n");
}

#[test]
fn names_from_a_pool_can_t_play_with_the_terminal() {
    let text = table([Column::Text("NAME")], [["evil\x1b[2J\nline".to_owned()]]);
    assert_eq!(text, "NAME\nevil\u{fffd}[2J\u{fffd}line");
}
