// What MongoDB holds, for the page to show beside each film. It only reads: all writes are the module's.

import { MongoClient } from "mongodb";

/** How long a change stream that failed is not opened again, so that an error does not cause a storm. */
const PAUSE_MS = 500;

export class Documents {
    #client;
    #collection;
    #changed;
    #stream;
    #isClosed = false;

    /** Whether MongoDB has a primary, as the driver's heartbeats report it. */
    available = false;

    /** @param changed called after each change of a document, and when `available` changes */
    constructor(uri, namespace, changed) {
        const [database, ...collection] = namespace.split(".");
        this.#client = new MongoClient(uri, {
            // Without MongoDB a read fails soon, and its return is seen soon.
            serverSelectionTimeoutMS: 2000,
            heartbeatFrequencyMS: 500,
        });
        this.#collection = this.#client.db(database).collection(collection.join("."));
        this.#changed = changed;
        this.#client.on("topologyDescriptionChanged", ({ newDescription }) => {
            const available = newDescription.type === "ReplicaSetWithPrimary";
            if (available === this.available || this.#isClosed) return;
            this.available = available;
            if (available) this.#follow();
            else this.#close(this.#stream);
            changed();
        });
    }

    /** Begins to follow MongoDB and the collection. Fails if MongoDB does not answer. */
    async open() {
        await this.#client.connect();
    }

    async close() {
        this.#isClosed = true;
        await this.#close(this.#stream);
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
    // movieId, so documents are read again in any case. A read after "init" does without the events
    // of the time before.
    #follow() {
        const stream = this.#collection.watch();
        this.#stream = stream;
        stream.on("init", this.#changed);
        stream.on("change", this.#changed);
        stream.on("error", () => this.#close(stream));
        stream.on("close", () => {
            setTimeout(() => {
                if (this.available && !this.#isClosed && this.#stream === stream) this.#follow();
            }, PAUSE_MS).unref();
        });
    }

    /** An error here means that the connection is closed already. */
    async #close(stream) {
        await stream?.close().catch(() => {});
    }
}
