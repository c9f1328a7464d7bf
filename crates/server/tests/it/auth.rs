use std::os::unix::fs::PermissionsExt;

use reqwest::{Method, StatusCode};
use serde_json::Value;
use xenkeep_api::Client;

use crate::fixture::{Rig, answer, refused};

#[tokio::test]
async fn nothing_but_health_and_description_opens_without_token() {
    let rig = Rig::start().await;
    let description: Value =
        answer(rig.stranger(Method::GET, "/openapi.json").send().await.unwrap(), StatusCode::OK).await;
    let mut asked = 0;
    for (path, methods) in description["paths"].as_object().unwrap() {
        let path = path.strip_prefix("/api/v1").unwrap_or(path);
        for method in methods.as_object().unwrap().keys() {
            if path == "/health" || path == "/openapi.json" {
                continue;
            }
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).unwrap();
            let path = path.replace(['{', '}'], "x");
            let response = rig.stranger(method.clone(), &path).send().await.unwrap();
            assert_eq!(response.headers()["www-authenticate"], "Bearer realm=\"xenkeep\"", "{method} {path}");
            refused(response, StatusCode::UNAUTHORIZED, "auth.no_token").await;
            asked += 1;
        }
    }
    assert!(asked >= 19, "{asked} calls");
    let health: Value = answer(rig.stranger(Method::GET, "/health").send().await.unwrap(), StatusCode::OK).await;
    assert_eq!(health["status"], "ok");
}

#[tokio::test]
async fn only_the_right_token_opens() {
    let rig = Rig::start().await;
    let token = rig.token();
    assert!(token.starts_with("xk_") && token.len() > 40, "{token}");
    let ask = async |authorization: String| {
        rig.stranger(Method::GET, "/clients").header("authorization", authorization).send().await.unwrap()
    };
    for good in [format!("Bearer {token}"), format!("bearer {token}"), format!("BEARER  {token}")] {
        let clients: Vec<Client> = answer(ask(good).await, StatusCode::OK).await;
        assert!(clients.is_empty());
    }
    for (wrong, code) in [
        (format!("Bearer {}", &token[..token.len() - 1]), "auth.wrong_token"),
        (format!("Bearer {token}x"), "auth.wrong_token"),
        (format!("Bearer {}", token.to_uppercase()), "auth.wrong_token"),
        (format!("Bearer {}", "x".repeat(4000)), "auth.wrong_token"),
        ("Bearer ".to_owned(), "auth.no_token"),
        ("Bearer".to_owned(), "auth.no_token"),
        (token.to_owned(), "auth.no_token"),
        (format!("Basic {token}"), "auth.no_token"),
        (String::new(), "auth.no_token"),
    ] {
        refused(ask(wrong).await, StatusCode::UNAUTHORIZED, code).await;
    }
    // Not in the URL either, where it would end up in logs.
    let response = rig.stranger(Method::GET, &format!("/clients?token={token}")).send().await.unwrap();
    refused(response, StatusCode::UNAUTHORIZED, "auth.no_token").await;
}

#[tokio::test]
async fn the_token_lies_in_a_private_file_and_nowhere_else() {
    let rig = Rig::start().await;
    let path = rig.dir.path().join("token");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    for name in ["xenkeep.db", "xenkeep.db-wal"] {
        let bytes = std::fs::read(rig.dir.path().join(name)).unwrap();
        assert!(!bytes.windows(20).any(|window| window == &rig.token().as_bytes()[..20]), "{name}");
    }
}

#[tokio::test]
async fn the_token_stays_until_its_file_is_gone() {
    let rig = Rig::start().await;
    let first = rig.token().to_owned();
    let rig = rig.restart().await;
    assert_eq!(rig.token(), first);
    std::fs::remove_file(rig.dir.path().join("token")).unwrap();
    let rig = rig.restart().await;
    assert_ne!(rig.token(), first);
    let response = rig.stranger(Method::GET, "/clients").bearer_auth(&first).send().await.unwrap();
    refused(response, StatusCode::UNAUTHORIZED, "auth.wrong_token").await;
    let _: Vec<Client> = rig.get("/clients").await;
    // A token that somebody has chosen is none.
    std::fs::write(rig.dir.path().join("token"), "1234").unwrap();
    let rig = rig.restart().await;
    assert!(rig.token().starts_with("xk_"));
}
