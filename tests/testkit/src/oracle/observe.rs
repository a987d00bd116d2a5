//! The state of a key, read by the server's commands right before and right after a command.
//!
//! The key is read by a script, so that no other client's command runs between the read and the
//! command, in a pipeline, in MULTI and in a script.

use mongodb::bson::{Bson, DateTime, Document};
use redis::{Value, from_redis_value};

use super::place::Place;
use super::typed;
use crate::comparison::value;

/// Lua: `look(db, key)` reads one key. The database stays selected.
const LOOK: &str = "
local reads = {
  string = {'GET'}, hash = {'HGETALL'}, list = {'LRANGE', 0, -1}, set = {'SMEMBERS'},
  zset = {'ZRANGE', 0, -1, 'WITHSCORES'}, stream = {'XRANGE', '-', '+'}, ['ReJSON-RL'] = {'JSON.GET'},
}
local function look(db, key)
  redis.call('SELECT', db)
  local kind = redis.call('TYPE', key)['ok']
  local read, value, fields, ends = reads[kind], false, 0, -1
  if read then
    value = redis.call(read[1], key, unpack(read, 2))
  end
  if kind == 'hash' then
    fields = redis.call('HLEN', key)
    local names = {}
    for i = 1, #value, 2 do names[#names + 1] = value[i] end
    local times = #names > 0 and redis.pcall('HPEXPIRETIME', key, 'FIELDS', #names, unpack(names))
    for _, time in ipairs(times or {}) do
      -- -2: over since the line above, on some servers.
      if time == -2 then time = 0 end
      if time >= 0 and (ends < 0 or time < ends) then ends = time end
    end
  end
  return {kind, redis.call('PEXPIRETIME', key), fields, ends, value}
end
";

/// The body of a script that reads the keys in its arguments: alternately database and key.
const LOOKS: &str = "
local seen = {}
for i = 1, #ARGV, 2 do
  seen[#seen + 1] = look(ARGV[i], ARGV[i + 1])
end
return seen
";

/// Runs commands and reads their keys before and after each. Arguments: the database, then for each
/// command the number of its words and the words, the number of its keys, and the keys as above.
const RUN: &str = "
local at, done = 2, {}
local function take()
  at = at + 1
  return args[at - 1]
end
local function look_at(keys)
  local seen = {}
  for i = 1, #keys, 2 do
    seen[#seen + 1] = look(keys[i], keys[i + 1])
  end
  redis.call('SELECT', args[1])
  return seen
end
while at <= #args do
  local words, keys = {}, {}
  for i = 1, tonumber(take()) do words[i] = take() end
  for i = 1, 2 * tonumber(take()) do keys[i] = take() end
  local before = look_at(keys)
  local reply = redis.pcall(unpack(words))
  local error = type(reply) == 'table' and reply['err']
  done[#done + 1] = {error or '', before, look_at(keys)}
end
return done
";

/// The script that reads keys.
pub fn looking() -> String {
    format!("{LOOK}{LOOKS}")
}

/// The script that runs commands.
pub fn running() -> String {
    format!("local args = ARGV\n{LOOK}{RUN}")
}

/// The function library whose function `run` runs commands.
pub fn library() -> String {
    format!(
        "#!lua name=oracle\n{LOOK}redis.register_function('run', function(keys, args)\n{RUN}\nend)"
    )
}

/// The observed state of a key.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The reply of TYPE.
    pub kind: String,
    /// The reply of PEXPIRETIME: milliseconds since 1970, negative without a time to live.
    pub expire_ms: i64,
    /// The number of fields of a hash, including expired ones that are not removed yet.
    pub stored_fields: i64,
    /// When the first field expires; negative if none does.
    pub field_ends_ms: i64,
    /// The fields of the document; `None` if there is none.
    pub fields: Option<Document>,
}

/// The effect of a key's state on its document.
#[derive(Clone, Debug, PartialEq)]
pub enum Became {
    Document(Document),
    /// The registration accepts the type, but the value cannot be written to MongoDB.
    Unwritable,
    /// The registration does not accept the type.
    WrongType,
    Nothing,
}

impl Seen {
    pub fn from_reply(reply: Value) -> Self {
        type Parts = (String, i64, i64, i64, Value);
        let (kind, expire_ms, stored_fields, field_ends_ms, value): Parts =
            from_redis_value(reply).expect("the script's reply");
        let fields = match kind.as_str() {
            "none" | "vectorset" => None,
            _ => value::fields(&kind, value),
        };
        Seen { kind, expire_ms, stored_fields, field_ends_ms, fields }
    }

    pub fn exists(&self) -> bool {
        self.kind != "none" && (self.fields.is_some() || self.kind == "vectorset")
    }

    /// True if the key or a field will expire soon, or should have expired.
    pub fn is_unstable(&self, now_ms: i64) -> bool {
        let soon = |at_ms: i64| at_ms >= 0 && at_ms < now_ms + 60_000;
        let ends_soon = soon(self.expire_ms) || soon(self.field_ends_ms);
        let fields = self.fields.as_ref().map_or(0, Document::len) as i64;
        ends_soon || (self.kind == "hash" && self.stored_fields != fields)
    }

    /// The document in this place, without its key field.
    pub fn became(&self, place: &Place) -> Became {
        if !self.exists() {
            return Became::Nothing;
        }
        // Vector sets also where their type is wrong: Redis 8.2 reports no change of them.
        let Some(mut fields) = self.fields.clone() else { return Became::Unwritable };
        if !place.kind.is_empty() && place.kind != self.kind {
            return Became::WrongType;
        }
        if let Some(schema) = place.schema {
            let Some(typed) = schema(fields) else { return Became::Unwritable };
            fields = typed;
        }
        // A hash may have a field `value` that holds an object, too.
        if place.unwraps && self.kind == "string" {
            let Some(unwrapped) = typed::unwrapped(fields) else { return Became::Unwritable };
            fields = unwrapped;
        }
        fields.remove("_id");
        fields.remove(place.key_field);
        if let Some(name) = place.ttl_field {
            fields.remove(name);
            if self.expire_ms >= 0 {
                fields.insert(name, Bson::DateTime(DateTime::from_millis(self.expire_ms)));
            }
        }
        Became::Document(fields)
    }
}
