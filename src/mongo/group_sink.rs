//! Writes group batches to one MongoDB deployment: in transactions, and by themselves where there are
//! none or a key must be written apart from its group.

use std::time::Duration;

use super::sink::MongoSink;
use super::write::command::{self, CommandOptions, Kind, TxnPosition};
use super::write::executor::subset;
use super::write::forms::Forms;
use super::write::groups::{Fate, Groups, Part, TransactionSender};
use super::write::lookup::Lookup;
use super::write::outcome::Outcome;
use super::write::pipeline_probe;
use super::write::pipeline_probe::Pipelines;
use super::write::reply::Expected;
use super::write::session::{Fence, SessionGuard};
use crate::core::delivery::batch::{Batch, Written};
use crate::core::delivery::group_batch::GroupBatch;
use crate::core::delivery::group_counts::{GroupCounts, Split};
use crate::core::registration::{Namespace, Registration};
use crate::core::settings::WriteForm;
use crate::sink::{Failure, GroupResults, LinkError};

impl MongoSink {
    /// Writes `batch`; see [`Sink::write_groups`](crate::sink::Sink::write_groups).
    pub(super) async fn write_group_batch(
        &self,
        batch: &GroupBatch,
        form: WriteForm,
        within: Duration,
    ) -> GroupResults {
        if self.sessions.fence() != Fence::Transactions {
            return write_apart(self, batch, form, within).await;
        }
        match write_in_transactions(self, batch, form, within).await {
            Ok(results) => results,
            Err(failure) => GroupResults {
                batches: batch.batches.iter().map(|_| Err(failure.clone())).collect(),
                counts: GroupCounts::default(),
            },
        }
    }
}

/// Writes each batch by itself, because the server has no transactions.
async fn write_apart(
    sink: &MongoSink,
    batch: &GroupBatch,
    form: WriteForm,
    within: Duration,
) -> GroupResults {
    let mut batches = Vec::with_capacity(batch.batches.len());
    for part in &batch.batches {
        batches.push(write_plain(sink, part, form, within).await);
    }
    let mut counts = GroupCounts::default();
    counts.count_split(Split::NoTransactions, batch.groups.len() as u64);
    GroupResults { batches, counts }
}

async fn write_plain(
    sink: &MongoSink,
    batch: &Batch,
    form: WriteForm,
    within: Duration,
) -> Result<Written, Failure> {
    let lookup = sink.indexes.known(&batch.registration).unwrap_or_default();
    let forms = sink.forms(batch, form);
    let built = command::build(batch, Kind::Update, &lookup, forms);
    if built.commands.is_empty() {
        return Ok(Written { refused: built.refused, ..Written::default() });
    }
    sink.write_built(batch, built, within).await
}

async fn write_in_transactions(
    sink: &MongoSink,
    batch: &GroupBatch,
    form: WriteForm,
    within: Duration,
) -> Result<GroupResults, Failure> {
    let write_concern = sink.connected.write_concern.clone();
    let options = &CommandOptions { write_concern, within };
    let mut parts = Vec::with_capacity(batch.batches.len());
    let mut refusing = Vec::new();
    for (number, part) in batch.batches.iter().enumerate() {
        let lookup = match prepare(sink, &part.registration, options).await {
            Ok(lookup) => lookup,
            Err(Failure::Namespace(why) | Failure::Part(LinkError { error: why, .. })) => {
                refusing.push((number, why));
                Lookup::default()
            }
            Err(failure) => return Err(failure),
        };
        parts.push(Part {
            batch: part,
            lookup,
            forms: sink.forms(part, form),
            fates: vec![Fate::Open; part.items.len()],
            refused_because: String::new(),
            sent_bytes: 0,
        });
    }
    let mut groups = Groups::new(batch, parts, sink.group_ops.get(), within);
    for (number, why) in refusing {
        groups.refuse_namespace(number, &why);
    }
    let mut session = sink.sessions.take().await?;
    probe_pipelines(sink, &mut session, &mut groups, options).await?;
    let mut namespaces: Vec<Namespace> = Vec::with_capacity(batch.batches.len());
    for part in &batch.batches {
        if !namespaces.contains(&part.registration.namespace) {
            namespaces.push(part.registration.namespace.clone());
        }
    }
    session.cover(namespaces);
    let registrations = batch.batches.iter().map(|part| &*part.registration).collect();
    groups.write(&mut GroupSender { session, registrations, options }).await?;
    sink.group_ops.set(groups.max_ops);
    let mut batches = Vec::with_capacity(groups.parts.len());
    for part in &groups.parts {
        batches.push(finish(sink, part, &groups.held_because, form, within).await);
    }
    Ok(GroupResults { batches, counts: groups.counts })
}

/// The index of the part's KEY, once no earlier command to its namespace can be applied late.
async fn prepare(
    sink: &MongoSink,
    registration: &Registration,
    options: &CommandOptions,
) -> Result<Lookup, Failure> {
    let lookup = sink.indexes.ensure(&sink.connected, registration).await?;
    sink.sessions.fence_off(registration, options).await?;
    Ok(lookup)
}

/// Whole documents are sent where the server takes no pipelines.
async fn probe_pipelines(
    sink: &MongoSink,
    session: &mut SessionGuard<'_>,
    groups: &mut Groups<'_>,
    options: &CommandOptions,
) -> Result<(), Failure> {
    let asks = |part: &&Part<'_>| matches!(part.forms, Forms::Differences { .. });
    let Some(part) = groups.parts.iter().find(asks) else { return Ok(()) };
    if !matches!(sink.pipelines.get(), Some(Pipelines::Taken | Pipelines::Refused)) {
        let registration = &part.batch.registration;
        sink.pipelines.set(Some(pipeline_probe::ask(session, registration, options).await?));
    }
    if sink.pipelines.get() != Some(Pipelines::Taken) {
        groups.parts.iter_mut().for_each(|part| part.forms = Forms::Plain);
    }
    Ok(())
}

/// The result of a part, after what must be written apart from its group was written.
async fn finish(
    sink: &MongoSink,
    part: &Part<'_>,
    held_because: &str,
    form: WriteForm,
    within: Duration,
) -> Result<Written, Failure> {
    let mut written = part.written(held_because);
    let apart = part.apart();
    if !apart.is_empty() {
        let items = subset(part.batch, &apart);
        let by_itself = write_plain(sink, &items, form, within).await?;
        written.add_apart(by_itself, &apart);
    }
    if !written.error.is_empty() {
        sink.indexes.forget(&part.batch.registration.namespace);
    }
    Ok(written)
}

/// A session with everything needed to send the commands of a group batch in it.
struct GroupSender<'s, 'b> {
    session: SessionGuard<'s>,
    registrations: Vec<&'b Registration>,
    options: &'b CommandOptions,
}

impl TransactionSender for GroupSender<'_, '_> {
    async fn send(
        &mut self,
        part: usize,
        command: (Vec<u8>, Expected),
        position: TxnPosition,
    ) -> Outcome {
        let (registration, within) = (self.registrations[part], self.options.within);
        self.session.send(registration, self.options, command, position, within).await
    }

    fn abandon(&mut self) {
        self.session.abandon_covered();
    }
}
