//! Waiting for tasks.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use serde_json::json;
use tokio_util::sync::CancellationToken;
use xapi::{Error, TaskRef, VmRef};

use crate::fake::{Fake, Reply, task, task_event};

fn the_task() -> TaskRef {
    TaskRef::from("OpaqueRef:task")
}

#[tokio::test]
async fn waits_by_events_and_tells_progress() {
    let round = AtomicUsize::new(0);
    let host = Fake::plain(move |request| match request.call.as_str() {
        "event.from" => {
            assert_eq!(request.params[1], json!(["task/OpaqueRef:task"]));
            assert!(request.params[3].is_f64(), "xapi wants a float");
            match round.fetch_add(1, Ordering::SeqCst) {
                0 => {
                    assert_eq!(request.params[2], "");
                    Reply::Value(task_event(&task("pending", "", &[])))
                }
                1 => {
                    assert_eq!(request.params[2], "00000000000000000001,00000000000000000000");
                    let mut nothing = task_event(&json!({}));
                    nothing["events"] = json!([]);
                    Reply::Value(nothing)
                }
                _ => Reply::Value(task_event(&task("success", "<value>OpaqueRef:vm</value>", &[]))),
            }
        }
        "task.get_record" => Reply::Value(task("pending", "", &[])),
        _ => Reply::Usual,
    })
    .await;
    let mut heard = Vec::new();
    let pool = host.login().await;
    let result = pool.task(the_task()).wait(&CancellationToken::new(), |part| heard.push(part)).await.unwrap();
    assert_eq!(result.reference(), Some(VmRef::from("OpaqueRef:vm")));
    assert_eq!(heard, [0.5]);
    assert_eq!(host.calls()[1..], ["event.from", "event.from", "task.get_record", "event.from", "task.destroy"]);
}

#[tokio::test]
async fn failure_is_the_tasks_own_error() {
    let host = Fake::plain(|request| match request.call.as_str() {
        "event.from" => Reply::Value(task_event(&task("failure", "", &["SR_BACKEND_FAILURE_44", "", "no space", ""]))),
        _ => Reply::Usual,
    })
    .await;
    let error = host.login().await.task(the_task()).wait(&CancellationToken::new(), |_| {}).await.unwrap_err();
    assert!(error.is_sr_full(), "{error:?}");
    assert_eq!(host.calls().last().unwrap(), "task.destroy");
}

#[tokio::test]
async fn cancelled_on_the_pool_is_cancelled() {
    for record in [task("cancelled", "", &[]), task("failure", "", &["TASK_CANCELLED", "OpaqueRef:task"])] {
        let host = Fake::plain(move |request| match request.call.as_str() {
            "event.from" => Reply::Value(task_event(&record)),
            _ => Reply::Usual,
        })
        .await;
        let outcome = host.login().await.task(the_task()).wait(&CancellationToken::new(), |_| {}).await;
        assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
    }
}

#[tokio::test]
async fn asks_where_events_do_not_work() {
    let asked = AtomicUsize::new(0);
    let host = Fake::plain(move |request| match request.call.as_str() {
        "event.from" => Reply::failure("MESSAGE_METHOD_UNKNOWN", ["event.from"]),
        "task.get_record" if asked.fetch_add(1, Ordering::SeqCst) == 0 => Reply::Value(task("pending", "", &[])),
        "task.get_record" => Reply::Value(task("success", "", &[])),
        _ => Reply::Usual,
    })
    .await;
    host.login().await.task(the_task()).wait(&CancellationToken::new(), |_| {}).await.unwrap();
}

#[tokio::test]
async fn a_task_that_vanishes_is_lost() {
    let mut event = task_event(&json!({}));
    event["events"][0]["operation"] = json!("del");
    let host = Fake::plain(move |request| match request.call.as_str() {
        "event.from" => Reply::Value(event.clone()),
        _ => Reply::Usual,
    })
    .await;
    let outcome = host.login().await.task(the_task()).wait(&CancellationToken::new(), |_| {}).await;
    assert!(matches!(outcome, Err(Error::TaskLost { .. })), "{outcome:?}");
}

#[tokio::test]
async fn outlives_a_broken_connection() {
    let round = AtomicUsize::new(0);
    let host = Fake::plain(move |request| match request.call.as_str() {
        "event.from" if round.fetch_add(1, Ordering::SeqCst) < 4 => Reply::HangUp,
        "event.from" => {
            assert_eq!(request.params[2], "", "the token may be of another life");
            Reply::Value(task_event(&task("success", "", &[])))
        }
        _ => Reply::Usual,
    })
    .await;
    host.login().await.task(the_task()).wait(&CancellationToken::new(), |_| {}).await.unwrap();
}

/// A pool whose task ends as `ended` once it was cancelled.
async fn cancellable(ended: serde_json::Value) -> Fake {
    let cancelled = Arc::new(AtomicBool::new(false));
    Fake::plain(move |request| match request.call.as_str() {
        "event.from" if cancelled.load(Ordering::SeqCst) => Reply::Value(task_event(&ended)),
        "event.from" => Reply::Silence,
        "task.cancel" => {
            cancelled.store(true, Ordering::SeqCst);
            Reply::Usual
        }
        _ => Reply::Usual,
    })
    .await
}

#[tokio::test]
async fn a_wish_to_cancel_is_handed_on() {
    let host = cancellable(task("cancelled", "", &[])).await;
    let cancel = CancellationToken::new();
    let pool = host.login().await;
    let wait = tokio::spawn({
        let cancel = cancel.clone();
        async move { pool.task(the_task()).wait(&cancel, |_| {}).await }
    });
    while !host.calls().contains(&"event.from".to_owned()) {
        tokio::task::yield_now().await;
    }
    cancel.cancel();
    assert!(matches!(wait.await.unwrap(), Err(Error::Cancelled)));
    assert_eq!(host.calls().last().unwrap(), "task.destroy");
}

#[tokio::test]
async fn what_succeeds_though_cancelled_is_told() {
    let host = cancellable(task("success", "<value>OpaqueRef:vm</value>", &[])).await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let pool = host.login().await;
    let result = pool.task(the_task()).wait(&cancel, |_| {}).await.unwrap();
    assert!(result.reference::<VmRef>().is_some(), "someone has to undo it");
    let result = pool.task(the_task()).abandon().await.unwrap().unwrap();
    assert!(result.reference::<VmRef>().is_some());
}

#[tokio::test]
async fn a_task_that_ignores_the_wish_is_left() {
    let host = Fake::plain(|request| match request.call.as_str() {
        "event.from" => Reply::Silence,
        "task.get_record" => Reply::Value(task("pending", "", &[])),
        _ => Reply::Usual,
    })
    .await;
    let cancel = CancellationToken::new();
    cancel.cancel();
    let outcome = host.login_impatiently().await.task(the_task()).wait(&cancel, |_| {}).await;
    assert!(matches!(outcome, Err(Error::Cancelled)), "{outcome:?}");
}
