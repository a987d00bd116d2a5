// Requests to the application's server. Each rejects with an Error whose message is a sentence.

/** The pause before a connection that the browser has given up is opened again. */
const AGAIN_MS = 1000;

async function request(method, path, body) {
    let response;
    try {
        response = await fetch(path, {
            method,
            headers: body === undefined ? {} : { "Content-Type": "application/json" },
            body: body === undefined ? undefined : JSON.stringify(body),
        });
    } catch {
        throw new Error("The server of this page does not answer.");
    }
    const answer = response.status === 204 ? null : await response.json();
    if (!response.ok) throw new Error(answer.error);
    return answer;
}

const path = (id) => `/api/movies/${encodeURIComponent(id)}`;

export const genres = () => request("GET", "/api/genres");
export const search = (criteria) => request("GET", `/api/movies?${new URLSearchParams(criteria)}`);
export const add = (movie) => request("POST", "/api/movies", movie);
export const edit = (id, movie) => request("PUT", path(id), movie);
export const remove = (id) => request("DELETE", path(id));
export const runMongod = (running) => request("PUT", "/api/mongod", { running });

/**
 * Receives the state of these films, and the status, until the function that is returned is called.
 * A connection that is lost is opened again.
 */
export function live(ids, { movie, status, lost }) {
    let source, timer;
    const open = () => {
        source = new EventSource(`/api/live?${new URLSearchParams({ ids: ids.join(",") })}`);
        source.addEventListener("movie", (event) => movie(JSON.parse(event.data)));
        source.addEventListener("status", (event) => status(JSON.parse(event.data)));
        source.addEventListener("error", () => {
            lost();
            // The browser connects again by itself, but not after a reply that is an error.
            if (source.readyState === EventSource.CLOSED) timer = setTimeout(open, AGAIN_MS);
        });
    };
    open();
    return () => {
        clearTimeout(timer);
        source.close();
    };
}
