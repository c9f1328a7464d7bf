use super::*;

#[test]
fn what_was_used_longest_ago_goes_first() {
    let cache = Cache::new(2);
    cache.insert(1, "one");
    cache.insert(2, "two");
    assert_eq!(cache.get(&1), Some("one"));
    cache.insert(3, "three");
    assert_eq!((cache.get(&1), cache.get(&2), cache.get(&3)), (Some("one"), None, Some("three")));
}
