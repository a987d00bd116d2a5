// Checks what a browser sends. Each function returns the checked value, or throws an Invalid whose
// message is a sentence for the user.

export class Invalid extends Error {}

export const GENRES = [
    "Action",
    "Adventure",
    "Black Comedy",
    "Comedy",
    "Concert/Performance",
    "Documentary",
    "Drama",
    "Horror",
    "Musical",
    "Romantic Comedy",
    "Thriller/Suspense",
    "Western",
];

const YEARS = [1888, 2100];
const RATINGS = [0, 10];
const MOST_IDS = 100; // also in public/main.js

// Control characters, and halves of surrogate pairs: MongoDB's strings are UTF-8, which has no such halves.
const UNWANTED = /[\p{Cc}\p{Surrogate}]/u;

/** The fields of a film. Fields that are empty are left out. */
export function movie(body) {
    if (typeof body !== "object" || body === null || Array.isArray(body)) {
        throw new Invalid("A film is a JSON object.");
    }
    const known = ["title", "year", "genre", "director", "rating", "plot"];
    const unknown = Object.keys(body).find((name) => !known.includes(name));
    if (unknown !== undefined) throw new Invalid(`A film has no field ${JSON.stringify(unknown)}.`);
    const fields = {
        title: text("title", body.title, 200),
        year: number("year", body.year, YEARS, Number.isInteger),
        genre: genre(body.genre),
        director: text("director", body.director, 100),
        rating: number("rating", body.rating, RATINGS, Number.isFinite),
        plot: text("plot", body.plot, 1000),
    };
    for (const name of ["title", "year", "genre"]) {
        if (fields[name] === undefined) throw new Invalid(`The ${name} is missing.`);
    }
    return withoutUndefined(fields);
}

/** The criteria of a search, from the query of its URL. */
export function criteria(query) {
    const year = (name) => {
        const value = query[name];
        if (value === undefined || value === "") return undefined;
        return number(name, /^\d{1,4}$/.test(value) ? Number(value) : value, YEARS, Number.isInteger);
    };
    return withoutUndefined({
        text: text("text", query.text, 200),
        title: text("title", query.title, 200),
        director: text("director", query.director, 100),
        genre: genre(query.genre),
        from: year("from"),
        to: year("to"),
    });
}

/** The id of a film, as it is in its key. */
export function id(value) {
    if (!isId(value)) throw new Invalid("This is not the id of a film.");
    return value;
}

/** The ids of the films that a page shows, separated by commas; at most as many as it has cards. */
export function ids(value) {
    const found = String(value ?? "").split(",").filter((part) => part !== "");
    if (found.length > MOST_IDS || !found.every(isId)) throw new Invalid("These are not ids of films.");
    return found;
}

/** redis-om's own key `MovieEntity:index:hash` is not a film: an id has no colon. */
export function isId(value) {
    return typeof value === "string" && /^[\w.-]{1,100}$/.test(value);
}

function text(name, value, longest) {
    if (isEmpty(value)) return undefined;
    if (typeof value !== "string") throw new Invalid(`The ${name} is not a text.`);
    const trimmed = value.trim();
    if (trimmed.length > longest) {
        throw new Invalid(`The ${name} is longer than ${longest} characters.`);
    }
    if (UNWANTED.test(trimmed)) {
        throw new Invalid(`The ${name} has a character that cannot be stored.`);
    }
    return trimmed === "" ? undefined : trimmed;
}

function number(name, value, [lowest, highest], isSuitable) {
    if (isEmpty(value)) return undefined;
    if (!isSuitable(value) || value < lowest || value > highest) {
        throw new Invalid(`The ${name} is not a number from ${lowest} to ${highest}.`);
    }
    return value;
}

function genre(value) {
    if (isEmpty(value)) return undefined;
    if (!GENRES.includes(value)) throw new Invalid("This genre is not in the list.");
    return value;
}

function isEmpty(value) {
    return value === undefined || value === null || value === "";
}

function withoutUndefined(fields) {
    return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}
