// The application's web server: its page, and films to search, add, edit and delete. Every write goes
// to Redis, through movies.js.

import { fileURLToPath } from "node:url";
import express from "express";
import * as input from "./input.js";
import { NoReply, reply } from "./reply.js";

const PAGE = fileURLToPath(new URL("../public", import.meta.url));

/** @param movies the films; @param extra routers of whatever else the page shows */
export function createWeb(movies, ...extra) {
    const web = express();
    web.disable("x-powered-by");
    web.use((request, response, next) => {
        // The page loads nothing from elsewhere and has no script of its own in the HTML. Should
        // text of a film ever reach the page as HTML, the browser would not run it.
        response.set("Content-Security-Policy", "default-src 'self'; img-src 'self' data:");
        response.set("X-Content-Type-Options", "nosniff");
        next();
    });
    web.use(express.static(PAGE));
    web.use(express.json({ limit: "16kb" }));

    web.get("/api/genres", (request, response) => {
        response.json(input.GENRES);
    });
    web.get("/api/movies", async (request, response) => {
        response.json(await reply(movies.search(input.criteria(request.query))));
    });
    web.post("/api/movies", async (request, response) => {
        response.status(201).json(await reply(movies.add(input.movie(request.body))));
    });
    web.put("/api/movies/:id", async (request, response) => {
        const movie = await reply(movies.edit(input.id(request.params.id), input.movie(request.body)));
        if (movie) response.json(movie);
        else gone(response);
    });
    web.delete("/api/movies/:id", async (request, response) => {
        if (await reply(movies.remove(input.id(request.params.id)))) response.status(204).end();
        else gone(response);
    });

    for (const router of extra) web.use(router);
    web.use((request, response) => {
        response.status(404).json({ error: "There is nothing at this address." });
    });
    web.use(answerError);
    return web;
}

function gone(response) {
    response.status(404).json({ error: "This film was deleted." });
}

// Express recognizes a handler of errors by its four parameters.
function answerError(error, request, response, next) {
    if (response.headersSent) return next(error);
    if (error instanceof input.Invalid) {
        return response.status(400).json({ error: error.message });
    }
    if (error instanceof NoReply) {
        return response.status(503).json({ error: error.message });
    }
    // Errors of body-parser and of the router have a status: the client's fault.
    if (error.status >= 400 && error.status < 500) {
        return response.status(error.status).json({ error: "The request cannot be read." });
    }
    console.error(error);
    response.status(500).json({ error: "The server failed. Its output says why." });
}
