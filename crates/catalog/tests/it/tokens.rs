use super::fixture::{at, catalog};

#[tokio::test]
async fn the_later_hash_of_a_name_counts() {
    let (catalog, _dir) = catalog().await;
    assert!(catalog.tokens().await.unwrap().is_empty());
    catalog.set_token("admin", "aa", at(0)).await.unwrap();
    catalog.set_token("ci", "bb", at(0)).await.unwrap();
    catalog.set_token("admin", "cc", at(1)).await.unwrap();
    let expected = [("admin".to_owned(), "cc".to_owned()), ("ci".to_owned(), "bb".to_owned())];
    assert_eq!(catalog.tokens().await.unwrap(), expected);
}
