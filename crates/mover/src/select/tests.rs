use xenkeep_api::{Exclusion, PowerState, SelectedVm, Selection};

use super::takes;

fn vm(name: &str, power_state: PowerState, tags: &[&str]) -> SelectedVm {
    SelectedVm {
        uuid: format!("uuid-of-{name}"),
        name: name.to_owned(),
        power_state,
        tags: tags.iter().map(ToString::to_string).collect(),
    }
}

fn names(selection: &Selection) -> Vec<String> {
    let vms = [
        vm("web1", PowerState::Running, &["prod"]),
        vm("web2", PowerState::Halted, &["prod", "nobackup"]),
        vm("Web-test", PowerState::Running, &["dev"]),
        vm("db", PowerState::Running, &[]),
        vm("x[1]", PowerState::Suspended, &[]),
    ];
    vms.iter().filter(|vm| takes(selection, vm)).map(|vm| vm.name.clone()).collect()
}

fn texts(texts: &[&str]) -> Vec<String> {
    texts.iter().map(ToString::to_string).collect()
}

#[test]
fn selections_take_what_fits_and_leave_what_is_excluded() {
    let none = Selection::default();
    let all = Selection { all: true, ..none.clone() };
    let running = Selection { power_states: vec![PowerState::Running], ..none.clone() };
    let tags = |tags: &[&str]| Selection { tags: texts(tags), ..none.clone() };
    let named = |names: &[&str]| Selection { names: texts(names), ..none.clone() };
    let without = |exclude: Exclusion| Selection { exclude, ..all.clone() };
    for (selection, expected) in [
        (all.clone(), &["web1", "web2", "Web-test", "db", "x[1]"][..]),
        (none.clone(), &[]),
        (tags(&["prod"]), &["web1", "web2"]),
        (tags(&["dev", "nobackup"]), &["web2", "Web-test"]),
        (tags(&["Prod", "pro*"]), &[]),
        (named(&["web*"]), &["web1", "web2", "Web-test"]),
        (named(&["WEB?"]), &["web1", "web2"]),
        (named(&["x[1]"]), &["x[1]"]),
        (named(&["web"]), &[]),
        (running.clone(), &["web1", "Web-test", "db"]),
        (Selection { names: texts(&["web*"]), ..running.clone() }, &["web1", "Web-test"]),
        (Selection { all: true, ..running.clone() }, &["web1", "Web-test", "db"]),
        (Selection { tags: texts(&["prod"]), names: texts(&["db"]), ..none.clone() }, &["web1", "web2", "db"]),
        (
            without(Exclusion { vms: texts(&["db", "UUID-OF-web1"]), ..Exclusion::default() }),
            &["web2", "Web-test", "x[1]"],
        ),
        (without(Exclusion { tags: texts(&["nobackup", "dev"]), ..Exclusion::default() }), &["web1", "db", "x[1]"]),
        (without(Exclusion { names: texts(&["*test", "x*"]), ..Exclusion::default() }), &["web1", "web2", "db"]),
        (
            Selection { exclude: Exclusion { names: texts(&["*2"]), ..Exclusion::default() }, ..tags(&["prod"]) },
            &["web1"],
        ),
    ] {
        assert_eq!(names(&selection), expected, "{selection}");
    }
}
