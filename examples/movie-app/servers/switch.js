// The page's switch that stops and starts MongoDB.

import express from "express";

/** @param mongod with `state`, `start` and `stop` */
export function mongodSwitch(mongod) {
    const router = express.Router();
    router.put("/api/mongod", async (request, response) => {
        const running = request.body?.running;
        if (typeof running !== "boolean") {
            response.status(400).json({ error: "running is true or false." });
        } else if (mongod.state === "starting" || mongod.state === "stopping") {
            response.status(409).json({ error: `MongoDB is ${mongod.state} already.` });
        } else {
            if (running && mongod.state === "stopped") await mongod.start();
            if (!running && mongod.state === "running") await mongod.stop();
            response.json({ state: mongod.state });
        }
    });
    return router;
}
