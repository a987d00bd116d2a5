// Films as Redis and as MongoDB hold them at present, for all pages that show them. A keyspace
// notification or an event of MongoDB's change stream causes one read of what is shown; nothing here
// polls.

import { isDeepStrictEqual } from "node:util";
import { Documents } from "./documents.js";
import { isId } from "./input.js";

/** The most films that are followed, beside those on a page, from their change until MongoDB has it. */
const MOST_CHANGES = 200;

export class Mirror {
    #redis;
    #subscriber;
    #prefix;
    #pages = new Set();
    #changes = new Map(); // id: { since, seen }, until MongoDB has the change
    #lags = new Map(); // id: ms from the last change in Redis to MongoDB's document
    #reading = false;
    #again = false;

    /** @param redis a connected client; @param prefix of the keys; @param uri, namespace of MongoDB */
    constructor(redis, prefix, uri, namespace) {
        this.#redis = redis;
        this.#prefix = prefix;
        this.documents = new Documents(uri, namespace, () => this.#refresh());
    }

    async open() {
        this.#subscriber = this.#redis.duplicate();
        this.#subscriber.on("error", () => {}); // It connects again by itself.
        await this.#subscriber.connect();
        // What changed, or could not be read, while Redis was down.
        for (const client of [this.#redis, this.#subscriber]) client.on("ready", () => this.#refresh());
        const channel = `__keyspace@0__:${this.#prefix}`;
        await this.#subscriber.pSubscribe(`${channel}*`, (event, key) => {
            this.#changed(key.slice(channel.length));
        });
        await this.documents.open();
    }

    async close() {
        await this.#subscriber.disconnect();
        await this.documents.close();
    }

    /** Sends what a page shows, and from now on each change of it. Returns a function that ends this. */
    show(ids, send) {
        const page = { ids: new Set(ids), send, sent: new Map() };
        this.#pages.add(page);
        this.#refresh();
        return () => this.#pages.delete(page);
    }

    #changed(id) {
        if (!isId(id)) return;
        const isShown = [...this.#pages].some((page) => page.ids.has(id));
        // The first of several changes counts: that is what MongoDB has waited longest for.
        if (!this.#changes.has(id) && (isShown || this.#changes.size < MOST_CHANGES)) {
            this.#changes.set(id, { since: Date.now(), seen: false });
        }
        this.#refresh();
    }

    // One read at a time: events during a read cause one more.
    async #refresh() {
        this.#again = true;
        if (this.#reading) return;
        this.#reading = true;
        try {
            while (this.#again) {
                this.#again = false;
                await this.#read();
            }
        } catch (error) {
            console.error(`cannot read the films: ${error.message}`);
        } finally {
            this.#reading = false;
        }
    }

    async #read() {
        const ids = new Set(this.#changes.keys());
        for (const page of this.#pages) page.ids.forEach((id) => ids.add(id));
        if (ids.size === 0) return;
        const list = [...ids];
        const keys = list.map((id) => this.#prefix + id);
        const [values, documents] = await Promise.all([
            this.#redis.json.mGet(keys, "$"),
            this.documents.find(list),
        ]);
        list.forEach((id, at) => {
            const movie = values[at]?.[0] ?? null;
            const document = documents && (documents.get(id) ?? null);
            const state = documents ? compare(id, movie, document) : "unavailable";
            this.#measure(id, state);
            const waits = this.#changes.has(id);
            this.#send(id, { id, movie, document, state, waits, lagMs: this.#lags.get(id) ?? null });
        });
    }

    #measure(id, state) {
        const change = this.#changes.get(id);
        if (!change) return;
        if (state !== "equal" && state !== "gone") {
            change.seen = true;
            this.#lags.delete(id);
            return;
        }
        this.#changes.delete(id);
        // Never seen to differ: the change left the value as it was.
        if (!change.seen) return;
        this.#lags.set(id, Date.now() - change.since);
        if (this.#lags.size > MOST_CHANGES) this.#lags.delete(this.#lags.keys().next().value);
    }

    #send(id, entry) {
        const text = JSON.stringify(entry);
        for (const page of this.#pages) {
            if (!page.ids.has(id) || page.sent.get(id) === text) continue;
            page.sent.set(id, text);
            page.send(text);
        }
    }
}

/** How MongoDB's document of a film compares with the JSON value in Redis; either may be null. */
function compare(id, movie, document) {
    if (!movie) return document ? "undeleted" : "gone";
    if (!document) return "missing";
    return isDeepStrictEqual(document, { ...movie, movieId: id }) ? "equal" : "behind";
}
