// Redis with RedisJSON, RediSearch and writebehind.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { createClient } from "redis";
import { Process, freePort } from "./process.js";

/** Starts Redis, and returns its process, its port and a connected client. */
export async function startRedis({ fetched, writebehind, data, mongodbUri }) {
    const folder = join(data, "redis");
    mkdirSync(folder, { recursive: true });
    const port = await freePort();
    const settings = {
        port,
        bind: "127.0.0.1",
        // Registrations and dirty keys are as durable as the data.
        appendonly: "yes",
        // The page is notified of changes: K to the channel of the key, of generic commands, of
        // modules (RedisJSON), of expiry and of eviction. The module needs none of this.
        "notify-keyspace-events": "Kgdxe",
    };
    const modules = [
        [join(fetched, "rejson.so")],
        [join(fetched, "redisearch.so")],
        [writebehind, "mongodb-uri", mongodbUri],
    ];
    const process = new Process(
        join(fetched, "redis-7.4", "redis-server"),
        [
            ...Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]),
            ...modules.flatMap((words) => ["--loadmodule", ...words]),
        ],
        folder,
        join(data, "redis.log"),
    );
    const client = createClient({
        socket: { host: "127.0.0.1", port, reconnectStrategy: 100 },
        // While Redis is down a command fails at once. The queue for such commands has no limit.
        disableOfflineQueue: true,
    });
    client.on("error", () => {}); // Without a listener, an error would end this process.
    try {
        await Promise.race([
            client.connect(),
            process.exited.then(() => Promise.reject(new Error("Redis does not start"))),
        ]);
        // A server that loads its AOF already accepts connections.
        await process.until("Redis answers", () => client.ping().catch(() => false));
    } catch (error) {
        await process.stop();
        throw error;
    }
    return { process, port, client };
}
