// The movie application in a real browser, with real servers: what a user does on the page has to
// reach MongoDB, whether MongoDB runs at the time or not.

import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import * as actions from "./actions.js";
import { assertAllEqual, filmsOfRedis } from "./compare.js";
import { App, isRunning, openBrowser } from "./stage.js";
import { Mongod } from "../servers/mongod.js";

const IMPORTED = 300;

// Each part would do harm if the page used it as HTML.
const HOSTILE = `<img src=x onerror="alert(1)"> '"&amp; </h2><script>alert(2)</script> 🎬 O’Neill`;

let app, browser, page;
const failures = [];
let failed = false;

before(async () => {
    app = await App.start();
    ({ browser, page } = await openBrowser());
    page.on("pageerror", (error) => failures.push(String(error)));
    page.on("dialog", (dialog) => failures.push(`a script ran: ${dialog.message()}`));
    await page.goto(app.url);
});

after(async () => {
    await browser?.close();
    // The last test does so, unless it fails or is not reached.
    if (app?.isRunning) await app.interrupt();
});

/** A test that needs what the tests before it did. After a failure the others fail without waiting. */
function step(name, body) {
    test(name, async (t) => {
        assert.ok(!failed, "a step before this one failed");
        failed = true;
        await body(t);
        failed = false;
    });
}

/** The document of the film with this title, as MongoDB has it. */
const documentOf = (title) => app.documents.findOne({ title });

/** The page and the API say that Redis does not answer, the API within a limited time. */
async function assertNoReply() {
    await page.getByText("Redis does not answer. Figures and films are those of its last reply.").waitFor();
    const film = { title: "Not added", year: 1999, genre: "Drama" };
    for (const [method, body] of [["GET"], ["POST", JSON.stringify(film)]]) {
        const response = await fetch(`${app.url}api/movies`, {
            method,
            headers: { "Content-Type": "application/json" },
            body,
            signal: AbortSignal.timeout(10_000),
        });
        assert.deepEqual([response.status, await response.json()], [503, { error: "Redis does not answer." }]);
    }
}

step("the page shows the films and that their documents are equal", async () => {
    await page.getByText(`The latest 24 of ${IMPORTED} films.`).waitFor();
    await page.waitForFunction(
        () => document.querySelectorAll('.card[data-state="equal"]').length === 24,
    );
    assert.equal(await assertAllEqual(app), IMPORTED);
    // What redis-om keeps beside the films is not one.
    assert.equal(await app.redis.type("MovieEntity:index:hash"), "string");
});

step("a search by text finds the beginnings of words in titles and directors", async () => {
    await actions.searchText(page, "matr");
    await actions.untilTitles(page, ["The Matrix", "The Matrix Reloaded", "The Matrix Revolutions"]);
    await actions.searchText(page, "dark nolan");
    await actions.untilTitles(page, ["The Dark Knight"]);
    await actions.searchText(page, "no such film");
    await page.getByText("No film matches.").waitFor();
});

step("a search by form finds what meets every criterion", async () => {
    const all = [...(await filmsOfRedis(app.redis)).values()];
    const expected = all.filter(({ genre, year }) => genre === "Horror" && year >= 1990 && year <= 2005);
    assert.ok(expected.length > 1 && expected.length <= 24, `${expected.length} such films`);
    await actions.searchForm(page, { Genre: "Horror", "From year": 1990, "To year": 2005 });
    await actions.untilTitles(page, expected.map(({ title }) => title));

    await actions.searchForm(page, { Director: "nolan", Title: "begins" });
    await actions.untilTitles(page, ["Batman Begins"]);
});

step("a film that is added reaches MongoDB, and a hostile title is text", async () => {
    await actions.searchText(page, "");
    await page.getByText(`The latest 24 of ${IMPORTED} films.`).waitFor();
    const plot = `It isn't “over”: {"$ne": null}`;
    await actions.add(page, { Title: HOSTILE, Year: 2024, Rating: 7.5, Genre: "Western", Plot: plot });
    const card = actions.card(page, HOSTILE);
    await actions.untilState(card, "equal");
    assert.equal(await page.locator("#cards img, #cards script").count(), 0);

    const { _id, movieId, updated, ...fields } = await documentOf(HOSTILE);
    assert.deepEqual(fields, { title: HOSTILE, year: 2024, genre: "Western", rating: 7.5, plot });
    assert.equal(movieId, await card.getAttribute("data-id"));
    const shown = await card.locator('[data-field="title"] dd').textContent();
    assert.equal(JSON.parse(shown), HOSTILE);

    await actions.searchText(page, "onerror script");
    await actions.untilTitles(page, [HOSTILE]);
});

