//! The pure core: marking, taking and acknowledging keys, and building documents.
//!
//!     cargo bench --bench core

use std::hint::black_box;
use std::sync::Arc;

use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use writebehind::internals::command::{self, Kind};
use writebehind::internals::{
    Batch, Change, ChangeKind, Content, Db, Dirty, EntryId, Forms, Item, Log, Lookup, NO_EXPIRY,
    Namespace, Registration, RegistrationId, Routes, Span, Taken, Version, push_bytes,
};

/// Events per measurement.
const MANY: u32 = 4096;
/// Keys that fill the index almost to the size at which it grows.
const FULL: u32 = 6_800;
const SIZES: [u32; 4] = [1_000, 10_000, 100_000, 1_000_000];

/// Marks random keys among `size`, like the events of a pipeline of commands.
fn mark(dirty: &mut Dirty, log: &mut Log, size: u32, random: &mut fastrand::Rng) {
    let mut key = *b"key:000000000000";
    for _ in 0..MANY {
        write_number(&mut key, random.u32(0..size));
        if log.push(Change {
            db: Db(0),
            registration_id: RegistrationId(0),
            kind: ChangeKind::Changed,
            joins: false,
            key: &key,
        }) {
            dirty.fold(log, 1);
        }
    }
    dirty.fold(log, 1);
}

fn write_number(key: &mut [u8; 16], mut number: u32) {
    for digit in key[4..].iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn filled(size: u32) -> (Dirty, Log) {
    let (mut dirty, mut log) = (Dirty::default(), Log::default());
    dirty.open_registration(RegistrationId(0));
    let mut key = *b"key:000000000000";
    for number in 0..size {
        write_number(&mut key, number);
        if log.push(Change {
            db: Db(0),
            registration_id: RegistrationId(0),
            kind: ChangeKind::Changed,
            joins: false,
            key: &key,
        }) {
            dirty.fold(&mut log, 1);
        }
    }
    dirty.fold(&mut log, 1);
    (dirty, log)
}

fn routing(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("find the registration of a key");
    for count in [1u16, 500, 20_000] {
        let mut routes = Routes::default();
        for id in 0..count {
            routes.insert(Db(0), format!("tenant:{id}:").as_bytes(), RegistrationId(id));
        }
        let last = format!("tenant:{}:key", count - 1);
        for (name, key) in [("of none", "key:000000000001"), ("of one", last.as_str())] {
            group.bench_function(BenchmarkId::new(name, count), |bencher| {
                bencher.iter(|| routes.find(Db(0), black_box(key.as_bytes())));
            });
        }
    }
    group.finish();
}

fn marking(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("mark a dirty key again");
    group.throughput(Throughput::Elements(u64::from(MANY)));
    for size in SIZES {
        let (mut dirty, mut log) = filled(size);
        let mut random = fastrand::Rng::with_seed(1);
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| mark(&mut dirty, &mut log, size, &mut random));
        });
    }
    group.finish();
}

fn taking_and_acknowledging(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("dirty set");
    group.throughput(Throughput::Elements(u64::from(FULL)));
    group.bench_function("mark a clean key", |bencher| {
        let empty = || filled(0);
        bencher.iter_batched_ref(empty, |_| black_box(filled(FULL)), BatchSize::LargeInput);
    });
    let take = |dirty: &mut Dirty| -> Vec<Taken> {
        let mut bytes = Vec::with_capacity(1 << 17);
        let mut taken = Vec::with_capacity(FULL as usize);
        while let Some(one) = dirty.take(RegistrationId(0), |key| bytes.extend_from_slice(key)) {
            taken.push(one);
        }
        taken
    };
    group.bench_function("take", |bencher| {
        let many = || filled(FULL).0;
        bencher.iter_batched_ref(many, |dirty| black_box(take(dirty)), BatchSize::LargeInput);
    });
    group.bench_function("acknowledge", |bencher| {
        let many = || {
            let mut dirty = filled(FULL).0;
            let taken = take(&mut dirty);
            (dirty, taken)
        };
        let run = |(dirty, taken): &mut (Dirty, Vec<Taken>)| {
            for one in taken {
                black_box(dirty.acknowledge(one.entry, one.version, |_, key| {
                    black_box(key);
                }));
            }
        };
        bencher.iter_batched_ref(many, run, BatchSize::LargeInput);
    });
    group.finish();
}

/// A batch of 1,000 keys that all have this value.
fn batch(content: Content, value: &[u8]) -> Batch {
    let namespace = Namespace { database: "bench".to_owned(), collection: "core".to_owned() };
    let registration = Arc::new(Registration::new(Db(0), b"key:", namespace));
    let mut bytes = Vec::new();
    let items = (0..1000)
        .map(|number| {
            let mut key = *b"key:000000000000";
            write_number(&mut key, number);
            let start = bytes.len();
            bytes.extend_from_slice(&key);
            let middle = bytes.len();
            bytes.extend_from_slice(value);
            let (key, value) =
                (Span { start, end: middle }, Span { start: middle, end: bytes.len() });
            Item {
                entry: EntryId(0),
                version: Version(0),
                since_us: 0,
                key,
                content,
                value,
                expire_ms: NO_EXPIRY,
            }
        })
        .collect();
    Batch {
        groups: Vec::new(),
        registration,
        registration_id: RegistrationId(0),
        epoch: 0,
        slow: false,
        retry: 0,
        items,
        bytes,
    }
}

fn building(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("build a document");
    group.throughput(Throughput::Elements(1000));
    let mut hash = Vec::new();
    let values: [(&[u8], &[u8]); 8] = [
        (b"name", b"user 000000001"),
        (b"email", b"u1@example.org"),
        (b"age", b"33"),
        (b"city", b"Bern"),
        (b"visits", b"17"),
        (b"score", b"17.5"),
        (b"plan", b"free"),
        (b"seen", b"1700000001"),
    ];
    for (name, value) in values {
        push_bytes(&mut hash, name);
        push_bytes(&mut hash, value);
    }
    let json = br#"{"name":"user 000000001","email":"u1@example.org","age":33,"city":"Bern",
        "visits":17,"score":17.5,"plan":"free","seen":1700000001,"tags":["a","b"]}"#;
    for (name, batch) in [
        ("hash of 8 fields", batch(Content::Hash, &hash)),
        ("JSON of 9 fields", batch(Content::Json, json)),
        ("string", batch(Content::String, b"twenty bytes of text")),
    ] {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                command::build(
                    black_box(&batch),
                    Kind::Update,
                    &Lookup::default(),
                    Forms::default(),
                )
            })
        });
    }
    group.finish();
}

criterion_group!(core, routing, marking, taking_and_acknowledging, building);
criterion_main!(core);
