//! The revisions of registrations: by them the nodes of a cluster agree on one state of each prefix.
//!
//! A command on one node gives its prefix a revision above all that the node knows. Nodes exchange statements;
//! the highest revision of a prefix wins. A registration without one (from a registrations file, or made before
//! the server was in cluster mode) has revision 0: it reaches nodes that know nothing of the prefix, and loses
//! to any command.

use std::collections::HashMap;
use std::hash::BuildHasher;

use super::Backlog;
use crate::core::cluster::NodeId;
use crate::core::cluster::agreed::{Mark, PrefixState, Revision, Statement};
use crate::core::ids::{Db, RegistrationId};
use crate::core::registration::Registration;

/// A prefix, or all registrations together.
pub type Revised = Option<(Db, Vec<u8>)>;

/// What was done last, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The revision.
    pub revision: Revision,
    /// What was done; of the pause of all registrations always `Registered`, or `Unregistered` if it ended.
    pub mark: Mark,
}

/// All revisions.
#[derive(Debug, Default)]
pub struct Revisions {
    stamps: HashMap<Revised, Stamp>,
    /// The highest number.
    highest: u64,
    /// The digest, and for which state of the registry it was computed.
    digest: Option<(u64, u64)>,
    /// The state of the registry when ended prefixes were looked for.
    looked_at: u64,
}

impl Revisions {
    /// All stamps.
    pub fn iter(&self) -> impl Iterator<Item = (&Revised, &Stamp)> {
        self.stamps.iter()
    }

    /// Sets a stamp.
    pub fn set(&mut self, of: Revised, stamp: Stamp) {
        self.highest = self.highest.max(stamp.revision.number);
        self.digest = None;
        self.stamps.insert(of, stamp);
    }

    /// The stamp of `of`.
    pub fn stamp(&self, of: &Revised) -> Option<Stamp> {
        self.stamps.get(of).copied()
    }

    /// The revision of `of`; 0 if it has none.
    fn revision(&self, of: &Revised) -> Revision {
        self.stamps.get(of).map_or(Revision::default(), |stamp| stamp.revision)
    }
}

/// What a node has to do after a statement of another one.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// It knows the same, or something newer.
    Nothing,
    /// It has the same state already, and takes over the revision.
    Revision,
    /// To register the prefix.
    Register {
        /// True if existing keys are to be marked as dirty.
        sync: bool,
    },
    /// To end the registration.
    Unregister {
        /// True if what is dirty is dropped.
        discards: bool,
    },
    /// To pause or resume all registrations.
    Pause(bool),
}

impl Backlog {
    /// Gives a prefix, or the pause of all, the next revision of `node`: the time, unless it knows a higher one.
    /// So the later of two commands wins even if their nodes have not heard of each other, as far as their
    /// clocks agree.
    pub fn revise(&mut self, of: Revised, mark: Mark, node: NodeId, unix_ms: u64) -> Stamp {
        let number = self.revisions.highest.saturating_add(1).max(unix_ms);
        let stamp = Stamp { revision: Revision { number, node }, mark };
        self.revisions.set(of, stamp);
        stamp
    }

    /// True if the prefix is registered with exactly these options.
    pub fn is_registered_as(&self, registration: &Registration) -> bool {
        let live = self.registry.find_live(registration.db, &registration.prefix);
        live.and_then(|id| self.active(id))
            .is_some_and(|active| *active.registration == *registration)
    }

    /// The prefixes of live registrations that are paused by themselves.
    pub fn paused_prefixes(&self) -> Vec<(Db, Vec<u8>)> {
        let paused = self.registry.iter().filter(|active| active.live && active.paused);
        paused.map(|active| (active.registration.db, active.registration.prefix.clone())).collect()
    }

    /// A stamp of the replication stream.
    pub(super) fn replicated_stamp(&mut self, db: Db, prefix: Option<&[u8]>, stamp: Stamp) {
        if prefix.is_none() {
            self.set_all_paused(stamp.mark.is_live());
        }
        self.revisions.set(prefix.map(|prefix| (db, prefix.to_vec())), stamp);
    }

    /// What another node's statement changes here.
    pub fn change_by(&self, statement: &Statement) -> Change {
        match statement {
            Statement::Pause { revision, paused } => {
                let is_news = *revision > self.revisions.revision(&None);
                if is_news { Change::Pause(*paused) } else { Change::Nothing }
            }
            Statement::Prefix { db, prefix, revision, state } => {
                let of = Some((*db, prefix.clone()));
                let known = self.revisions.stamps.get(&of);
                let live = self.registry.find_live(*db, prefix);
                let is_news = match known {
                    Some(stamp) => *revision > stamp.revision,
                    None => revision.number > 0 || live.is_none(),
                };
                match state {
                    _ if !is_news => Change::Nothing,
                    PrefixState::Registered { registration, sync, .. } => {
                        if live.is_some() && !sync && self.is_registered_as(registration) {
                            return Change::Revision;
                        }
                        // A node that learns of a registration may have keys of it already.
                        Change::Register { sync: *sync || live.is_none() }
                    }
                    PrefixState::Unregistered { discards } if live.is_some() => {
                        Change::Unregister { discards: *discards }
                    }
                    PrefixState::Unregistered { .. } => Change::Revision,
                }
            }
        }
    }

