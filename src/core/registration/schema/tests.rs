//! The rules of a field by its name, and of a position in JSON by its path.

use super::*;

fn rule(field: &str, to: FieldType, name: Option<&str>) -> Rule {
    Rule { field: field.to_owned(), to, name: name.map(str::to_owned) }
}

fn schema() -> Schema {
    let rules = vec![
        rule("age", FieldType::Int64, None),
        rule("born", FieldType::Date, Some("birthday")),
        rule("address.zip", FieldType::String, Some("code")),
        rule("address.geo", FieldType::Json, None),
        rule("secret", FieldType::Skip, None),
    ];
    Schema::new(rules, Some(FieldType::Auto))
}

#[test]
fn a_field_has_its_own_rule_or_that_of_the_star() {
    let schema = schema();
    assert_eq!(schema.field("age"), Ok(("age", Some(FieldType::Int64))));
    assert_eq!(schema.field("born"), Ok(("birthday", Some(FieldType::Date))));
    assert_eq!(schema.field("address.zip"), Ok(("code", Some(FieldType::String))));
    assert_eq!(schema.field("secret"), Ok(("secret", Some(FieldType::Skip))));
    assert_eq!(schema.field("other"), Ok(("other", Some(FieldType::Auto))));
    let without_star = Schema::new(schema.rules().to_vec(), None);
    assert_eq!(without_star.field("other"), Ok(("other", None)));
}

#[test]
fn a_field_with_the_new_name_of_another_is_refused() {
    assert_eq!(schema().field("birthday"), Err(NameTaken("birthday".to_owned())));
    let swapped = Schema::new(
        vec![rule("a", FieldType::String, Some("b")), rule("b", FieldType::String, Some("a"))],
        None,
    );
    assert_eq!(swapped.field("a"), Ok(("b", Some(FieldType::String))));
    assert_eq!(swapped.field("b"), Ok(("a", Some(FieldType::String))));
}

#[test]
fn a_rule_is_found_by_its_path() {
    let schema = schema();
    let root = schema.root();
    let (name, age) = root.field("age").unwrap().unwrap();
    assert_eq!((name, age.to(), age.label()), (None, Some(FieldType::Int64), Some("age")));
    assert_eq!(age.refuses_objects(), Some(FieldType::Int64));
    assert!(root.field("secret").unwrap().is_none());
    let (_, address) = root.field("address").unwrap().unwrap();
    assert_eq!((address.to(), address.refuses_objects()), (Some(FieldType::Auto), None));
    let (name, zip) = address.field("zip").unwrap().unwrap();
    assert_eq!((name, zip.to()), (Some("code"), Some(FieldType::String)));
    assert_eq!(address.field("code").unwrap_err(), NameTaken("code".to_owned()));
    let (_, geo) = address.field("geo").unwrap().unwrap();
    let (_, below) = geo.field("lat").unwrap().unwrap();
    assert_eq!((below.to(), geo.refuses_objects()), (None, None));
}

#[test]
fn skipping_all_others_keeps_the_parents_of_named_fields() {
    let rules = vec![rule("a.b", FieldType::Auto, None), rule("c", FieldType::Json, None)];
    let schema = Schema::new(rules, Some(FieldType::Skip));
    let root = schema.root();
    assert!(root.field("x").unwrap().is_none());
    let (_, a) = root.field("a").unwrap().unwrap();
    assert!(a.field("x").unwrap().is_none());
    assert!(a.field("b").unwrap().is_some());
    let (_, c) = root.field("c").unwrap().unwrap();
    assert!(c.field("x").unwrap().is_some());
}

#[test]
fn a_renamed_path_keeps_its_parent() {
    let of = |field, name| {
        let rule = rule(field, FieldType::String, name);
        let (name, path) = rule.outcomes();
        (name.to_owned(), path)
    };
    assert_eq!(of("a.b", Some("c")), ("c".to_owned(), "a.c".to_owned()));
    assert_eq!(of("a.b", None), ("a.b".to_owned(), "a.b".to_owned()));
    assert_eq!(of("a", Some("c")), ("c".to_owned(), "c".to_owned()));
}
