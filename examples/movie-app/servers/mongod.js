// MongoDB as a replica set of one member, which can be stopped and started again.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { MongoClient } from "mongodb";
import { Process, freePort } from "./process.js";

const SET = "rs";

export class Mongod {
    #program;
    #data;
    #port;
    #process;

    /** `starting`, `running`, `stopping` or `stopped`. */
    state = "stopped";

    constructor({ fetched, data, port }) {
        this.#program = join(fetched, "mongod");
        this.#data = data;
        this.#port = port;
    }

    /** Starts it for the first time, on a free port. */
    static async start({ fetched, data }) {
        const mongod = new Mongod({ fetched, data, port: await freePort() });
        await mongod.start();
        return mongod;
    }

    get uri() {
        return `mongodb://127.0.0.1:${this.#port}/?replicaSet=${SET}`;
    }

    get pid() {
        return this.#process.pid;
    }

    /** Returns when it accepts writes. */
    async start() {
        this.state = "starting";
        try {
            this.#process = this.#launch();
            await this.#process.until("MongoDB accepts writes", () => this.#isPrimary());
        } catch (error) {
            await this.stop();
            throw error;
        }
        this.state = "running";
        // It may end by itself. While it stops or starts, stop() and start() set the state.
        this.#process.exited.then(() => {
            if (this.state === "running") this.state = "stopped";
        });
    }

    #launch() {
        const folder = join(this.#data, "mongodb");
        mkdirSync(folder, { recursive: true });
        return new Process(
            this.#program,
            [
                ...["--bind_ip", "127.0.0.1", "--port", String(this.#port), "--dbpath", "."],
                ...["--replSet", SET, "--oplogSize", "64", "--wiredTigerCacheSizeGB", "0.25"],
            ],
            folder,
            join(this.#data, "mongodb.log"),
        );
    }

    async stop() {
        this.state = "stopping";
        await this.#process?.stop(); // None if it could not be launched.
        this.state = "stopped";
    }

    async #isPrimary() {
        // directConnection: before it is initiated, the server is no member of the set.
        const uri = `mongodb://127.0.0.1:${this.#port}/?directConnection=true`;
        const client = new MongoClient(uri, { serverSelectionTimeoutMS: 1000 });
        try {
            const admin = client.db("admin");
            const { setName, isWritablePrimary } = await admin.command({ hello: 1 });
            if (!setName && !isWritablePrimary) await this.#initiate(admin);
            return isWritablePrimary;
        } catch {
            return false; // It does not accept connections yet.
        } finally {
            await client.close();
        }
    }

    async #initiate(admin) {
        // The member's port may be another one than the last time, where the folder is an old one.
        const members = [{ _id: 0, host: `127.0.0.1:${this.#port}` }];
        try {
            await admin.command({ replSetInitiate: { _id: SET, members } });
        } catch (error) {
            if (error.codeName !== "AlreadyInitialized") throw error;
            const { config } = await admin.command({ replSetGetConfig: 1 });
            const version = config.version + 1;
            await admin.command({ replSetReconfig: { ...config, members, version }, force: true });
        }
    }
}
