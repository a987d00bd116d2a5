// The pop-ups: one for the fields of a film, one that asks before a film is deleted.

const FILM = document.getElementById("film");
const DELETION = document.getElementById("deletion");

export function fillGenres(names) {
    for (const select of document.querySelectorAll("select[name=genre]")) {
        for (const name of names) select.add(new Option(name, name));
    }
}

/** Lets the user enter a new film, or change one. Closes when `save` has succeeded. */
export function openFilm(heading, movie, save) {
    FILM.querySelector("h2").textContent = heading;
    const form = FILM.querySelector("form");
    form.reset();
    for (const input of form.elements) {
        if (input.name && movie[input.name] !== undefined) input.value = movie[input.name];
    }
    open(FILM, () => save(entered(form)));
}

/** Asks whether to delete the film. Closes when `remove` has succeeded. */
export function openDeletion(movie, remove) {
    DELETION.querySelector(".title").textContent = movie.title;
    open(DELETION, remove);
}

/** The film that the user entered; fields that are empty are left out. */
function entered(form) {
    const movie = {};
    for (const { name, type, value } of form.elements) {
        if (name && value !== "") movie[name] = type === "number" ? Number(value) : value;
    }
    return movie;
}

function open(dialog, act) {
    const form = dialog.querySelector("form");
    const error = dialog.querySelector(".error");
    const submit = form.querySelector("[type=submit]");
    error.hidden = true;
    form.onsubmit = async (event) => {
        event.preventDefault();
        submit.disabled = true; // Two clicks are one film.
        try {
            await act();
            dialog.close();
        } catch (failure) {
            error.textContent = failure.message;
            error.hidden = false;
        } finally {
            submit.disabled = false;
        }
    };
    form.querySelector("[value=cancel]").onclick = () => dialog.close();
    dialog.showModal();
}
