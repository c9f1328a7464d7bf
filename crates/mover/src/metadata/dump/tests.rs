use super::*;

const WHOLE: &str = concat!(
    "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<database><manifest><pair key=\"schema_major_vsn\" value=\"5\"/>",
    "<pair key=\"schema_minor_vsn\" value=\"787\"/><pair key=\"generation_count\" value=\"12\"/></manifest>",
    "<table name=\"session\"/>",
    "<table name=\"pool\"><row ref=\"OpaqueRef:p\" __ctime=\"1\" __mtime=\"2\" master=\"OpaqueRef:h1\" name__label=\"\"/></table>",
    "<table name=\"host\"><row ref=\"OpaqueRef:h2\" name__label=\"b\"/><row ref=\"OpaqueRef:h1\" name__label=\"host%.a%%\" ",
    "software_version=\"(('product_brand'%.'XCP-ng')%.('product_version'%.'8.3.0'))\"/></table>",
    "<table name=\"SR\"><row ref=\"OpaqueRef:s\" name__label=\"local\"/></table>",
    "<table name=\"VM\"><row ref=\"OpaqueRef:v\" name__label=\"web &amp; db\" is_a_template=\"false\"/>",
    "<row ref=\"OpaqueRef:t\" name__label=\"template\" is_a_template=\"true\"/></table></database>",
);

fn look(xml: &str) -> Result<DatabaseSummary, String> {
    read(xml.as_bytes())
}

#[test]
fn the_summary_names_what_is_in_it() {
    let summary = look(WHOLE).unwrap();
    assert_eq!((summary.schema.as_str(), summary.tables, summary.rows), ("5.787", 5, 6));
    assert_eq!((summary.master.as_str(), summary.product.as_str()), ("host a%", "XCP-ng 8.3.0"));
    assert_eq!((summary.hosts, summary.srs), (vec!["b".to_owned(), "host a%".into()], vec!["local".to_owned()]));
    assert_eq!((summary.vms, summary.networks.len()), (vec!["web & db".to_owned()], 0));
    assert!(look(&format!("{WHOLE}\n")).is_ok());
}

#[test]
fn any_other_end_is_refused() {
    for end in 0..WHOLE.len() {
        if WHOLE.is_char_boundary(end) {
            assert!(look(&WHOLE[..end]).is_err(), "{end}");
        }
    }
    let failed = format!("{WHOLE}HTTP/1.1 500 Internal Error\r\nContent-Type: text/html\r\n\r\n<html></html>");
    assert!(look(&failed).unwrap_err().contains("follows its end"));
    let half = WHOLE.find("<table name=\"SR\"").unwrap();
    assert!(
        look(&format!("{}HTTP/1.1 500 Internal Error\r\n\r\n<html><body>x</body></html>", &WHOLE[..half])).is_err()
    );
}

#[test]
fn what_is_no_database_is_refused() {
    let empty = "<database><manifest><pair key=\"schema_major_vsn\" value=\"5\"/></manifest></database>";
    assert!(look(empty).unwrap_err().contains("upgraded"));
    for bad in ["", "text", "<html></html>", "<database><table></database>", "<database a=></database>"] {
        assert!(look(bad).is_err(), "{bad}");
    }
    assert!(look(&WHOLE.replace("schema_minor_vsn", "another")).unwrap_err().contains("version of its schema"));
    assert!(look(&WHOLE.replace("web &amp;", "web &nothing;")).is_err());
    assert!(read(&b"<database><table name=\"\xff\"/></database>"[..]).is_err());
    assert!(look(&"<database>".repeat(100)).is_err());
}

#[test]
fn a_row_without_end_takes_no_memory_without_end() {
    let endless = io::BufReader::new(b"<database><table name=\"".chain(io::repeat(b'x')));
    assert!(read(endless).unwrap_err().contains("too long"));
}
