// What MongoDB holds, for the page to show beside each film. It only reads: all writes are the module's.

import { setTimeout as delay } from "node:timers/promises";
import { MongoClient } from "mongodb";

/** How long a change stream that failed is not opened again, so that an error does not cause a storm. */
const PAUSE_MS = 500;

export class Documents {
    #client;
    #collection;
    #changed;
    #stream;
    #closed = new AbortController();
    #following;

    /** Whether MongoDB has a primary, as the driver's heartbeats report it. */
    available = false;

    /** @param changed called after each change of a document, and when `available` changes */
    constructor(uri, namespace, changed) {
        const [database, ...collection] = namespace.split(".");
        // Without MongoDB a read fails soon, and the page can say so.
        this.#client = new MongoClient(uri, { serverSelectionTimeoutMS: 2000 });
        this.#collection = this.#client.db(database).collection(collection.join("."));
        this.#changed = changed;
        this.#client.on("topologyDescriptionChanged", ({ newDescription }) => {
            const available = newDescription.type === "ReplicaSetWithPrimary";
            if (available === this.available) return;
            this.available = available;
            changed();
        });
    }

    /** Begins to follow the changes of the collection. */
    open() {
        this.#following = this.#follow();
    }

    async close() {
        this.#closed.abort();
        await this.#stream?.close().catch(() => {});
        await this.#following;
        await this.#client.close();
    }

    /** The documents of these films by id, without `_id`. Null if MongoDB cannot be read at present. */
    async find(ids) {
        if (!this.available) return null;
        try {
            const options = { projection: { _id: 0 } };
            const found = await this.#collection.find({ movieId: { $in: ids } }, options).toArray();
            return new Map(found.map((document) => [document.movieId, document]));
        } catch {
            return null;
        }
    }

    // A change stream says only that something changed: the event of a deletion has the _id, not the
    // movieId, so documents are read again in any case. After an outage a new stream and a read do
    // without the events between.
    async #follow() {
        while (!this.#closed.signal.aborted) {
            try {
                this.#stream = this.#collection.watch();
                await this.#stream.tryNext(); // opens it
                do this.#changed();
                while (await this.#stream.next());
            } catch {
                await this.#stream.close().catch(() => {});
                await delay(PAUSE_MS, null, { signal: this.#closed.signal }).catch(() => {});
            }
        }
    }
}
