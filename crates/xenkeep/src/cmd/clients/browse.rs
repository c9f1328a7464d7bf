//! `xenkeep client browse`: a pool as a tree.

use clap::Args;
use xenkeep_api::{Fact, Node, NodeKind};

use crate::{Exit, cmd::Context, output::one_line, units};

const EXAMPLES: &str = "\
Examples:
  xenkeep client browse lab                 the whole tree
  xenkeep client browse lab/vms/web1        a VM with its disks; a slash in a name is written %2F
  xenkeep client browse lab --depth 1

What stands behind `source` is what a task takes as its source.";

/// Show what is on a pool as a tree: hosts, VMs with their disks, SRs, networks, meta-data, host-backup.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Browse {
    /// Name or id of the pool, and where to begin in its tree.
    #[arg(value_name = "CLIENT[/PATH]")]
    place: String,
    /// Go no deeper than this.
    #[arg(long, value_name = "N")]
    depth: Option<usize>,
}

impl Browse {
    pub(super) async fn run(self, context: &Context) -> anyhow::Result<Exit> {
        let (client, path) = self.place.split_once('/').unwrap_or((&self.place, ""));
        let mut node = context.api()?.browse(client, path).await?;
        if let Some(depth) = self.depth {
            prune(&mut node, depth);
        }
        context.console.result(&node, || {
            let mut text = line(&node) + "\n";
            branches(&node.children, "", &mut text);
            text
        })?;
        Ok(Exit::Success)
    }
}

fn prune(node: &mut Node, depth: usize) {
    if depth == 0 {
        node.children.clear();
    }
    for child in &mut node.children {
        prune(child, depth - 1);
    }
}

fn branches(children: &[Node], indent: &str, text: &mut String) {
    for (number, child) in children.iter().enumerate() {
        let last = number + 1 == children.len();
        *text += &format!("{indent}{} {}\n", if last { "└─" } else { "├─" }, line(child));
        branches(&child.children, &format!("{indent}{}", if last { "   " } else { "│  " }), text);
    }
}

/// Name, facts, and the source that a task takes.
fn line(node: &Node) -> String {
    let mut line = one_line(&node.name);
    let facts: Vec<String> = node.facts.iter().map(|fact| shown(node.kind, fact)).collect();
    if !facts.is_empty() {
        line += &format!("  {}", facts.join(", "));
    }
    if let Some(source) = &node.source {
        line += &format!("  [source {}]", one_line(source));
    }
    line
}

fn shown(kind: NodeKind, fact: &Fact) -> String {
    let value = match (fact.name.as_str(), fact.value.parse::<u64>()) {
        ("size" | "free", Ok(bytes)) => units::size(bytes),
        _ => one_line(&fact.value),
    };
    match (kind, fact.name.as_str()) {
        (_, "state" | "size" | "role" | "label" | "product") => value,
        (_, name) => format!("{name} {value}"),
    }
}
