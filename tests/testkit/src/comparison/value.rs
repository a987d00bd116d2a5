//! The fields of a document, from the replies of the commands that read a value.

use mongodb::bson::spec::BinarySubtype;
use mongodb::bson::{Binary, Bson, Document, doc};
use redis::{FromRedisValue, Value, from_redis_value};

/// The fields of a value; `kind` is the reply of TYPE. `None` if the key does not exist. `reply` is
/// that of GET, HGETALL, LRANGE, SMEMBERS, ZRANGE WITHSCORES, XRANGE or JSON.GET.
pub fn fields(kind: &str, reply: Value) -> Option<Document> {
    if reply == Value::Nil {
        return None;
    }
    match kind {
        "string" => Some(doc! { "value": text(&read::<Vec<u8>>(reply)) }),
        "hash" => {
            let fields: Vec<(String, Vec<u8>)> = read(reply);
            let document = fields.into_iter().map(|(name, value)| (name, text(&value))).collect();
            Some(document).filter(|document: &Document| !document.is_empty())
        }
        "ReJSON-RL" => {
            let json: String = read(reply);
            Some(match bson(serde_json::from_str(&json).expect("JSON")) {
                Bson::Document(root) => root,
                other => doc! { "value": other },
            })
        }
        "list" => {
            let items: Vec<Vec<u8>> = read(reply);
            Some(items).filter(|items| !items.is_empty()).map(texts).map(of_value)
        }
        "set" => {
            let mut members: Vec<Vec<u8>> = read(reply);
            members.sort();
            Some(members).filter(|members| !members.is_empty()).map(texts).map(of_value)
        }
        "zset" => {
            let pairs: Vec<Vec<u8>> = read(reply);
            let members = pairs.chunks(2).map(|pair| {
                let score = String::from_utf8_lossy(&pair[1]).parse::<f64>().expect("a score");
                doc! { "member": text(&pair[0]), "score": score }
            });
            Some(members.collect::<Vec<_>>()).filter(|all| !all.is_empty()).map(of_value)
        }
        "stream" => {
            let entries: Vec<(String, Vec<Vec<u8>>)> = read(reply);
            let entries = entries.into_iter().map(|(id, pairs)| {
                // Of several fields with the same name the last is stored.
                let fields = pairs.chunks(2).map(|pair| {
                    (String::from_utf8(pair[0].clone()).expect("a name"), text(&pair[1]))
                });
                doc! { "id": id, "fields": fields.collect::<Document>() }
            });
            // A stream may exist and be empty.
            Some(of_value(entries.collect::<Vec<_>>()))
        }
        other => panic!("the comparison does not support type {other}"),
    }
}

fn read<T: FromRedisValue>(reply: Value) -> T {
    from_redis_value(reply).expect("the value of a key")
}

fn texts(items: Vec<Vec<u8>>) -> Vec<Bson> {
    items.iter().map(|item| text(item)).collect()
}

/// The document of a value that is not a map of fields.
fn of_value(value: Vec<impl Into<Bson>>) -> Document {
    let items = value.into_iter().map(Into::into).collect();
    doc! { "value": Bson::Array(items) }
}

/// A string, or Binary when it is not UTF-8.
pub fn text(bytes: &[u8]) -> Bson {
    match std::str::from_utf8(bytes) {
        Ok(text) => Bson::String(text.to_owned()),
        Err(_) => Bson::Binary(Binary { subtype: BinarySubtype::Generic, bytes: bytes.to_vec() }),
    }
}

/// JSON as BSON: whole numbers are Int64, all others Double.
pub fn bson(json: serde_json::Value) -> Bson {
    match json {
        serde_json::Value::Null => Bson::Null,
        serde_json::Value::Bool(value) => Bson::Boolean(value),
        serde_json::Value::Number(number) => match number.as_i64() {
            Some(whole) => Bson::Int64(whole),
            None => Bson::Double(number.as_f64().expect("a number")),
        },
        serde_json::Value::String(text) => Bson::String(text),
        serde_json::Value::Array(items) => Bson::Array(items.into_iter().map(bson).collect()),
        serde_json::Value::Object(fields) => {
            Bson::Document(fields.into_iter().map(|(name, value)| (name, bson(value))).collect())
        }
    }
}
