use std::time::Duration;

use super::{error, r, s};
use crate::{
    error::ApiError,
    model::{Class, Ref, Value},
    task::Task,
    testing::Bench,
};

async fn finished(bench: &Bench, task: &Ref) -> String {
    let mut changes = bench.world.db.changes();
    while bench.text(task, "status") == "pending" {
        changes.changed().await.unwrap();
    }
    bench.text(task, "status")
}

#[tokio::test]
async fn a_call_runs_behind_a_task() {
    let bench = Bench::new().await;
    let task = bench.made("Async.VM.snapshot", [r(&bench.vm), s("snap")]).await;
    assert_eq!(finished(&bench, &task).await, "success");
    let snapshot = bench.named(Class::Vm, "snap");
    assert_eq!(bench.text(&task, "result"), format!("<value>{snapshot}</value>"));
    assert_eq!(bench.text(&task, "name_label"), "Async.VM.snapshot");

    let task = bench.made("Async.VM.clean_shutdown", [r(&bench.vm)]).await;
    assert_eq!(finished(&bench, &task).await, "failure");
    let words = bench.world.db.read(|t| t.texts(&task, "error_info"));
    assert_eq!(words, ["VM_BAD_POWER_STATE", bench.vm.as_str(), "running", "halted"]);
    assert_eq!(bench.done("task.get_progress", [r(&task)]).await, Value::Float(1.0));

    let task = bench.made("Async.VM.destroy", [r(&snapshot)]).await;
    finished(&bench, &task).await;
    assert_eq!(bench.text(&task, "result"), "<value></value>");
    bench.done("task.destroy", [r(&task)]).await;
    assert_eq!(bench.refused("task.get_status", [r(&task)]).await, error("HANDLE_INVALID", ["task", task.as_str()]));
}

#[tokio::test]
async fn a_task_of_a_client_is_taken_over_and_cancelled() {
    let bench = Bench::new().await;
    let made = bench.made("task.create", [s("label"), s("description")]).await;
    let task = Task::adopt(&bench.world, made.as_str()).unwrap();
    task.set_progress(0.5);
    bench.done("task.cancel", [r(&made)]).await;
    assert!(task.is_cancelled() && task.is_pending(), "the worker has to see it");
    task.fail(&task.cancelled_error());
    assert_eq!(bench.text(&made, "status"), "cancelled");
    task.succeed_with(&s("late"));
    assert_eq!(bench.text(&made, "result"), "", "what is finished stays");
    bench.done("task.cancel", [r(&made)]).await;

    let idle = bench.made("task.create", [s("label"), s("")]).await;
    bench.done("task.cancel", [r(&idle)]).await;
    assert_eq!(bench.text(&idle, "status"), "cancelled", "nobody works on it");
    assert_eq!(Task::adopt(&bench.world, "OpaqueRef:x").unwrap_err().code, "HANDLE_INVALID");
}

#[tokio::test]
async fn a_client_reports_its_own_work() {
    let bench = Bench::new().await;
    let task = bench.made("task.create", [s("label"), s("")]).await;
    bench.done("task.set_progress", [r(&task), Value::Float(0.25)]).await;
    bench.done("task.set_status", [r(&task), s("success")]).await;
    assert_eq!(bench.text(&task, "status"), "success");
    assert_eq!(bench.refused("task.set_progress", [r(&task), Value::Float(0.5)]).await.0, "OPERATION_NOT_ALLOWED");
    bench.done("task.add_to_other_config", [r(&task), s("k"), s("v")]).await;
}

#[tokio::test]
async fn old_tasks_are_swept_out() {
    let bench = Bench::new().await;
    let done = Task::start(&bench.world, None, "done", 0);
    done.succeed_empty();
    let failed = Task::start(&bench.world, None, "failed", 0);
    failed.fail(&ApiError::internal("x"));
    let pending = Task::start(&bench.world, None, "pending", 0);
    let still = Task::start(&bench.world, None, "still", 0);
    let there = |task: &Task| bench.world.db.read(|t| t.has(Class::Task, task.reference()));
    bench.world.clock.advance(Duration::from_secs(64 * 60));
    bench.world.sweep();
    assert!(there(&done) && there(&failed));
    bench.world.clock.advance(Duration::from_secs(2 * 60));
    bench.world.sweep();
    assert!(!there(&done) && !there(&failed) && there(&pending));
    bench.world.clock.advance(Duration::from_secs(24 * 3600));
    pending.set_progress(0.1);
    bench.world.sweep();
    assert!(there(&pending), "it moves");
    assert!(!there(&still));
    bench.world.sweep();
    assert!(!there(&pending), "it moves no more");

    for number in 0..210 {
        Task::start(&bench.world, None, &number.to_string(), 0).succeed_empty();
    }
    bench.world.sweep();
    assert_eq!(bench.count(Class::Task), 200);
}

#[tokio::test]
async fn destroying_a_pending_task_waits_for_its_end() {
    let bench = Bench::new().await;
    let task = Task::start(&bench.world, None, "t", 0);
    bench.done("task.destroy", [r(task.reference())]).await;
    assert!(task.is_pending());
    task.succeed_empty();
    assert_eq!(bench.count(Class::Task), 0);
}

