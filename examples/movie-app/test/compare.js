// Every film of Redis against every document of MongoDB, field by field, types included.

import assert from "node:assert/strict";
import { BSON } from "mongodb";
import { SCHEMA_NAME } from "../app/movies.js";

const { Double, EJSON, Long } = BSON;

/** All JSON values of Redis under the prefix, by id. */
export async function filmsOfRedis(redis) {
    const films = new Map();
    const options = { MATCH: `${SCHEMA_NAME}:*`, TYPE: "ReJSON-RL", COUNT: 1000 };
    for await (const key of redis.scanIterator(options)) {
        films.set(key.slice(SCHEMA_NAME.length + 1), await redis.json.get(key));
    }
    return films;
}

/** Fails unless MongoDB has exactly the documents of the films. Returns how many there are. */
export async function assertAllEqual({ redis, documents }) {
    const flushed = await redis.sendCommand(["WB.FLUSH", "TIMEOUT", "30000"]);
    assert.deepEqual(flushed.slice(2), ["failed", 0, "pending", 0, "error", ""]);

    const films = await filmsOfRedis(redis);
    const found = await documents
        .find({}, { promoteValues: false, projection: { _id: 0 } })
        .toArray();
    const byId = (fields) => String(fields.movieId);
    const expected = [...films].map(([id, film]) => ({ ...typed(film), movieId: id }));
    const canonical = (list) =>
        Object.fromEntries(list.map((fields) => [byId(fields), EJSON.serialize(fields, { relaxed: false })]));
    assert.deepEqual(canonical(found), canonical(expected));
    assert.equal(found.length, films.size, "no film has two documents");
    return films.size;
}

/** docs/MAPPING.md: integers become int64, other numbers double. */
function typed(film) {
    const convert = (value) => {
        if (typeof value !== "number") return value;
        return Number.isInteger(value) ? Long.fromNumber(value) : new Double(value);
    };
    return Object.fromEntries(Object.entries(film).map(([name, value]) => [name, convert(value)]));
}
