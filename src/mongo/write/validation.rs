//! Names the properties of a document that a collection's validator refuses. MongoDB 5.0 and newer
//! report them in `errInfo`, together with the values: only names of properties and operators are
//! used.

use mongodb::bson::{Bson, Document};

/// Maximum number of properties named.
const NAMED: usize = 8;
/// Maximum number of bytes shown of a name.
const NAME_BYTES: usize = 64;
/// Maximum nesting of `errInfo` that is read.
const LEVELS: usize = 32;

/// The refused properties in one write error, such as `year (bsonType), title (required)`; empty
/// when it names none.
pub fn failures(error: &Document) -> String {
    let mut rules = FailedRules::default();
    if let Ok(details) = error.get_document("errInfo").and_then(|info| info.get_document("details"))
    {
        rules.read(details, "", LEVELS);
    }
    let more = if rules.more { ", …" } else { "" };
    rules.named.join(", ") + more
}

#[derive(Default)]
struct FailedRules {
    named: Vec<String>,
    more: bool,
}

impl FailedRules {
    /// Reads one rule that is not satisfied, of the property at `path`.
    fn read(&mut self, rule: &Document, path: &str, levels: usize) {
        let Some(levels) = levels.checked_sub(1) else { return };
        let path = match rule.get_str("propertyName") {
            Ok(name) if path.is_empty() => name.to_owned(),
            Ok(name) => format!("{path}.{name}"),
            Err(_) => path.to_owned(),
        };
        let before = (self.named.len(), self.more);
        for (field, value) in rule {
            let rules = match field.as_str() {
                "details"
                | "schemaRulesNotSatisfied"
                | "propertiesNotSatisfied"
                | "clausesNotSatisfied"
                | "schemasNotSatisfied" => value,
                _ => continue,
            };
            let several = rules.as_array().map(Vec::as_slice).unwrap_or_default();
            let rules = several.iter().filter_map(Bson::as_document).chain(rules.as_document());
            rules.for_each(|rule| self.read(rule, &path, levels));
        }
        if before == (self.named.len(), self.more) {
            self.name(rule, &path);
        }
    }

    /// Adds the properties of a rule without nested rules.
    fn name(&mut self, rule: &Document, path: &str) {
        let operator = rule.get_str("operatorName").unwrap_or_default();
        let texts = |field| {
            let names = rule.get_array(field).map(Vec::as_slice).unwrap_or_default();
            names.iter().filter_map(Bson::as_str)
        };
        let mut names: Vec<&str> =
            texts("missingProperties").chain(texts("additionalProperties")).collect();
        if names.is_empty() && path.is_empty() {
            // A rule in the query language: `specifiedAs: { year: { $gt: 1900 } }`.
            let fields = rule.get_document("specifiedAs").map(Document::keys);
            names.extend(fields.into_iter().flatten().map(String::as_str));
            names.retain(|name| !name.starts_with('$'));
        }
        let below = |name: &str| match path {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        let mut names: Vec<String> = names.into_iter().map(below).collect();
        if names.is_empty() {
            names.push(path.to_owned());
        }
        for name in names {
            let text = match (shown(&name), shown(operator)) {
                (name, "") => name.to_owned(),
                ("", operator) => operator.to_owned(),
                (name, operator) => format!("{name} ({operator})"),
            };
            if text.is_empty() || self.named.contains(&text) {
                continue;
            }
            match self.named.len() < NAMED {
                true => self.named.push(text),
                false => self.more = true,
            }
        }
    }
}

fn shown(name: &str) -> &str {
    let end = (0..=NAME_BYTES.min(name.len())).rev().find(|at| name.is_char_boundary(*at));
    name.get(..end.unwrap_or(0)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use mongodb::bson::doc;

    use super::*;

    fn of(details: Document) -> String {
        failures(&doc! { "code": 121, "errInfo": { "failingDocumentId": 1, "details": details } })
    }

    #[test]
    fn properties_are_named_with_the_rule_and_without_their_values() {
        // As in a reply of MongoDB 6.0.
        let details = doc! {
            "operatorName": "$jsonSchema",
            "title": "a film",
            "schemaRulesNotSatisfied": [
                {
                    "operatorName": "properties",
                    "propertiesNotSatisfied": [
                        {
                            "propertyName": "year",
                            "description": "secret",
                            "details": [{
                                "operatorName": "bsonType",
                                "specifiedAs": { "bsonType": "int" },
                                "reason": "type did not match",
                                "consideredValue": "secret",
                                "consideredType": "string",
                            }],
                        },
                        {
                            "propertyName": "address",
                            "details": [{
                                "operatorName": "properties",
                                "propertiesNotSatisfied": [{
                                    "propertyName": "zip",
                                    "details": [{
                                        "operatorName": "pattern",
                                        "specifiedAs": { "pattern": "^[0-9]$" },
                                        "consideredValue": "secret",
                                    }],
                                }],
                            }],
                        },
                    ],
                },
                {
                    "operatorName": "required",
                    "specifiedAs": { "required": ["title", "year"] },
                    "missingProperties": ["title"],
                },
                {
                    "operatorName": "additionalProperties",
                    "specifiedAs": { "additionalProperties": false },
                    "additionalProperties": ["notes"],
                },
            ],
        };
        assert_eq!(
            of(details),
            "year (bsonType), address.zip (pattern), title (required), notes (additionalProperties)"
        );
    }

    #[test]
    fn rules_of_the_query_language_are_named_too() {
        let clause = |field: &str, operator: &str| {
            let mut specified = Document::new();
            specified.insert(field, doc! { operator: "secret" });
            doc! {
                "operatorName": operator, "specifiedAs": specified,
                "reason": "comparison failed", "consideredValue": "secret",
            }
        };
        assert_eq!(of(clause("year", "$gt")), "year ($gt)");
        let both = doc! {
            "operatorName": "$and",
            "clausesNotSatisfied": [
                { "index": 0, "details": clause("year", "$gt") },
                { "index": 1, "details": clause("title", "$exists") },
            ],
        };
        assert_eq!(of(both), "year ($gt), title ($exists)");
        let expression = doc! {
            "operatorName": "$expr", "specifiedAs": { "$expr": { "$gt": ["$a", "secret"] } },
            "reason": "expression did not match", "expressionResult": false,
        };
        assert_eq!(of(expression), "$expr");
    }

    #[test]
    fn the_text_is_short_for_any_error() {
        assert_eq!(failures(&doc! {}), "");
        assert_eq!(failures(&doc! { "errInfo": "secret" }), "");
        assert_eq!(failures(&doc! { "errInfo": { "details": ["secret"] } }), "");
        let mut deep = doc! { "operatorName": "properties", "propertyName": "a".repeat(1000) };
        for _ in 0..200 {
            deep = doc! { "propertyName": "é".repeat(100), "details": [deep] };
        }
        assert!(of(deep).len() < 100);
        let names: Vec<String> = (0..100).map(|n| format!("n{n}")).collect();
        let many = of(doc! { "operatorName": "required", "missingProperties": names });
        assert!(many.ends_with("n7 (required), …"), "{many}");
    }
}
