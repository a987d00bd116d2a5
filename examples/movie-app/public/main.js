// The page: searches, the cards of the films found, and what happens to them.

import * as api from "./api.js";
import { Card } from "./card.js";
import { fillGenres, openDeletion, openFilm } from "./dialogs.js";
import { enableSwitch, showStatus } from "./status.js";

const FORMS = { text: document.getElementById("by-text"), form: document.getElementById("by-form") };
const LIST = document.getElementById("cards");
const SUMMARY = document.getElementById("summary");
const MESSAGE = document.getElementById("message");
const LOST = "The server of this page does not answer. The page connects again by itself.";
const TYPING_MS = 200;
const MOST_CARDS = 100; // of so many films the server sends the state

let cards = new Map();
let kind = "text";
let searches = 0;
let endLive = () => {};

function report(sentence) {
    MESSAGE.textContent = sentence;
    MESSAGE.hidden = sentence === "";
}

function createCard(movie) {
    const card = new Card(movie, {
        edit: () => openFilm("Edit film", card.movie, async (fields) => {
            card.showChange(await api.edit(card.id, fields));
        }),
        remove: () => openDeletion(card.movie, async () => {
            await api.remove(card.id);
            card.showChange(null);
            card.focus();
        }),
    });
    cards.set(card.id, card);
    return card;
}

async function search() {
    const number = ++searches;
    const entered = [...new FormData(FORMS[kind])].filter(([, value]) => value.trim() !== "");
    try {
        const { total, movies } = await api.search(entered);
        if (number !== searches) return; // A later search has begun.
        report("");
        cards = new Map();
        LIST.replaceChildren(...movies.map((movie) => createCard(movie).element));
        SUMMARY.textContent = summary(movies.length, total);
        follow();
    } catch (error) {
        if (number === searches) report(error.message);
    }
}

function summary(shown, total) {
    if (total === 0) return "No film matches.";
    if (shown < total) return `The latest ${shown} of ${total} films.`;
    return total === 1 ? "1 film." : `${total} films.`;
}

/** Receives the state of the films that are shown. */
function follow() {
    endLive();
    endLive = api.live([...cards.keys()], {
        movie: (state) => cards.get(state.id)?.showLive(state),
        status: (status) => {
            if (MESSAGE.textContent === LOST) report("");
            showStatus(status);
        },
        lost: () => report(LOST),
    });
}

function startSearches() {
    let typing;
    for (const form of Object.values(FORMS)) {
        form.addEventListener("submit", (event) => {
            event.preventDefault();
            clearTimeout(typing);
            search();
        });
        form.addEventListener("input", () => {
            clearTimeout(typing);
            typing = setTimeout(() => form.checkValidity() && search(), TYPING_MS);
        });
        // The inputs have their former values until the event is over.
        form.addEventListener("reset", () => setTimeout(search));
    }
    for (const choice of document.querySelectorAll("input[name=kind]")) {
        choice.addEventListener("change", () => {
            kind = choice.value;
            for (const [name, form] of Object.entries(FORMS)) form.hidden = name !== kind;
            search();
        });
    }
}

function startAdding() {
    document.getElementById("add").addEventListener("click", () => {
        openFilm("Add a film", {}, async (fields) => {
            const card = createCard(await api.add(fields));
            LIST.prepend(card.element);
            while (LIST.children.length > MOST_CARDS) {
                cards.delete(LIST.lastElementChild.dataset.id);
                LIST.lastElementChild.remove();
            }
            SUMMARY.textContent = "The film was added.";
            card.element.scrollIntoView({ block: "nearest" });
            follow();
        });
    });
}

startSearches();
startAdding();
enableSwitch(report);
follow(); // The status, even if the first search fails.
search();
fillGenres(await api.genres());
