// What a user does on the page, and what the page shows. Each waits for a condition of the page.

/** The card whose title is exactly this text. */
export function card(page, title) {
    return page.locator(".card").filter({ has: page.getByRole("heading", { name: title, exact: true }) });
}

export function titles(page) {
    return page.locator(".card .title").allTextContents();
}

/** Waits until the page shows exactly these films, in any order. */
export async function untilTitles(page, expected) {
    await page.waitForFunction((wanted) => {
        const shown = [...document.querySelectorAll(".card .title")].map((title) => title.textContent);
        return JSON.stringify(shown.sort()) === wanted;
    }, JSON.stringify([...expected].sort()));
}

export async function untilState(card, state) {
    await card.and(card.page().locator(`[data-state="${state}"]`)).waitFor();
}

export async function searchText(page, words) {
    await page.getByLabel("Text", { exact: true }).check();
    await page.locator("#by-text").getByRole("searchbox").fill(words);
    await page.locator("#by-text").getByRole("button", { name: "Search" }).click();
}

/** @param fields the labels of the form, and what to enter or choose there */
export async function searchForm(page, fields) {
    await page.getByLabel("Form", { exact: true }).check();
    const form = page.locator("#by-form");
    await form.getByRole("button", { name: "Clear" }).click();
    await enter(form, fields);
    await form.getByRole("button", { name: "Search" }).click();
}

/** Adds a film with the keyboard alone. */
export async function add(page, fields) {
    await page.getByRole("button", { name: "Add a film" }).focus();
    await page.keyboard.press("Enter");
    const dialog = page.getByRole("dialog");
    await enter(dialog, fields);
    await dialog.getByLabel("Title").press("Enter");
    await dialog.waitFor({ state: "hidden" });
}

export async function edit(page, title, fields) {
    await card(page, title).getByRole("button", { name: "Edit" }).click();
    const dialog = page.getByRole("dialog");
    await enter(dialog, fields);
    await dialog.getByRole("button", { name: "Save" }).click();
    await dialog.waitFor({ state: "hidden" });
}

/** Deletes the film, and returns its card, which stays. */
export async function remove(page, title) {
    const id = await card(page, title).getAttribute("data-id");
    await card(page, title).getByRole("button", { name: "Delete" }).click();
    const dialog = page.getByRole("dialog");
    await dialog.getByRole("button", { name: "Delete" }).click();
    await dialog.waitFor({ state: "hidden" });
    return page.locator(`.card[data-id="${id}"]`);
}

/** Clicks the switch, and waits until MongoDB is in this state. */
export async function switchMongod(page, state) {
    await page.getByRole("switch", { name: "MongoDB" }).click();
    await page.locator("#power-state").filter({ hasText: new RegExp(`^${state}$`) }).waitFor();
}

async function enter(form, fields) {
    for (const [label, value] of Object.entries(fields)) {
        // The text of a label around a list has the options, too: here the role finds it.
        if (label === "Genre") await form.getByRole("combobox", { name: label }).selectOption(value);
        else await form.getByLabel(label, { exact: true }).fill(String(value));
    }
}
