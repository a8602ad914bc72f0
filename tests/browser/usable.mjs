// usable.mjs MODULES CHROMIUM REPORT: how long the overview and the page of all packages take until they are drawn and answer, and
// how long filter and sort take; medians of five, for scripts/bench/report-html.sh.
import { createRequire } from "node:module";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, executablePath, report] = process.argv.slice(2);
const { chromium } = createRequire(join(resolve(modules), "package.json"))("playwright-core");
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu", "--disable-quic"] });
const median = values => values.sort((a, b) => a - b)[values.length >> 1].toFixed(0);
const drawn = page => page.evaluate(() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done))));
for (const file of ["index.html", "packages.html"]) {
  const loads = [], filters = [], sorts = [];
  for (let round = 0; round < 5; round++) {
    const page = await browser.newPage();
    let start = performance.now();
    await page.goto(pathToFileURL(join(resolve(report), file)).href, { waitUntil: "load" });
    await drawn(page);
    loads.push(performance.now() - start);
    if (file === "packages.html") {
      start = performance.now();
      await page.fill("input[type=search]", "p00100");
      await page.evaluate(async () => {
        while (document.querySelectorAll("#all tbody tr:not([hidden])").length > 50) await new Promise(requestAnimationFrame);
      });
      await drawn(page);
      filters.push(performance.now() - start);
      start = performance.now();
      await page.evaluate(() => document.querySelector("thead button").click());
      await drawn(page);
      sorts.push(performance.now() - start);
    }
    await page.close();
  }
  console.log(`${file}: usable after ${median(loads)} ms` + (filters.length ? `, filter ${median(filters)} ms, sort ${median(sorts)} ms` : ""));
}
await browser.close();
