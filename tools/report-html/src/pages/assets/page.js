"use strict";
(() => {
  const $ = (s, e = document) => [...e.querySelectorAll(s)];
  for (const box of $("[data-tools]")) {
    const target = document.getElementById(box.dataset.tools);
    const search = box.querySelector("input"), choose = box.querySelector("select"), told = box.querySelector("output");
    if (!target) continue;
    box.hidden = false;
    const items = $("[data-i]", target);
    const texts = items.map(i => i.textContent.toLowerCase());
    const show = () => {
      const words = search ? search.value.toLowerCase().split(/\s+/).filter(Boolean) : [];
      const kind = choose ? choose.value : "";
      let n = 0;
      items.forEach((item, at) => {
        const yes = (!kind || item.dataset.i === kind) && words.every(w => texts[at].includes(w));
        if (item.hidden === yes) item.hidden = !yes;
        if (yes) n++;
      });
      for (const part of $("[data-part]", target)) part.hidden = !part.querySelector("[data-i]:not([hidden])");
      if (told) told.textContent = n === items.length ? n + " shown" : n + " of " + items.length + " shown";
    };
    const keep = () => {
      const p = new URLSearchParams();
      if (search && search.value) p.set("q", search.value);
      if (choose && choose.value) p.set("v", choose.value);
      history.replaceState(null, "", "#" + p);
    };
    const load = () => {
      const p = new URLSearchParams(location.hash.slice(1));
      if (!p.has("q") && !p.has("v")) return;
      if (search) search.value = p.get("q") || "";
      if (choose) choose.value = p.get("v") || "";
      show();
    };
    let timer;
    if (search) search.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(() => { show(); keep(); }, 60); });
    if (choose) choose.addEventListener("change", () => { show(); keep(); });
    addEventListener("hashchange", load);
    load();
    if (told && !told.textContent) told.textContent = items.length + " shown";
  }
  for (const table of $("table[data-sort]")) {
    const heads = $("thead th", table);
    heads.forEach((head, column) => {
      if (head.querySelector(".vh")) return;
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const down = head.getAttribute("aria-sort") === "ascending";
        heads.forEach(h => h.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
        const bodies = [...table.tBodies];
        const key = r => { const c = r.cells[column]; return c.dataset.k === undefined ? c.textContent : c.dataset.k; };
        const number = head.classList.contains("num") || head.dataset.by === "number";
        const rows = bodies.flatMap(b => [...b.rows]).map(r => [number ? +key(r) || 0 : key(r), r]);
        const order = new Intl.Collator("en").compare;
        rows.sort((a, b) => number ? a[0] - b[0] : order(a[0], b[0]));
        if (down !== number) rows.reverse();
        const each = Math.ceil(rows.length / bodies.length) || 1;
        bodies.forEach((b, n) => b.append(...rows.slice(n * each, (n + 1) * each).map(r => r[1])));
        for (const part of bodies) if (part.hasAttribute("data-part")) part.hidden = !part.querySelector("[data-i]:not([hidden])");
      });
    });
  }
  addEventListener("keydown", e => {
    if (e.key !== "/" || e.ctrlKey || e.metaKey || e.altKey || /^(INPUT|SELECT|TEXTAREA)$/.test(e.target.tagName)) return;
    const search = document.querySelector("[data-tools]:not([hidden]) input");
    if (search) { e.preventDefault(); search.focus(); }
  });
})();
