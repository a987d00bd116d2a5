// Server-sent events for the page: films as both servers hold them, and the figures of WB.STATUS.

import express from "express";
import { ids } from "./input.js";
import { NoReply, reply } from "./reply.js";

/** How often WB.STATUS is read while a page is open. It has no events to wait for. */
const STATUS_EVERY_MS = 500;

/**
 * @param mirror the films in both servers
 * @param mongodState `running`, `stopping`, `stopped` or `starting`
 */
export function live(redis, mirror, mongodState) {
    const streams = new Set();
    let timer;
    let sending = false;
    let asked; // the WB.STATUS that Redis has not answered: there is at most one

    async function sendStatus() {
        if (sending) return;
        sending = true;
        try {
            const text = JSON.stringify({ ...(await figures()), mongod: mongodState() });
            for (const stream of streams) stream.status(text);
        } catch (error) {
            console.error(`cannot read WB.STATUS: ${error.message}`);
        } finally {
            sending = false;
        }
    }

    async function figures() {
        asked ??= redis.sendCommand(["WB.STATUS"]).finally(() => (asked = undefined));
        try {
            return { answers: true, ...status(await reply(asked)), readable: mirror.documents.available };
        } catch (error) {
            if (error instanceof NoReply) return { answers: false };
            throw error;
        }
    }

    const router = express.Router();
    router.get("/api/live", (request, response) => {
        const shown = ids(request.query.ids);
        response.set({ "Content-Type": "text/event-stream", "Cache-Control": "no-store" });
        response.flushHeaders();
        const send = (event, text) => response.write(`event: ${event}\ndata: ${text}\n\n`);
        let last;
        const stream = {
            status(text) {
                if (text !== last) send("status", text);
                last = text;
            },
        };
        streams.add(stream);
        const hide = mirror.show(shown, (text) => send("movie", text));
        sendStatus();
        timer ??= setInterval(sendStatus, STATUS_EVERY_MS);
        response.on("close", () => {
            hide();
            streams.delete(stream);
            if (streams.size > 0) return;
            clearInterval(timer);
            timer = undefined;
        });
    });
    return router;
}

function status(list) {
    // RESP2 has no maps: names and values take turns.
    const fields = {};
    for (let at = 0; at < list.length; at += 2) fields[list[at]] = list[at + 1];
    return {
        link: fields.link,
        linkError: fields.link_error,
        dirtyKeys: fields.dirty_keys,
        oldestDirtyMs: fields.oldest_dirty_ms,
        lagMs: Math.round(fields.lag_p50_us / 1000),
        written: fields.written_total,
        deleted: fields.deleted_total,
    };
}
