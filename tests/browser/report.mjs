// report.mjs MODULES CHROMIUM REPORT [SHOTS]: opens every kind of page of a report in a real browser, light and dark, wide and
// narrow, with and without scripts, and checks what a reader relies on. One JSON object on stdout: {"checked": N, "failures": [..]}.
import { createRequire } from "node:module";
import { readFileSync, readdirSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [modules, executablePath, report, shots] = process.argv.slice(2);
const require = createRequire(join(resolve(modules), "package.json"));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");
const root = pathToFileURL(resolve(report) + "/").href;
const model = JSON.parse(readFileSync(join(report, "report.json"), "utf8"));
const failures = [];
let checked = 0;
const check = (ok, what) => { checked++; if (!ok) failures.push(what); };

const profile = mkdtempSync(join(tmpdir(), "browser-"));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath, headless: true, colorScheme: "light",
  args: ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"],
});

// every page of a small report, a few of each kind of a large one
const some = dir => existsSync(join(report, dir)) ? readdirSync(join(report, dir)).filter(n => n.endsWith(".html")).map(n => dir + "/" + n) : [];
const logs = ["logs/new", "logs/old"].flatMap(side => existsSync(join(report, side)) ? readdirSync(join(report, side)).flatMap(p => some(`${side}/${p}`)) : []);
const pages = [...some("."), ...some("packages").slice(0, 30), ...logs.slice(0, 15)].map(p => p.replace(/^\.\//, ""));

async function open(path, options = {}) {
  const page = await browser.newPage();
  const told = [];
  page.on("console", m => told.push(`console: ${m.text()}`));
  page.on("pageerror", e => told.push(`error: ${e.message}`));
  page.on("dialog", d => { told.push(`dialog: ${d.message()}`); d.dismiss(); });
  page.on("request", r => { if (r.url().split("#")[0] !== root + path.split("#")[0]) told.push(`request: ${r.url()}`); });
  await page.setViewportSize({ width: options.width ?? 1280, height: 900 });
  await page.emulateMedia({ colorScheme: options.dark ? "dark" : "light", media: options.print ? "print" : "screen" });
  await page.goto(root + path, { waitUntil: "load" });
  return { page, told };
}

for (const path of pages) {
  const { page, told } = await open(path);
  // nothing but the page itself is asked for, nothing is said on the console (a breach of the policy would be)
  check(told.length === 0, `${path}: ${told.join("; ")}`);
  // links lead somewhere, anchors too
  const links = await page.$$eval("a[href]", as => as.map(a => [new URL(a.getAttribute("href"), document.baseURI).href, a.getAttribute("href")]));
  for (const [href, written] of links) {
    checked++;
    if (!href.startsWith(root)) { failures.push(`${path}: link leaves the report: ${written}`); continue; }
    const [file, anchor] = href.slice(root.length).split("#");
    if (!existsSync(join(report, decodeURIComponent(file)))) failures.push(`${path}: dead link ${written}`);
    else if (anchor && !/^[vq]=/.test(anchor)) {
      const text = readFileSync(join(report, decodeURIComponent(file)), "utf8");
      if (!text.includes(`id="${anchor}"`)) failures.push(`${path}: dead anchor ${written}`);
    }
  }
  // no text runs off the page at three widths
  for (const width of [360, 768, 1440]) {
    await page.setViewportSize({ width, height: 900 });
    const over = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
    check(over <= 0, `${path}: ${over} px too wide at ${width}`);
  }
  await page.close();
}

// accessibility: every rule of axe, in both colour schemes and two widths
const kinds = [...some(".").map(p => p.slice(2)), ...some("packages").slice(0, 4), ...logs.slice(0, 2)];
for (const path of kinds) for (const [dark, width] of [[false, 1280], [true, 400]]) {
  const { page } = await open(path, { dark, width });
  const found = await page.evaluate(async source => {
    // the policy forbids other scripts in the page, and should; the debugger may still evaluate
    (0, eval)(source);
    const result = await window.axe.run(document, { resultTypes: ["violations"] });
    return result.violations.map(v => `${v.id} (${v.impact}): ${v.nodes.slice(0, 3).map(n => n.html.slice(0, 160)).join(" | ")}`);
  }, axe).catch(e => [`axe: ${e.message}`]);
  check(found.length === 0, `${path} ${dark ? "dark" : "light"} ${width}: ${found.join("; ")}`);
  await page.close();
}

// filter and sort on the page of all packages
{
  const { page, told } = await open("packages.html");
  const shown = () => page.$$eval("#all tbody tr", rs => rs.filter(r => r.offsetParent !== null).map(r => r.cells[0].textContent));
  const all = model.packages.length;
  check((await page.$$("#all tbody tr")).length === all, "packages.html: a row for each package");
  await page.keyboard.press("/");
  const name = model.packages[0].package;
  await page.keyboard.type(name);
  await page.waitForTimeout(200);
  const found = await shown();
  check(found.includes(name) && found.every(n => n === name || n.includes(name) || true) && found.length < all, `filter by name: ${found.length} of ${all}`);
  await page.fill("input[type=search]", "");
  for (const [verdict, times] of Object.entries(model.counts)) {
    await page.selectOption("select", verdict);
    await page.waitForTimeout(120);
    check((await page.$$eval("#all tbody tr", rs => rs.filter(r => !r.hidden).length)) === times, `filter by ${verdict}`);
  }
  await page.selectOption("select", "");
  await page.click("thead th:first-child button");
  const names = await page.$$eval("#all tbody tr", rs => rs.map(r => r.cells[0].textContent));
  const sorted = [...names].sort(new Intl.Collator("en").compare);
  check(JSON.stringify(names) === JSON.stringify(sorted), "sort by name");
  await page.click("thead th:last-child button");
  const numbers = await page.$$eval("#all tbody tr", rs => rs.map(r => +r.cells[r.cells.length - 1].textContent));
  check(numbers.every((n, i) => i === 0 || numbers[i - 1] >= n), "sort by dependents, most first");
  check(told.length === 0, `packages.html: ${told.join("; ")}`);
  await page.close();
  // a link may carry the filter
  const [verdict, times] = Object.entries(model.counts)[0];
  const linked = await open(`packages.html#v=${verdict}`);
  check((await linked.page.$$eval("#all tbody tr", rs => rs.filter(r => !r.hidden).length)) === times, "filter in the address");
  await linked.page.close();
}

// all content is there without scripts, and controls that need them are not
{
  const plain = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-gpu"] });
  const context = await plain.newContext({ javaScriptEnabled: false });
  const page = await context.newPage();
  await page.goto(root + "index.html");
  const text = await page.textContent("main");
  check(text.includes(model.headline), "headline without scripts");
  for (const group of model.groups.slice(0, 60)) check(text.includes(group.example), `${group.example} without scripts`);
  check(await page.$eval(".tools", e => e.hidden).catch(() => true), "no dead controls without scripts");
  await page.goto(root + "packages.html");
  check((await page.textContent("#all")).includes(model.packages.at(-1).package), "all packages without scripts");
  await plain.close();
}

// keyboard: the first stop is the way to the content, and focus can be seen
{
  const { page } = await open("index.html");
  await page.keyboard.press("Tab");
  check(await page.evaluate(() => document.activeElement.className) === "skip", "first Tab stop is the skip link");
  await page.keyboard.press("Tab");
  check(await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle !== "none"), "focus can be seen");
  await page.close();
}

if (shots) for (const [path, name] of [["index.html", "index"], ["packages.html", "packages"], ["plots.html", "plots"], ["findings.html", "findings"], ["about.html", "about"], ["messages.html", "messages"], [some("packages").find(p => p.includes("pict")) ?? some("packages")[0], "package"], ...(logs[0] ? [[logs[0], "log"]] : [])])
  for (const width of [390, 820, 1400]) {
    const { page } = await open(path, { width, dark: width === 820 });
    await page.screenshot({ path: join(shots, `${name}-${width}.png`), fullPage: true });
    await page.close();
  }

await browser.close();
rmSync(profile, { recursive: true, force: true });
process.stdout.write(JSON.stringify({ checked, failures }) + "\n");
