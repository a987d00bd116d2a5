// The figures of WB.STATUS, and the switch that stops and starts MongoDB.

import { runMongod } from "./api.js";
import { duration } from "./card.js";

const part = (id) => document.getElementById(id);
const SWITCH = part("power");
let requested = false;

export function showStatus(status) {
    showMongod(status.mongod);
    if (status.answers) showFigures(status);
    else showSilence();
}

function showSilence() {
    part("link").textContent = "–";
    part("status").dataset.link = "";
    part("outage").textContent = "Redis does not answer. Figures and films are those of its last reply.";
    part("outage").hidden = false;
}

function showFigures(status) {
    const { link, linkError, dirtyKeys, oldestDirtyMs, lagMs, written, deleted, readable } = status;
    part("link").textContent = link;
    part("status").dataset.link = link;
    part("dirty").textContent = dirtyKeys.toLocaleString("en");
    part("waiting").textContent = dirtyKeys > 0 ? duration(oldestDirtyMs) : "–";
    part("lag").textContent = lagMs > 0 ? duration(lagMs) : "–";
    part("written").textContent = written.toLocaleString("en");
    part("deleted").textContent = deleted.toLocaleString("en");

    const keys = dirtyKeys === 1 ? "1 changed key waits" : `${dirtyKeys} changed keys wait`;
    const outage = link === "down" || !readable;
    part("outage").hidden = !outage;
    if (outage) {
        const reason = linkError ? ` link_error: “${linkError}”` : "";
        part("outage").textContent =
            `MongoDB cannot be reached. Films can be added, edited and deleted all the same: ${keys} ` +
            `in Redis.${reason}`;
    }
}

function showMongod(state) {
    SWITCH.setAttribute("aria-checked", String(state === "running" || state === "starting"));
    SWITCH.disabled = requested || state === "stopping" || state === "starting";
    part("power-state").textContent = state;
}

/** @param report called with a sentence if the switch fails */
export function enableSwitch(report) {
    SWITCH.addEventListener("click", async () => {
        const running = SWITCH.getAttribute("aria-checked") !== "true";
        requested = true;
        showMongod(running ? "starting" : "stopping");
        try {
            const { state } = await runMongod(running);
            requested = false;
            showMongod(state);
        } catch (error) {
            requested = false;
            showMongod(running ? "stopped" : "running");
            report(error.message);
        }
        SWITCH.focus(); // A disabled button loses the focus.
    });
}
