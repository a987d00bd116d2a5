// The films of the application: JSON values in Redis, saved and found with redis-om. This file is all
// that the application has to do with its data. It does not know that MongoDB exists.

import { EntityId, Repository, Schema } from "redis-om";

/** redis-om's name of the schema, which is also the prefix of its keys: `MovieEntity:<id>`. */
export const SCHEMA_NAME = "MovieEntity";

/** The most films that a search returns. */
const PAGE = 24;

// "The" and "it" are words that a film's title is made of: no stop words.
const SCHEMA = new Schema(
    SCHEMA_NAME,
    {
        title: { type: "text" },
        director: { type: "text" },
        plot: { type: "text" },
        genre: { type: "string" },
        year: { type: "number" },
        rating: { type: "number" },
        updated: { type: "number", sortable: true }, // ms since 1970
    },
    { useStopWords: "OFF" },
);

export class Movies {
    #redis;
    #repository;

    /** @param redis a connected client of the package `redis` */
    constructor(redis) {
        this.#redis = redis;
        this.#repository = new Repository(SCHEMA, redis);
    }

    /** Creates the index for searches, unless it exists. */
    async createIndex() {
        await this.#repository.createIndex();
    }

    /** Saves a new film and returns it with its id. */
    async add(fields) {
        return plain(await this.#repository.save({ ...fields, updated: Date.now() }));
    }

    /** Replaces the fields of a film. Null if there is no such film. */
    async edit(id, fields) {
        if (!(await this.#exists(id))) return null;
        return plain(await this.#repository.save(id, { ...fields, updated: Date.now() }));
    }

    /** False if there was no such film. */
    async remove(id) {
        const existed = await this.#exists(id);
        await this.#repository.remove(id);
        return existed;
    }

    /** The films that match every criterion given, the latest first, and how many there are in all. */
    async search({ text, title, director, genre, from, to }) {
        let query = this.#repository.search();
        for (const word of words(text)) {
            query = query.and((any) =>
                any.where("title").match(word).or("director").match(word).or("plot").match(word),
            );
        }
        for (const word of words(title)) query = query.and("title").match(word);
        for (const word of words(director)) query = query.and("director").match(word);
        if (genre) query = query.and("genre").equals(genre);
        if (from !== undefined) query = query.and("year").gte(from);
        if (to !== undefined) query = query.and("year").lte(to);
        query = query.sortBy("updated", "DESC");
        const [total, found] = await Promise.all([
            query.return.count(),
            query.return.page(0, PAGE),
        ]);
        return { total, movies: found.map(plain) };
    }

    async #exists(id) {
        return (await this.#redis.exists(`${SCHEMA_NAME}:${id}`)) === 1;
    }
}

/** A film without redis-om's symbols, which JSON cannot express. */
function plain(entity) {
    return { ...entity, id: entity[EntityId] };
}

// RediSearch ends a word at each of these, so a search has to do the same: ASCII punctuation but `_`.
// Characters beyond the basic plane, such as emoji, cannot begin a prefix search.
const BETWEEN_WORDS = /[\s!-/:-@[-^`{-~\u{10000}-\u{10ffff}]+/u;

/** The words of what the user typed, each as the beginning of a word where it is long enough for that. */
function words(text = "") {
    const found = text.split(BETWEEN_WORDS).filter((word) => word !== "");
    return found.map((word) => (word.length > 1 ? `${word}*` : word));
}
