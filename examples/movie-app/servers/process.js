// A server process of this application: started with a log file of its own, and stopped by its pid.

import { spawn } from "node:child_process";
import { existsSync, openSync, readFileSync } from "node:fs";
import { createServer } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

// The kernel stops the server if this process is killed and cannot do so itself.
const SETPRIV = "/usr/bin/setpriv";

export class Process {
    #child;
    #log;
    #stopping = false;

    /** Resolves when the process has exited. */
    exited;

    /** @param folder its working directory; @param log the file for its output */
    constructor(program, args, folder, log) {
        if (!existsSync(program)) throw new Error(`${program} is missing: use make movie-app`);
        const command = [program, ...args];
        if (existsSync(SETPRIV)) command.unshift(SETPRIV, "--pdeathsig", "TERM", "--");
        const output = openSync(log, "a");
        this.#log = log;
        this.#child = spawn(command[0], command.slice(1), {
            cwd: folder,
            stdio: ["ignore", output, output],
            // In a group of its own: Ctrl-C reaches this process alone, which stops the servers in order.
            detached: true,
        });
        this.exited = new Promise((resolve) => this.#child.once("exit", resolve));
        this.exited.then(() => {
            if (!this.#stopping) console.error(`${program} exited. The end of ${log}:\n${this.#end()}`);
        });
    }

    get pid() {
        return this.#child.pid;
    }

    get hasExited() {
        return this.#child.exitCode !== null || this.#child.signalCode !== null;
    }

    /** Lets the server shut down cleanly, and waits until it has. */
    async stop() {
        this.#stopping = true;
        if (!this.hasExited) this.#child.kill("SIGTERM");
        await this.exited;
    }

    /** Waits until the condition holds. Fails if it does not within a minute, or if the process exits. */
    async until(what, condition) {
        const deadline = Date.now() + 60_000;
        while (!(await condition())) {
            if (this.hasExited) throw new Error(`the server exited before ${what}`);
            if (Date.now() > deadline) {
                throw new Error(`not within a minute: ${what}. The end of its log:\n${this.#end()}`);
            }
            await delay(50);
        }
    }

    #end() {
        return readFileSync(this.#log, "utf8").split("\n").slice(-20).join("\n");
    }
}

/** A TCP port of this machine that no process uses at present. */
export function freePort() {
    return new Promise((resolve, reject) => {
        const server = createServer();
        server.once("error", reject);
        server.listen(0, "127.0.0.1", () => {
            const { port } = server.address();
            server.close(() => resolve(port));
        });
    });
}