async fn events(bench: &Bench, classes: &[&str], token: &str) -> (Vec<(String, String, String)>, String) {
    let answer = bench.done("event.from", [Value::texts(classes), s(token), Value::Float(0.0)]).await;
    let answer = answer.as_map().unwrap();
    let events = answer["events"].as_set().unwrap().iter().map(|event| {
        let event = event.as_map().unwrap();
        let text = |key: &str| event[key].as_str().unwrap().to_owned();
        assert_eq!(event.contains_key("snapshot"), text("operation") != "del");
        (text("class"), text("operation"), text("ref"))
    });
    (events.collect(), answer["token"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn events_are_coalesced() {
    let bench = Bench::new().await;
    let (all, token) = events(&bench, &["vm"], "").await;
    assert!(all.iter().all(|(class, operation, _)| class == "vm" && operation == "add"));
    assert_eq!(all.len(), bench.count(Class::Vm));
    assert_eq!(events(&bench, &["vm"], &token).await.0, []);

    let vm = bench.vm.to_string();
    bench.done("VM.set_name_label", [r(&bench.vm), s("a")]).await;
    bench.done("VM.set_name_label", [r(&bench.vm), s("b")]).await;
    let clone = bench.made("VM.clone", [r(&bench.vm), s("clone")]).await;
    let brief = bench.made("VM.clone", [r(&bench.vm), s("brief")]).await;
    bench.done("VM.destroy", [r(&brief)]).await;
    let (happened, later) = events(&bench, &["VM"], &token).await;
    let event = |operation: &str, reference: &str| ("vm".to_owned(), operation.to_owned(), reference.to_owned());
    assert_eq!(happened, [event("add", clone.as_str()), event("mod", &vm)]);
    bench.done("VM.destroy", [r(&clone)]).await;
    assert_eq!(events(&bench, &["vm"], &later).await.0, [event("del", clone.as_str())]);
    assert_eq!(events(&bench, &["vm"], &token).await.0, [event("mod", &vm)], "it came and went");
    assert_eq!(events(&bench, &[&format!("vm/{vm}")], &token).await.0, [event("mod", &vm)]);
}

#[tokio::test]
async fn event_calls_check_what_they_get() {
    let bench = Bench::new().await;
    let from = |classes: &str, token: &str, timeout: Value| [Value::texts([classes]), s(token), timeout];
    assert_eq!(
        bench.refused("event.from", from("a/b/c", "", Value::Float(0.0))).await,
        error("EVENT_SUBSCRIPTION_PARSE_FAILURE", ["a/b/c"])
    );
    assert_eq!(
        bench.refused("event.from", from("*", "x", Value::Float(0.0))).await,
        error("EVENT_FROM_TOKEN_PARSE_FAILURE", ["x"])
    );
    assert_eq!(bench.refused("event.from", from("*", "", Value::Int(0))).await, error("FIELD_TYPE_ERROR", ["timeout"]));
    assert_eq!(bench.refused("event.next", []).await.0, "SESSION_NOT_REGISTERED");
    assert_eq!(bench.refused("event.inject", [s("vm"), s("x")]).await, error("HANDLE_INVALID", ["vm", "x"]));

    let pool = bench.world.pool().clone();
    let token = bench.done("event.inject", [s("pool"), r(&pool)]).await;
    let (happened, _) = events(&bench, &["*"], token.as_str().unwrap()).await;
    assert_eq!(happened, [("pool".to_owned(), "mod".to_owned(), pool.to_string())]);
}

#[tokio::test]
async fn event_from_waits_for_a_change_or_the_end_of_the_session() {
    let bench = Bench::new().await;
    let (_, token) = events(&bench, &["task"], "").await;
    let args = [Value::texts(["task"]), s(&token), Value::Float(60.0)];
    let waiting = bench.call("event.from", args.clone());
    let changing = async {
        tokio::task::yield_now().await;
        bench.done("task.create", [s("t"), s("")]).await
    };
    let (answer, _) = tokio::join!(waiting, changing);
    assert_eq!(answer.unwrap().as_map().unwrap()["events"].as_set().unwrap().len(), 1);

    let (_, token) = events(&bench, &["task"], "").await;
    let args = [Value::texts(["task"]), s(&token), Value::Float(60.0)];
    let waiting = bench.call("event.from", args);
    let ending = async {
        tokio::task::yield_now().await;
        bench.world.forget_sessions();
    };
    let (answer, ()) = tokio::join!(waiting, ending);
    assert_eq!(answer.unwrap_err().code, "SESSION_INVALID");
}

#[tokio::test]
async fn the_old_events_work_too() {
    let bench = Bench::new().await;
    bench.done("event.register", [Value::texts(["vm"])]).await;
    bench.done("VM.set_name_label", [r(&bench.vm), s("new")]).await;
    let answer = bench.done("event.next", []).await;
    let event = answer.as_set().unwrap()[0].as_map().unwrap();
    assert_eq!(event["operation"], s("mod"));
    assert_eq!(event["obj_uuid"], s(&bench.text(&bench.vm, "uuid")));
    for number in 0..25_000 {
        bench.world.db.write(|t| t.set(&bench.vm, "name_label", number.to_string()));
    }
    assert_eq!(bench.refused("event.next", []).await.0, "EVENTS_LOST");
    bench.done("event.unregister", [Value::texts(["vm"])]).await;
    assert_eq!(bench.refused("event.next", []).await.0, "SESSION_NOT_REGISTERED");
}
