// Starts everything: MongoDB, Redis with its modules, and the application. Ctrl-C stops everything.
//
//     PORT          of the page, default 3000; 0 for a free one
//     DATA          folder that keeps the data of both servers; default a temporary one
//     WB_MODULE     the module; default target/release/libwritebehind.so
//     WB_REGISTER   the command that registers the films; see below for the default

import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { live } from "./app/live.js";
import { Mirror } from "./app/mirror.js";
import { Movies, SCHEMA_NAME } from "./app/movies.js";
import { createWeb } from "./app/web.js";
import { films } from "./servers/films.js";
import { Mongod } from "./servers/mongod.js";
import { startRedis } from "./servers/redis.js";
import { mongodSwitch } from "./servers/switch.js";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const FETCHED = join(ROOT, ".servers");
const PREFIX = `${SCHEMA_NAME}:`;
const NAMESPACE = "shop.movies";
const IMPORTED = 300;

// This command is the whole integration. TYPE JSON and EXCLUDE keep out the string
// MovieEntity:index:hash, in which redis-om keeps the version of its index.
const REGISTER =
    process.env.WB_REGISTER ??
    `WB.REGISTER ${PREFIX} ${NAMESPACE} TYPE JSON KEY movieId EXCLUDE 1 index:hash`;

/** What stops the parts that run, in the order in which they were started. */
const stops = [];

async function start() {
    const data = dataFolder();
    const mongod = await Mongod.start({ fetched: FETCHED, data });
    stops.push(() => mongod.stop());
    console.log(`MongoDB  ${mongod.uri}  pid ${mongod.pid}`);

    const writebehind = resolve(process.env.WB_MODULE || join(ROOT, "target/release/libwritebehind.so"));
    const redis = await startRedis({ fetched: FETCHED, writebehind, data, mongodbUri: mongod.uri });
    // While MongoDB runs, Redis writes what is dirty before it exits.
    stops.push(() => redis.process.stop(), () => redis.client.disconnect());
    console.log(`Redis    redis-cli -p ${redis.port}  pid ${redis.process.pid}`);

    await redis.client.sendCommand(REGISTER.split(" "));
    console.log(`         ${REGISTER}`);

    const movies = new Movies(redis.client);
    await movies.createIndex();
    if ((await movies.search({})).total === 0) {
        for (const film of films(join(FETCHED, "movies.json"), IMPORTED)) await movies.add(film);
    }

    const mirror = new Mirror(redis.client, PREFIX, mongod.uri, NAMESPACE);
    await mirror.open();
    stops.push(() => mirror.close());

    const page = createWeb(
        movies,
        live(redis.client, mirror, () => mongod.state),
        mongodSwitch(mongod),
    );
    await listen(page);
}

function dataFolder() {
    if (process.env.DATA) {
        mkdirSync(process.env.DATA, { recursive: true });
        return resolve(process.env.DATA);
    }
    const folder = mkdtempSync(join(tmpdir(), "movie-app-"));
    stops.push(() => rmSync(folder, { recursive: true }));
    return folder;
}

async function listen(page) {
    const port = Number(process.env.PORT ?? 3000);
    const server = page.listen(port, "127.0.0.1");
    try {
        await once(server, "listening");
    } catch (error) {
        if (error.code !== "EADDRINUSE") throw error;
        throw new Error(`port ${port} is in use: set PORT to another one, or to 0 for a free one`);
    }
    stops.push(() => {
        server.close();
        server.closeAllConnections();
    });
    console.log(`Page     http://127.0.0.1:${server.address().port}/`);
}

async function stop() {
    while (stops.length > 0) await stops.pop()();
}

for (const signal of ["SIGINT", "SIGTERM"]) {
    // Once: the same signal again ends this process at once.
    process.once(signal, async () => {
        console.log("Stopping");
        await stop();
        process.exit(0);
    });
}

try {
    await start();
} catch (error) {
    console.error(`movie-app: ${error.message}`);
    await stop();
    process.exit(1);
}
