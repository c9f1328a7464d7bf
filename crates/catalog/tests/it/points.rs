use xenkeep_api::DatastoreId;
use xenkeep_catalog::{Error, PointQuery};

use super::fixture::{add_point, catalog, ready_client, ready_datastore};

#[tokio::test]
async fn are_listed_newest_first_and_filtered() {
    let (catalog, _dir) = catalog().await;
    let (lab, prod) = (ready_client(&catalog, "lab").await, ready_client(&catalog, "prod").await);
    let (s1, s2) = (ready_datastore(&catalog, "s1").await, ready_datastore(&catalog, "s2").await);
    let old = add_point(&catalog, "a", &lab, s1, 5).await;
    let new = add_point(&catalog, "b", &lab, s2, 9).await;
    let other = add_point(&catalog, "c", &prod, s1, 7).await;

    let query = async |query: PointQuery| catalog.points(&query, 10).await.unwrap();
    assert_eq!(query(PointQuery::default()).await, [new.clone(), other.clone(), old.clone()]);
    assert_eq!(catalog.points(&PointQuery::default(), 1).await.unwrap(), std::slice::from_ref(&new));
    let by_client = |client: String| PointQuery { client: Some(client), ..PointQuery::default() };
    assert_eq!(query(by_client("lab".to_owned())).await, [new.clone(), old.clone()]);
    assert_eq!(query(by_client(lab.id.to_string())).await, [new.clone(), old.clone()]);
    assert!(query(by_client("nobody".to_owned())).await.is_empty());
    let by_vm = |vm: &str| PointQuery { vm: Some(vm.to_owned()), ..PointQuery::default() };
    assert_eq!(query(by_vm("web")).await.len(), 3);
    assert_eq!(query(by_vm("0F1E2D3C-0000-4000-8000-00000000000A")).await.len(), 3);
    assert!(query(by_vm("we%")).await.is_empty());
    let by_store = |store: DatastoreId| PointQuery { datastore: Some(store), ..PointQuery::default() };
    assert_eq!(query(by_store(s1)).await, [other, old.clone()]);
    let both = PointQuery { client: Some("lab".to_owned()), vm: Some("web".to_owned()), datastore: Some(s1) };
    assert_eq!(query(both).await, [old]);
}

#[tokio::test]
async fn are_found_by_the_beginning_of_their_id() {
    let (catalog, _dir) = catalog().await;
    let lab = ready_client(&catalog, "lab").await;
    let store = ready_datastore(&catalog, "store").await;
    let (one, two) = (add_point(&catalog, "ab", &lab, store, 5).await, add_point(&catalog, "ac", &lab, store, 6).await);
    assert_eq!(catalog.find_point(&one.id).await.unwrap(), one);
    assert_eq!(catalog.find_point("AC").await.unwrap(), two);
    let Err(Error::Ambiguous(problem)) = catalog.find_point("a").await else { panic!() };
    assert_eq!(problem.code, "point.ambiguous");
    assert!(problem.hint.as_ref().unwrap().contains(&one.id), "{problem:?}");
    for unknown in ["", "b", "web", "a_", "a%", &"a".repeat(65), &"a".repeat(100_000)] {
        let Err(Error::NotFound(problem)) = catalog.find_point(unknown).await else { panic!("{unknown}") };
        assert_eq!(problem.code, "point.not_found");
        assert!(problem.message.len() < 200, "{}", problem.message);
    }
}
