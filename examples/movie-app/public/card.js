// One film: at the left as Redis has it, at the right its document in MongoDB. What films contain is
// set as text only, never as HTML.

const TEMPLATE = document.getElementById("card");

/** Fields of a document in this order; those that are not in the list follow. */
const ORDER = ["movieId", "title", "year", "genre", "director", "rating", "plot", "updated"];

const MARKS = {
    equal: "equal",
    behind: "behind",
    missing: "not there yet",
    undeleted: "still there",
    gone: "deleted",
    unavailable: "unavailable",
};

export class Card {
    #movie;
    #live = { document: null, state: "missing" };

    element = TEMPLATE.content.cloneNode(true).firstElementChild;

    /** @param actions `edit` and `remove`, called with this card */
    constructor(movie, actions) {
        this.id = movie.id;
        this.element.dataset.id = movie.id;
        this.#part("edit").addEventListener("click", () => actions.edit(this));
        this.#part("delete").addEventListener("click", () => actions.remove(this));
        this.show(movie);
    }

    #part(name) {
        return this.element.querySelector(`.${name}`);
    }

    get movie() {
        return this.#movie;
    }

    /** Moves the keyboard focus here, where the element that had it is gone. */
    focus() {
        this.#part("title").focus();
    }

    /** Shows the film as Redis has it. */
    show(movie) {
        this.#movie = movie;
        const { title, year, genre, director, rating, plot } = movie;
        this.#part("title").textContent = title;
        const facts = [year, genre, rating === undefined ? undefined : `★ ${rating}`];
        this.#part("facts").textContent = facts.filter((fact) => fact !== undefined).join(" · ");
        this.#part("director").textContent = director ? `Directed by ${director}` : "";
        this.#part("plot").textContent = plot ?? "";
        this.#part("edit").setAttribute("aria-label", `Edit ${title}`);
        this.#part("delete").setAttribute("aria-label", `Delete ${title}`);
        this.#part("document").setAttribute("aria-label", `MongoDB’s document of ${title}`);
        this.#part("poster").textContent = initials(String(title));
        this.#part("poster").style.setProperty("--hue", hue(String(title)));
    }

    // The card of a deleted film stays, to show when MongoDB follows.
    #showDeleted() {
        this.element.classList.add("is-deleted");
        this.#part("buttons").hidden = true;
        this.#part("facts").textContent = "Deleted in Redis";
    }

    /** Shows a change that Redis has acknowledged: the film, or null for a deletion. */
    showChange(movie) {
        // The report of the change may be here already; it says more.
        if (this.#live.movie?.updated === movie?.updated) return;
        const readable = movie ? "behind" : "undeleted";
        const state = this.#live.state === "unavailable" ? "unavailable" : readable;
        this.showLive({ ...this.#live, movie, state, waits: true, lagMs: null });
    }

    /** Shows what both servers have, as the server of this page reports it. */
    showLive(live) {
        this.#live = live;
        const { movie, document: found, state, waits, lagMs } = live;
        if (movie) this.show({ ...movie, id: this.id });
        else this.#showDeleted();
        this.element.dataset.state = state;
        this.element.dataset.waits = waits;
        this.#part("mark").textContent = MARKS[state];
        this.#part("fields").replaceChildren(...fields(found, movie));
        this.#part("lag").textContent = note(state, waits, lagMs);
    }
}

function fields(found, movie) {
    if (!found) return [];
    const names = Object.keys(found);
    const place = (name) => (ORDER.includes(name) ? ORDER.indexOf(name) : ORDER.length);
    names.sort((a, b) => place(a) - place(b));
    return names.map((name) => {
        const row = document.createElement("div");
        const term = document.createElement("dt");
        const value = document.createElement("dd");
        term.textContent = name;
        value.textContent = JSON.stringify(found[name]);
        const differs = name !== "movieId" && JSON.stringify(movie?.[name]) !== value.textContent;
        row.classList.toggle("differs", differs);
        row.dataset.field = name;
        row.append(term, value);
        return row;
    });
}

/** @param waits whether a change of the film has not been seen in MongoDB */
function note(state, waits, lagMs) {
    if (state === "unavailable") {
        return waits
            ? "The change waits in Redis until MongoDB is back."
            : "MongoDB cannot be read at present.";
    }
    if (state === "behind") return "Highlighted fields differ from Redis.";
    if (state === "missing") return "Redis has the film, MongoDB has not yet.";
    if (state === "undeleted") return "Deleted in Redis, not yet in MongoDB.";
    if (lagMs === null) return "";
    const time = duration(lagMs);
    return state === "gone" ? `Deleted here ${time} later.` : `Here ${time} after the change.`;
}

export function duration(ms) {
    return ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`;
}

function initials(title) {
    const words = title.match(/[\p{L}\p{N}]+/gu) ?? ["?"];
    return words.slice(0, 2).map((word) => [...word][0].toUpperCase()).join("");
}

/** A colour of the poster that stays the same for a title. */
function hue(title) {
    let sum = 0;
    for (const letter of title) sum = (sum * 31 + letter.codePointAt(0)) % 360;
    return sum;
}
