#![allow(clippy::unwrap_used)]

use std::{collections::HashMap, sync::Arc, sync::Mutex};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use xenkeep_api::{JobState, Secret, http::Trust};

use super::*;
use crate::cmd::samples;

/// Answers in turn by path; the last one again and again. None hangs up without a word.
type Script = HashMap<&'static str, Vec<Option<String>>>;

/// A server that says what it was told to, and then hangs up; with the paths that it was asked for.
async fn server(mut script: Script) -> (ApiClient, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&asked);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(socket.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let path = head.split(' ').nth(1).unwrap().replace(&samples::job().id.to_string(), "ID");
            let answers = script.get_mut(path.as_str()).unwrap_or_else(|| panic!("nobody expects {path}"));
            let answer = if answers.len() > 1 { answers.remove(0) } else { answers[0].clone() };
            log.lock().unwrap().push(path);
            if let Some(answer) = answer {
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    });
    (ApiClient::new(&url, Secret::new("t"), &Trust::System).unwrap(), asked)
}

const EVENTS: &str = "/api/v1/jobs/ID/events";
const JOB: &str = "/api/v1/jobs/ID";

fn job(state: JobState) -> Job {
    Job { state, ..samples::job() }
}

fn event(state: JobState) -> String {
    format!("event: job\ndata: {}\n\n", serde_json::to_string(&job(state)).unwrap())
}

fn events(states: &[JobState]) -> Option<String> {
    let events: String = states.iter().map(|state| event(*state)).collect();
    Some(format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{events}"))
}

fn answer(status: &str, body: &str) -> Option<String> {
    let length = body.len();
    Some(format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"))
}

fn state(state: JobState) -> Option<String> {
    answer("200 OK", &serde_json::to_string(&job(state)).unwrap())
}

fn quick() -> Timing {
    let ms = Duration::from_millis;
    Timing { silence: ms(200), pause: ms(5), stream_pause: ms(10), patience: ms(100) }
}

async fn until_the_end(api: &ApiClient) -> Result<(Job, usize), Error> {
    let mut updates = Updates::new(api, samples::job().id, quick());
    let mut seen = 0;
    loop {
        let job = updates.next().await?;
        seen += 1;
        if job.state.is_final() {
            return Ok((job, seen));
        }
    }
}

#[tokio::test]
async fn a_whole_stream_is_enough() {
    let script = [(EVENTS, vec![events(&[JobState::Queued, JobState::Running, JobState::Success])])];
    let (api, asked) = server(script.into()).await;
    let (job, seen) = until_the_end(&api).await.unwrap();
    assert_eq!((job.state, seen), (JobState::Success, 3));
    assert_eq!(*asked.lock().unwrap(), [EVENTS]);
}

#[tokio::test]
async fn a_cut_stream_is_replaced_by_questions() {
    let mut cut = events(&[JobState::Running]).unwrap();
    cut += "event: job\ndata: {\"id\":";
    let script =
        [(EVENTS, vec![Some(cut), None]), (JOB, vec![None, state(JobState::Running), state(JobState::Failed)])];
    let (api, asked) = server(script.into()).await;
    let (job, _) = until_the_end(&api).await.unwrap();
    assert_eq!(job.state, JobState::Failed);
    assert!(asked.lock().unwrap().iter().filter(|path| *path == JOB).count() >= 3);
}

#[tokio::test]
async fn a_stream_that_comes_back_is_used_again() {
    let script = [
        (EVENTS, vec![None, events(&[JobState::Running, JobState::Cancelled])]),
        (JOB, vec![state(JobState::Running)]),
    ];
    let (api, _) = server(script.into()).await;
    let (job, _) = until_the_end(&api).await.unwrap();
    assert_eq!(job.state, JobState::Cancelled);
}

#[tokio::test]
async fn a_server_that_stays_away_is_given_up_after_a_while() {
    let (api, asked) = server([(EVENTS, vec![None]), (JOB, vec![None])].into()).await;
    let error = until_the_end(&api).await.unwrap_err();
    assert!(error.is_transient());
    assert!(asked.lock().unwrap().iter().filter(|path| *path == JOB).count() > 3);
}

#[tokio::test]
async fn a_refusal_ends_it_at_once() {
    let problem = answer("404 Not Found", r#"{"code":"job.not_found","message":"there is no such job","status":404}"#);
    let (api, asked) = server([(EVENTS, vec![problem.clone()]), (JOB, vec![problem])].into()).await;
    let error = until_the_end(&api).await.unwrap_err();
    assert_eq!(error.problem().unwrap().code, "job.not_found");
    assert_eq!(*asked.lock().unwrap(), [EVENTS, JOB]);
}

#[tokio::test]
async fn another_server_is_a_stranger() {
    let page = answer("502 Bad Gateway", "<html>");
    let (api, _) = server([(JOB, vec![page])].into()).await;
    let error = api.job(&samples::job().id.to_string()).await.unwrap_err();
    assert!(matches!(error, Error::Stranger { status: 502, .. }), "{error:?}");
}

#[tokio::test]
async fn a_job_that_has_ended_is_not_asked_for_again() {
    let (api, asked) = server([].into()).await;
    let ended = follow(&api, samples::finished_job(), &mut View::Quiet, OnInterrupt::Leave).await.unwrap();
    assert_eq!(ended, samples::finished_job());
    assert!(asked.lock().unwrap().is_empty());
}