    /// Takes over the revision of a statement, and the pause of its prefix, once its
    /// [change](Self::change_by) was made. True if the pause has changed.
    pub fn took(&mut self, statement: &Statement) -> bool {
        match statement {
            Statement::Pause { revision, paused } => {
                let mark = if *paused { Mark::Registered } else { Mark::Unregistered };
                self.revisions.set(None, Stamp { revision: *revision, mark });
                false
            }
            Statement::Prefix { db, prefix, revision, state } => {
                let of = Some((*db, prefix.clone()));
                let (mark, paused) = match state {
                    PrefixState::Registered { sync: true, paused, .. } => (Mark::Synced, *paused),
                    PrefixState::Registered { paused, .. } => (Mark::Registered, *paused),
                    PrefixState::Unregistered { discards: true } => (Mark::Discarded, false),
                    PrefixState::Unregistered { .. } => (Mark::Unregistered, false),
                };
                if revision.number > 0 {
                    self.revisions.set(of, Stamp { revision: *revision, mark });
                }
                let Some(id) = self.registry.find_live(*db, prefix) else { return false };
                let was_paused = self.active(id).is_some_and(|active| active.paused);
                if was_paused == paused {
                    return false;
                }
                if paused {
                    self.pause(Some(id))
                } else {
                    self.resume(Some(id))
                }
                true
            }
        }
    }

    /// The statements of this node about everything: the pause first, then each prefix.
    pub fn statements(&self) -> Vec<Statement> {
        let pause = self
            .revisions
            .stamps
            .get(&None)
            .map(|stamp| Statement::Pause { revision: stamp.revision, paused: self.paused });
        let live = self.registry.live_ids().filter_map(|id| self.statement_of(id));
        let ended = self.revisions.iter().filter_map(|(of, stamp)| {
            let (db, prefix) = of.as_ref()?;
            let is_live = self.registry.find_live(*db, prefix).is_some();
            let discards = stamp.mark == Mark::Discarded;
            (!stamp.mark.is_live() && !is_live).then(|| Statement::Prefix {
                db: *db,
                prefix: prefix.clone(),
                revision: stamp.revision,
                state: PrefixState::Unregistered { discards },
            })
        });
        pause.into_iter().chain(live).chain(ended).collect()
    }

    /// The statement about one prefix, or about the pause of all.
    pub fn statement(&self, of: &Revised) -> Option<Statement> {
        let stamp = self.revisions.stamps.get(of)?;
        let revision = stamp.revision;
        let Some((db, prefix)) = of else {
            return Some(Statement::Pause { revision, paused: self.paused });
        };
        if let Some(id) = self.registry.find_live(*db, prefix) {
            return self.statement_of(id);
        }
        let state = PrefixState::Unregistered { discards: stamp.mark == Mark::Discarded };
        Some(Statement::Prefix { db: *db, prefix: prefix.clone(), revision, state })
    }

    fn statement_of(&self, id: RegistrationId) -> Option<Statement> {
        let active = self.active(id)?;
        let registration = &*active.registration;
        let (db, prefix) = (registration.db, registration.prefix.clone());
        let of = Some((db, prefix.clone()));
        let stamp = self.revisions.stamps.get(&of);
        let state = PrefixState::Registered {
            registration: Box::new(registration.clone()),
            sync: stamp.is_some_and(|stamp| stamp.mark == Mark::Synced),
            paused: active.paused,
        };
        Some(Statement::Prefix { db, prefix, revision: self.revisions.revision(&of), state })
    }

    /// Prefixes that are registered although their last revision has ended them: by the registrations file, at
    /// a restart. None if no registration has changed since the last call.
    pub fn take_ended_prefixes(&mut self) -> Vec<(Db, Vec<u8>)> {
        let version = self.registry.version();
        if std::mem::replace(&mut self.revisions.looked_at, version) == version {
            return Vec::new();
        }
        let ended = self.revisions.iter().filter(|(_, stamp)| !stamp.mark.is_live());
        let prefixes = ended.filter_map(|(of, _)| of.clone());
        prefixes.filter(|(db, prefix)| self.registry.find_live(*db, prefix).is_some()).collect()
    }

    /// A number that is equal on two nodes with the same revisions of the same prefixes.
    pub fn revisions_digest(&mut self) -> u64 {
        let version = self.registry.version();
        if let Some((digest, of)) = self.revisions.digest
            && of == version
        {
            return digest;
        }
        // Of a fixed seed, so that it is the same on all nodes.
        let hasher = foldhash::quality::FixedState::with_seed(0);
        let stamps = self.revisions.iter().map(|(of, stamp)| {
            let of = of.as_ref().map(|(db, prefix)| (*db, prefix.as_slice()));
            hasher.hash_one((of, stamp.revision))
        });
        let unstamped = self.registry.iter().filter(|active| active.live).filter_map(|active| {
            let of = &active.registration;
            let is_stamped = self.revisions.stamps.contains_key(&Some((of.db, of.prefix.clone())));
            let key = Some((of.db, of.prefix.as_slice()));
            (!is_stamped).then(|| hasher.hash_one((key, Revision::default())))
        });
        let digest = stamps.chain(unstamped).fold(0, |digest, hash| digest ^ hash);
        self.revisions.digest = Some((digest, version));
        digest
    }
}

#[cfg(test)]
mod tests;
