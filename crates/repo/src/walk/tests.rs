#![allow(clippy::unwrap_used)]

use std::sync::Mutex;

use jiff::Timestamp;

use super::*;
use crate::Counters;
use crate::crypto::Key;
use crate::damage::KnownDamage;
use crate::index::Index;
use crate::session::Session;
use crate::store::{Directory, Name, Store};
use crate::tree::Node;

struct Fixture {
    _dir: tempfile::TempDir,
    store: Arc<dyn Store>,
    blobs: Blobs,
    session: Arc<Session>,
}

async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::new(&dir.path().join("repo"));
    directory.prepare().await.unwrap();
    let store: Arc<dyn Store> = Arc::new(directory);
    let key = Arc::new(Key::random());
    let index = Index::new(store.clone(), key.clone());
    let damage = Arc::new(KnownDamage::new(store.clone(), key.clone()));
    let session = Session::new(store.clone(), key.clone(), index.clone(), damage.clone(), None);
    Fixture { _dir: dir, blobs: Blobs::new(store.clone(), key, index, damage), store, session }
}

impl Fixture {
    fn put(&self, nodes: Vec<Node>) -> Id {
        let json = Tree { nodes }.to_json();
        let id = Id::of(&json);
        self.session.put(BlobKind::Tree, id, &json, None, &Counters::default()).unwrap();
        id
    }

    fn file(&self, number: u32) -> Node {
        Node::file(&format!("f{number}"), Timestamp::UNIX_EPOCH, 1, vec![Id::of(&number.to_le_bytes())])
    }

    fn dir(&self, number: u32, tree: Id) -> Node {
        Node::dir(&format!("d{number}"), Timestamp::UNIX_EPOCH, tree)
    }

    /// Two roots that share a subtree, with `width` directories in each of three.
    fn roots(&self, width: u32) -> [Id; 2] {
        let leaves = |base: u32| {
            let leaf = |number| self.dir(number, self.put(vec![self.file(base + number)]));
            self.put((0..width).map(leaf).collect())
        };
        let shared = leaves(1_000_000);
        [0, 2_000_000].map(|base| self.put(vec![self.dir(0, shared), self.dir(1, leaves(base))]))
    }
}

type Found = Arc<Mutex<Vec<Result<Id, String>>>>;

async fn walk(fixture: &Fixture, walk: &mut Walk, roots: &[Id]) -> Vec<Result<Id, String>> {
    let found = Found::default();
    let visited = found.clone();
    let visit = move |id: &Id, tree: Result<Tree>| {
        let mut visited = visited.lock().unwrap();
        match tree {
            Ok(tree) => visited.extend(tree.nodes.iter().flat_map(|node| &node.content).map(|chunk| Ok(*chunk))),
            Err(error) => visited.push(Err(format!("{id}: {error}"))),
        }
        Ok(())
    };
    walk.below(&fixture.blobs, roots.iter().copied(), visit).await.unwrap();
    Arc::try_unwrap(found).unwrap().into_inner().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_directory_is_visited_once() {
    let fixture = fixture().await;
    let roots = fixture.roots(700);
    fixture.session.flush().await.unwrap();
    let mut seen = Walk::default();
    let first = walk(&fixture, &mut seen, &roots[..1]).await;
    assert_eq!((first.len(), seen.len()), (1400, 1403));
    let second = walk(&fixture, &mut seen, &roots).await;
    assert_eq!((second.len(), seen.len()), (700, 2105), "what is shared is not visited again");
    let all: HashSet<Id> = first.into_iter().chain(second).map(Result::unwrap).collect();
    let expected = |base: u32| (base..base + 700).map(|number| Id::of(&number.to_le_bytes()));
    assert_eq!(all, expected(0).chain(expected(1_000_000)).chain(expected(2_000_000)).collect());
    assert!(roots.iter().all(|root| seen.has_seen(root)) && !seen.has_seen(&Id::of(b"other")));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_read_is_told_and_the_rest_is_visited() {
    let fixture = fixture().await;
    let roots = fixture.roots(50);
    let lost = Id::of(b"was never stored");
    let top = fixture.put(vec![fixture.dir(0, lost), fixture.dir(1, roots[0])]);
    fixture.session.flush().await.unwrap();
    let found = walk(&fixture, &mut Walk::default(), &[top]).await;
    let errors: Vec<&String> = found.iter().filter_map(|found| found.as_ref().err()).collect();
    assert!(errors.len() == 1 && errors[0].contains(&lost.to_string()), "{errors:?}");
    assert_eq!(found.len(), 101);

    // Cut in the middle: the directories before are found all the same, each behind is told.
    let (pack, len) = fixture.store.list(Name::Pack).await.unwrap()[0];
    let whole = fixture.store.get(Name::Pack(pack), len).await.unwrap();
    fixture.store.remove(Name::Pack(pack)).await.unwrap();
    let root = fixture.blobs.locate(BlobKind::Tree, &top).unwrap();
    // The roots come last in the pack; so cut the copy at the front by zeroing it.
    let mut half = whole.to_vec();
    half[..root.offset as usize / 2].fill(0);
    fixture.store.put(Name::Pack(pack), half.into()).await.unwrap();
    let found = walk(&fixture, &mut Walk::default(), &[top]).await;
    assert!(found.iter().filter(|found| found.is_err()).count() > 10);
    assert!(found.iter().filter(|found| found.is_ok()).count() > 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_of_the_visitor_ends_the_walk() {
    let fixture = fixture().await;
    let roots = fixture.roots(300);
    fixture.session.flush().await.unwrap();
    let stop = |_: &Id, _: Result<Tree>| Err(Error::BrokenOff("enough"));
    let error = Walk::default().below(&fixture.blobs, roots, stop).await.unwrap_err();
    assert!(matches!(error, Error::BrokenOff("enough")));
    let stop = |_: &Id, tree: Result<Tree>| tree.map(drop);
    let error = Walk::default().below(&fixture.blobs, [Id::of(b"nothing")], stop).await.unwrap_err();
    assert!(matches!(error, Error::Damaged { .. }));
}