step("an edit replaces the document's fields", async () => {
    const title = "Il buono, il brutto, il cattivo & “Éastwood”";
    await actions.edit(page, HOSTILE, { Title: title, Year: 1966, Rating: "", Director: "Sergio Leone" });
    await actions.untilState(actions.card(page, title), "equal");
    const { year, director, rating } = await documentOf(title);
    assert.deepEqual({ year, director, rating }, { year: 1966, director: "Sergio Leone", rating: undefined });
    assert.equal(await documentOf(HOSTILE), null);
});

step("a film that is deleted disappears from MongoDB", async () => {
    await actions.searchText(page, "Shawshank");
    await actions.untilTitles(page, ["The Shawshank Redemption"]);
    const card = await actions.remove(page, "The Shawshank Redemption");
    await actions.untilState(card, "gone");
    assert.equal(await documentOf("The Shawshank Redemption"), null);
    assert.equal(await assertAllEqual(app), IMPORTED);
});

step("a change that does not come from the page is shown too", async () => {
    await actions.searchText(page, "Pulp Fiction");
    await actions.untilTitles(page, ["Pulp Fiction"]);
    const id = await actions.card(page, "Pulp Fiction").getAttribute("data-id");
    await app.redis.json.set(`MovieEntity:${id}`, "$.title", "Pulp");
    await actions.untilState(actions.card(page, "Pulp"), "equal");
});

step("without MongoDB the application goes on, and MongoDB has everything afterwards", async (t) => {
    await t.test("the switch stops MongoDB, and the page says so", async () => {
        await actions.searchText(page, "matrix");
        await actions.untilTitles(page, ["The Matrix", "The Matrix Reloaded", "The Matrix Revolutions"]);
        await actions.switchMongod(page, "stopped");
        assert.equal(isRunning(app.mongodPid), false);
        await page.getByText("MongoDB cannot be reached.").waitFor();
        await page.locator('#status[data-link="down"]').waitFor();
        await actions.untilState(actions.card(page, "The Matrix"), "unavailable");
    });

    await t.test("films are added, edited and deleted, and can be searched", async () => {
        await actions.add(page, { Title: "Added in the dark", Year: 2023, Genre: "Drama" });
        await actions.edit(page, "The Matrix", { Title: "The Matrix, edited", Year: 2000 });
        await actions.remove(page, "The Matrix Reloaded");
        await page.locator("#dirty").filter({ hasText: /^3$/ }).waitFor();
        await page.getByText("3 changed keys wait in Redis.").waitFor();
        const note = actions.card(page, "The Matrix, edited").locator(".lag");
        await note.filter({ hasText: "The change waits in Redis" }).waitFor();

        await actions.searchText(page, "dark added");
        await actions.untilTitles(page, ["Added in the dark"]);
        await actions.searchText(page, "matrix");
        await actions.untilTitles(page, ["The Matrix, edited", "The Matrix Revolutions"]);
    });

    await t.test("once MongoDB is back, all documents are equal", async () => {
        await actions.switchMongod(page, "running");
        const card = actions.card(page, "The Matrix, edited");
        await actions.untilState(card, "equal");
        assert.match(await card.locator(".lag").textContent(), /^Here [\d.]+ s after the change\.$/);
        await page.locator("#dirty").filter({ hasText: /^0$/ }).waitFor();
        await page.locator("#outage").waitFor({ state: "hidden" });
        await page.locator('#status[data-link="up"]').waitFor();
        assert.equal(await assertAllEqual(app), IMPORTED);
        assert.equal((await documentOf("The Matrix, edited")).year, 2000);
        assert.equal(await documentOf("The Matrix Reloaded"), null);
    });
});

step("if MongoDB ends by itself, the page says so, and one click starts it", async () => {
    const { pid } = await app.mongo.db("admin").command({ serverStatus: 1 });
    process.kill(Number(pid), "SIGKILL");
    await page.locator("#power-state").filter({ hasText: /^stopped$/ }).waitFor();
    await actions.switchMongod(page, "running");
    await page.locator('#status[data-link="up"]').waitFor();
    assert.equal(await assertAllEqual(app), IMPORTED);
});

step("MongoDB that cannot be launched is stopped", async () => {
    const data = mkdtempSync(join(tmpdir(), "test-mongod-"));
    const mongod = new Mongod({ fetched: join(data, "nothing"), data, port: 1 });
    await assert.rejects(mongod.start(), /is missing/);
    assert.equal(mongod.state, "stopped");
    rmSync(data, { recursive: true });
});

step("while Redis hangs, the page and the API say so", async () => {
    process.kill(app.redisPid, "SIGSTOP");
    try {
        await assertNoReply();
    } finally {
        process.kill(app.redisPid, "SIGCONT");
    }
    await page.locator("#outage").waitFor({ state: "hidden" });
    await page.locator('#status[data-link="up"]').waitFor();
    // Redis executes what it received while it was stopped.
    const [id] = [...(await filmsOfRedis(app.redis))].find(([, film]) => film.title === "Not added");
    assert.equal((await fetch(`${app.url}api/movies/${id}`, { method: "DELETE" })).status, 204);
    assert.equal(await assertAllEqual(app), IMPORTED);
});

