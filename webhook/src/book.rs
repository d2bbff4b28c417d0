//! What is known of policies: the rules of each by its name, as they were last heard.

use std::{collections::BTreeMap, sync::Arc};

use crds::v1alpha1::{CommandPolicy, Glass};
use decide::{admission::Memory, command::Rulebook};
use kube::{Client, ResourceExt as _, core::DeserializeGuard, runtime::watcher::Event};
use serving::Gate;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::heard::{self, News};

/// The rules of a policy and who gets past them, or why nobody can ask it.
pub type Book = Result<Ruled, String>;

/// What a policy says.
pub struct Ruled {
    pub rules: Rulebook,
    pub memory: Memory,
    pub glass: Option<Glass>,
}

/// All of them, by name.
pub type Books = BTreeMap<String, Arc<Book>>;

/// As last heard; empty until they were listed once.
pub type Known = watch::Receiver<Arc<Books>>;

/// Follows the policies until the token is cancelled, and opens the gate when all of them are known.
pub fn follow(client: &Client, gate: Gate, shutdown: &CancellationToken) -> Known {
    let (tell, known) = watch::channel(Arc::default());
    let mut books = Books::new();
    heard::follow(client, shutdown, move |news| {
        if take_in(news, &mut books) {
            tell.send_replace(Arc::new(books.clone()));
            gate.set(true);
        }
    });
    known
}

/// Whether what is known is whole with that. What a new list lacks is gone.
fn take_in(news: News<CommandPolicy>, books: &mut Books) -> bool {
    match news {
        Event::Init => books.clear(),
        Event::InitApply(policy) => {
            books.insert(policy.name_any(), Arc::new(book(&policy)));
        }
        Event::InitDone => return true,
        Event::Apply(policy) => {
            books.insert(policy.name_any(), Arc::new(book(&policy)));
            return true;
        }
        Event::Delete(policy) => {
            books.remove(&policy.name_any());
            return true;
        }
    }
    false
}

fn book(policy: &DeserializeGuard<CommandPolicy>) -> Book {
    let name = policy.name_any();
    let policy = policy.0.as_ref();
    let policy = policy.map_err(|invalid| format!("CommandPolicy {name}: {}", invalid.error))?;
    let rules = Rulebook::of(&name, &policy.spec);
    let glass = policy.spec.break_glass.clone();
    let ruled = |rules| Ruled {
        rules,
        memory: Memory::default(),
        glass,
    };
    rules
        .map(ruled)
        .map_err(|refusal| format!("CommandPolicy {name}: {}", refusal.message))
}
