//! The map replies of the module's commands: maps in RESP3, flat arrays in RESP2.

use std::collections::BTreeMap;

use redis::{FromRedisValue, ParsingError, Value};

/// Field names and values of a map reply.
#[derive(Debug, Clone, PartialEq)]
pub struct Fields(BTreeMap<String, Value>);

impl Fields {
    #[track_caller]
    pub fn value(&self, field: &str) -> &Value {
        self.0.get(field).unwrap_or_else(|| panic!("no field {field} in {:?}", self.names()))
    }

    #[track_caller]
    pub fn int(&self, field: &str) -> i64 {
        self.read(field)
    }

    #[track_caller]
    pub fn text(&self, field: &str) -> String {
        self.read(field)
    }

    /// An array of strings.
    #[track_caller]
    pub fn texts(&self, field: &str) -> Vec<String> {
        self.read(field)
    }

    /// A map within the map.
    #[track_caller]
    pub fn map(&self, field: &str) -> Fields {
        self.read(field)
    }

    #[track_caller]
    fn read<T: FromRedisValue>(&self, field: &str) -> T {
        let value = self.value(field).clone();
        T::from_redis_value(value).unwrap_or_else(|error| panic!("{field}: {error}"))
    }

    pub fn names(&self) -> Vec<&str> {
        self.0.keys().map(String::as_str).collect()
    }
}

impl FromRedisValue for Fields {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let pairs = match value {
            Value::Map(pairs) => pairs,
            Value::Array(flat) if flat.len() % 2 == 0 => {
                flat.chunks(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect()
            }
            other => return Err(format!("neither a map nor pairs: {other:?}").into()),
        };
        let named = |(name, value)| Ok((String::from_redis_value(name)?, value));
        Ok(Self(pairs.into_iter().map(named).collect::<Result<_, ParsingError>>()?))
    }
}

/// The reply of `WB.FLUSH`, in keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flushed {
    pub persisted: i64,
    pub failed: i64,
    pub pending: i64,
}

impl FromRedisValue for Flushed {
    fn from_redis_value(value: Value) -> Result<Self, ParsingError> {
        let fields = Fields::from_redis_value(value)?;
        Ok(Self {
            persisted: fields.int("persisted"),
            failed: fields.int("failed"),
            pending: fields.int("pending"),
        })
    }
}
