// Redis's reply within a limited time, or an error that says that there is none.

import {
    ClientClosedError,
    ClientOfflineError,
    DisconnectsClientError,
    SocketClosedUnexpectedlyError,
} from "redis";

/** How long a reply may take. */
const LONGEST_MS = 2000;

const OFFLINE = [
    ClientClosedError,
    ClientOfflineError,
    DisconnectsClientError,
    SocketClosedUnexpectedlyError,
];

export class NoReply extends Error {
    constructor() {
        super("Redis does not answer.");
    }
}

/**
 * The result of commands that were sent to Redis. Fails with NoReply if Redis is down or hangs; one that
 * hangs may execute the commands later.
 */
export async function reply(result) {
    let timer;
    const late = new Promise((resolve, reject) => {
        timer = setTimeout(() => reject(new NoReply()), LONGEST_MS);
    });
    try {
        return await Promise.race([result, late]);
    } catch (error) {
        // An error of the socket has the name of the system call.
        const isOffline = error.syscall || OFFLINE.some((kind) => error instanceof kind);
        throw isOffline ? new NoReply() : error;
    } finally {
        clearTimeout(timer);
    }
}
