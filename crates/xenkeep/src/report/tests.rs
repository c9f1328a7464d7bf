use anyhow::{Context as _, anyhow};

use super::*;

#[test]
fn causes_and_hint_follow_the_sentence() {
    let error = anyhow!("no such file").context("the password can't be read from f");
    assert_eq!(for_people(&error), "error: the password can't be read from f\n  cause: no such file\n");

    let problem = Problem::new("vm.not_found", "no VM on lab is called web2").hint("`xenkeep vm list lab` shows all");
    let error = anyhow::Error::from(http::Error::Problem { status: 404, problem });
    assert_eq!(for_people(&error), "error: no VM on lab is called web2\nhint: `xenkeep vm list lab` shows all\n");
}

#[test]
fn a_cause_that_was_said_is_not_repeated() {
    let error = anyhow!("timed out").context("request failed: timed out").context("no answer");
    assert_eq!(for_people(&error), "error: no answer\n  cause: request failed: timed out\n");
}

#[test]
fn programs_get_one_line_with_a_code() {
    let problem = Problem::new("sr.full", "SR fast has 1 GiB, 4 GiB are needed").hint("choose another").about("fast");
    let error = Err::<(), _>(problem).context("wrapped").err();
    let text = error.map(|error| for_programs(&error));
    assert_eq!(
        text.as_deref(),
        Some(
            "{\"code\":\"sr.full\",\"message\":\"SR fast has 1 GiB, 4 GiB are needed\",\"hint\":\"choose another\",\"about\":\"fast\"}\n"
        )
    );
    let error = anyhow!("deep").context("above");
    assert_eq!(for_programs(&error), "{\"code\":\"failed\",\"message\":\"above: deep\"}\n");
}

#[test]
fn usage_and_failure_have_their_own_exit_codes() {
    assert_eq!(failure(&Usage::new("say --yes").into(), Format::Table), Exit::Usage);
    assert_eq!(failure(&anyhow!("no"), Format::Json), Exit::Failed);
}

#[test]
fn a_closed_pipe_is_no_story() {
    assert!(is_broken_pipe(&anyhow::Error::from(io::Error::from(io::ErrorKind::BrokenPipe)).context("printing")));
    assert!(!is_broken_pipe(&anyhow::Error::from(io::Error::from(io::ErrorKind::NotFound))));
}