step("input that is not a film is refused with a sentence", async (t) => {
    await t.test("in the pop-up", async () => {
        await page.getByRole("button", { name: "Add a film" }).click();
        const dialog = page.getByRole("dialog");
        await dialog.getByLabel("Title").fill("   ");
        await dialog.getByLabel("Year").fill("1999");
        await dialog.getByRole("combobox", { name: "Genre" }).selectOption("Drama");
        await dialog.getByRole("button", { name: "Save" }).click();
        await dialog.getByText("The title is missing.").waitFor();
        await page.keyboard.press("Escape");
        await dialog.waitFor({ state: "hidden" });
    });

    const film = { title: "A film", year: 1999, genre: "Drama" };
    const cases = [
        ["POST", "api/movies", { ...film, year: "1999" }, 400, "The year is not a number from 1888 to 2100."],
        [
            ...["POST", "api/movies", { ...film, title: "a\ud800" }],
            ...[400, "The title has a character that cannot be stored."],
        ],
        ["POST", "api/movies", { ...film, $where: 1 }, 400, 'A film has no field "$where".'],
        ["POST", "api/movies", [film], 400, "A film is a JSON object."],
        ["PUT", "api/movies/index:hash", film, 400, "This is not the id of a film."],
        ["PUT", "api/movies/nobody", film, 404, "This film was deleted."],
        ["DELETE", "api/movies/nobody", undefined, 404, "This film was deleted."],
        ["GET", "api/movies?genre=Opera", undefined, 400, "This genre is not in the list."],
        ["PUT", "api/mongod", { running: "no" }, 400, "running is true or false."],
        ["GET", "api/nothing", undefined, 404, "There is nothing at this address."],
    ];
    for (const [method, path, body, status, error] of cases) {
        await t.test(`${method} ${path}: ${error}`, async () => {
            const response = await fetch(app.url + path, {
                method,
                headers: { "Content-Type": "application/json" },
                body: body && JSON.stringify(body),
            });
            assert.deepEqual([response.status, await response.json()], [status, { error }]);
        });
    }
    assert.equal(await assertAllEqual(app), IMPORTED);
});

step("of many films that are added the page follows the latest 100", async () => {
    const ids = Array.from({ length: 101 }, (_, at) => `id${at}`);
    const response = await fetch(`${app.url}api/live?ids=${ids}`);
    const refused = [400, { error: "These are not ids of films." }];
    assert.deepEqual([response.status, await response.json()], refused);

    // A search that finds 99 films spares the test 75 additions.
    const movies = [...(await filmsOfRedis(app.redis))].slice(0, 99).map(([id, film]) => ({ ...film, id }));
    const isSearch = (url) => url.pathname === "/api/movies";
    await page.route(isSearch, (route) => {
        if (route.request().method() === "GET") return route.fulfill({ json: { total: 99, movies } });
        return route.continue();
    });
    await actions.searchText(page, "");
    await page.getByText("99 films.").waitFor();
    await page.unroute(isSearch);
    for (const title of ["The hundredth", "One more"]) {
        await actions.add(page, { Title: title, Year: 2000, Genre: "Drama" });
    }
    assert.equal(await page.locator(".card").count(), 100);
    assert.equal(await page.locator(`.card[data-id="${movies[98].id}"]`).count(), 0);
    await actions.untilState(actions.card(page, "One more"), "equal");
    await actions.untilState(page.locator(".card").last(), "equal");
    assert.equal(await page.locator("#message").isVisible(), false);
    assert.equal(await assertAllEqual(app), IMPORTED + 2);
});

step("the page connects again after a reply that is an error", async () => {
    await page.route("**/api/live?*", (route) => route.fulfill({ status: 500, json: { error: "Failed." } }));
    await page.reload();
    await page.getByText("The page connects again by itself.").waitFor();
    await page.unroute("**/api/live?*");
    await page.locator("#message").waitFor({ state: "hidden" });
    await page.locator('#status[data-link="up"]').waitFor();
});

step("without Redis the page and the API say so", async () => {
    process.kill(app.redisPid, "SIGKILL");
    await assertNoReply();
    await page.reload();
    await assertNoReply();
});

step("no script of a film ran, and the page had no error", () => {
    assert.deepEqual(failures, []);
});

step("Ctrl-C stops all processes and removes the temporary folder", async () => {
    assert.deepEqual(await app.interrupt(), { code: 0, left: [] });
    assert.equal(isRunning(app.redisPid), false);
    assert.equal(isRunning(app.mongodPid), false);
});
