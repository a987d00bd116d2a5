// The application as `make movie-app` starts it, and a real browser that shows it.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { MongoClient } from "mongodb";
import { chromium } from "playwright-core";
import { createClient } from "redis";

const FOLDER = fileURLToPath(new URL("..", import.meta.url));
const DEADLINE_MS = 30_000;
// Of the whole start: each server may take a minute.
const START_MS = 120_000;

// The browser runs as root in containers, and opens no connections of its own.
const CHROMIUM_ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

/** start.js as a process, and the test's own connections to both servers. */
export class App {
    #child;
    #temporary;

    static async start() {
        const app = new App();
        await app.#start();
        return app;
    }

    async #start() {
        this.#temporary = mkdtempSync(join(tmpdir(), "test-movie-app-"));
        // If the test is killed, the kernel sends the application what Ctrl-C sends.
        this.#child = spawn("setpriv", ["--pdeathsig", "INT", "--", process.execPath, "start.js"], {
            cwd: FOLDER,
            // Its temporary folder is made in here, and has to be gone at the end.
            env: { ...process.env, PORT: "0", DATA: "", TMPDIR: this.#temporary },
            stdio: ["ignore", "pipe", "inherit"],
        });
        const timer = setTimeout(() => this.#child.kill("SIGTERM"), START_MS);
        const output = [];
        for await (const line of createInterface(this.#child.stdout)) {
            output.push(line);
            if (line.startsWith("Page")) break;
        }
        clearTimeout(timer);
        this.#child.stdout.resume();
        const find = (pattern) => {
            const match = pattern.exec(output.join("\n"));
            if (!match) throw new Error(`start.js did not print ${pattern}:\n${output.join("\n")}`);
            return match[1];
        };
        this.url = find(/^Page +(\S+)/m);
        this.mongodPid = Number(find(/^MongoDB .* pid (\d+)/m));
        this.redisPid = Number(find(/^Redis .* pid (\d+)/m));
        const port = Number(find(/redis-cli -p (\d+)/));
        this.redis = createClient({ socket: { host: "127.0.0.1", port } });
        this.redis.on("error", () => {}); // The client reports it again where it is used.
        await this.redis.connect();
        this.mongo = new MongoClient(find(/^MongoDB +(\S+)/m));
        this.documents = this.mongo.db("shop").collection("movies");
    }

    get isRunning() {
        return this.#child.exitCode === null && this.#child.signalCode === null;
    }

    /** Ctrl-C. Returns the exit code, and the files that are left. */
    async interrupt() {
        await this.redis.disconnect();
        await this.mongo.close();
        const exited = once(this.#child, "exit");
        this.#child.kill("SIGINT");
        const [code] = await exited;
        const left = readdirSync(this.#temporary);
        rmSync(this.#temporary, { recursive: true });
        return { code, left };
    }
}

export function isRunning(pid) {
    try {
        process.kill(pid, 0);
        return true;
    } catch {
        return false;
    }
}

export async function openBrowser() {
    // Playwright gives each start an empty folder for the user's data.
    const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: CHROMIUM_ARGUMENTS });
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
    page.setDefaultTimeout(DEADLINE_MS);
    return { browser, page };
}
