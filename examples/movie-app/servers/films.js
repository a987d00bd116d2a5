// Some hundred well-known films from the package vega-datasets, so that there is something to search.

import { readFileSync } from "node:fs";
import { GENRES } from "../app/input.js";

/** Years have two digits in the origin of that data: films of 1911 to 1946 have dates after 2010. */
const LATEST_YEAR = 2010;

/** The `count` films with the most votes, the one with the most as the last. */
export function films(file, count) {
    const all = JSON.parse(readFileSync(file, "utf8"));
    const suitable = all.map(film).filter(({ title, year, genre, director }) => {
        return typeof title === "string" && director && GENRES.includes(genre) && year <= LATEST_YEAR;
    });
    suitable.sort((a, b) => a.votes - b.votes);
    return suitable.slice(-count).map(({ votes, ...fields }) => fields);
}

function film(row) {
    return {
        title: row.Title,
        year: Number(row["Release Date"]?.slice(-4)),
        genre: row["Major Genre"],
        director: row.Director,
        rating: row["IMDB Rating"] ?? undefined,
        votes: row["IMDB Votes"] ?? 0,
    };
}
