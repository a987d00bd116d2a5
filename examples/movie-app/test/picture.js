// Writes docs/pictures/movie-app.png: films in each state that a card can have while MongoDB runs.

import { fileURLToPath } from "node:url";
import * as actions from "./actions.js";
import { App, openBrowser } from "./stage.js";

const PICTURE = fileURLToPath(new URL("../../../docs/pictures/movie-app.png", import.meta.url));

const app = await App.start();
const { browser, page } = await openBrowser();
try {
    await page.setViewportSize({ width: 1280, height: 815 });
    await page.goto(app.url);
    const added = { Title: "Perfect Days", Year: 2023, Rating: 7.9, Genre: "Drama", Director: "Wim Wenders" };
    await actions.add(page, { ...added, Plot: "A cleaner in Tokyo, his cassettes and his trees." });
    await actions.untilState(actions.card(page, "Perfect Days"), "equal");
    const plot = "Batman, and a man who wants to see the world burn.";
    await actions.edit(page, "The Dark Knight", { Rating: 9, Plot: plot });
    await actions.untilState(actions.card(page, "The Dark Knight"), "equal");
    await actions.untilState(await actions.remove(page, "The Shawshank Redemption"), "gone");
    // A pause holds for the picture what otherwise lasts a tenth of a second.
    await app.redis.sendCommand(["WB.PAUSE"]);
    await actions.edit(page, "Pulp Fiction", { Year: 1995, Rating: 9 });
    await actions.untilState(actions.card(page, "Pulp Fiction"), "behind");
    await page.locator("#dirty").filter({ hasText: /^1$/ }).waitFor();
    await page.locator("#deleted").filter({ hasText: /^1$/ }).waitFor();
    await page.screenshot({ path: PICTURE });
} finally {
    await browser.close();
    await app.interrupt();
}
