// Draws the report. What comes from the code under test is only ever set as text.
"use strict";
{
  const data = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const whole = new Intl.NumberFormat("en").format;
  const percent = (part) => `${(100 * part).toFixed(1)} %`;
  const seconds = (value) => value.toFixed(value < 1 ? 3 : 2);
  const labels = data.factories.map((each) => each.label);
  const labelOf = new Map(data.factories.map((each) => [each.id, each.label]));
  const sum = (values) => values.reduce((total, value) => total + value, 0);

  // Headline

  const { totals } = data;
  byId("headline").textContent =
    `${seconds(totals.factory_seconds)} s in factories, ${percent(totals.share)} of the tests' ` +
    `${seconds(totals.seconds)} s: ${whole(totals.calls)} calls, ${whole(totals.created)} created, ` +
    `${whole(totals.reused)} reused, ${whole(totals.statements)} statements${saved(totals.saved)}`;

  function saved({ rows, statements }) {
    if (!rows) return "";
    const cost = statements < 0 ? `, for ${whole(-statements)} statements more` : ` and ${whole(statements)} statements`;
    return `; reuse saved about ${whole(rows)} rows${cost}`;
  }

  // Flame graph: run > module > test > factory > the factories that it pulled

  const METRICS = {
    seconds: { of: (frame) => frame[1], text: (value) => `${seconds(value)} s` },
    rows: { of: (frame) => frame[2], text: (value) => `${whole(value)} rows` },
    statements: { of: (frame) => frame[3], text: (value) => `${whole(value)} statements` },
  };
  let metric = "seconds";

  function factoryFrame(frame) {
    const factory = data.factories[frame[0]];
    return {
      name: labels[frame[0]],
      value: METRICS[metric].of(frame),
      kind: factory.decorated ? (frame[2] ? "created" : "reused") : "plain",
      calls: frame[4],
      children: frame[5].map(factoryFrame),
    };
  }

  function above(name, kind, children) {
    return { name, kind, value: sum(children.map((child) => child.value)), children };
  }

  function tree() {
    const modules = new Map();
    for (const [id, , frames] of data.tests) {
      if (!frames.length) continue;
      const cut = id.indexOf("::");
      const module = cut < 0 ? id : id.slice(0, cut);
      if (!modules.has(module)) modules.set(module, []);
      const name = cut < 0 ? id : id.slice(cut + 2);
      modules.get(module).push(above(name, "test", frames.map(factoryFrame)));
    }
    const files = [...modules].map(([module, tests]) => above(module, "module", tests));
    return above("all tests", "run", files);
  }

  const color = (kind) => getComputedStyle(document.documentElement).getPropertyValue(`--${kind}`);
  const flame = byId("flame");
  let chart, root, here, inView;

  function describe(node) {
    const { name, calls } = node.data;
    const all = node.ancestors().at(-1);
    const parts = [path(node).join(" > ") || name, METRICS[metric].text(node.data.value)];
    if (all.data.value) parts.push(percent(node.data.value / all.data.value));
    if (calls) parts.push(`${whole(calls)} calls`);
    return parts.join(", ");
  }

  const path = (node) => node.ancestors().reverse().slice(1).map((each) => each.data.name);

  // The frame at the end of the path, or as near to it as there is one.
  function at(names) {
    let node = root;
    for (const name of names) {
      const next = node.children?.find((child) => child.data.name === name);
      if (!next) break;
      node = next;
    }
    return node;
  }

  function draw() {
    const zoomed = inView ? path(inView) : [];
    flame.replaceChildren();
    const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    chart = window.flame.flamegraph()
      .width(flame.clientWidth)
      .cellHeight(20)
      .inverted(true)
      .sort((a, b) => b.data.value - a.data.value)
      .minFrameSize(0.5)
      .transitionDuration(still ? 0 : 200)
      .resetHeightOnZoom(true)
      .setColorMapper((node) => color(node.highlight ? "found" : node.data.kind))
      .setDetailsHandler((text) => { byId("details").textContent = text || (here ? describe(here) : ""); })
      .setSearchMatch((node, term) => Boolean(term) && node.data.name.toLowerCase().includes(term.toLowerCase()))
      .setSearchHandler((found, value, total) => {
        const text = `${whole(found.length)} frames, ${METRICS[metric].text(value)}, ${percent(total ? value / total : 0)}`;
        byId("matches").textContent = byId("search").value ? text : "";
      })
      .label(describe)
      .onClick((node) => { inView = node; go(node); });
    const selection = window.flame.select(flame).datum(tree());
    selection.call(chart);
    root = here = inView = selection.datum(); // d3 has made nodes of it
    if (zoomed.length) zoom(at(zoomed));
    if (byId("search").value) search();
  }

  function frameOf(node) {
    return [...flame.querySelectorAll("g.frame")].find((frame) => frame.__data__ === node);
  }

  function go(node) {
    here = node;
    byId("details").textContent = describe(node);
    flame.querySelector(".here")?.classList.remove("here");
    frameOf(node)?.classList.add("here");
  }

  function zoom(node) {
    chart.zoomTo(node);
    go(node);
  }

  function search() {
    const term = byId("search").value.trim();
    if (term) chart.search(term);
    else {
      chart.clear();
      byId("matches").textContent = "";
    }
  }

  function zoomOut() {
    chart.resetZoom();
    inView = root;
    go(root);
  }

  const visible = (node) => Boolean(node && frameOf(node));
  const beside = (step) => () => {
    const siblings = here.parent ? here.parent.children.filter(visible) : [here];
    return siblings[siblings.indexOf(here) + step];
  };
  const KEYS = {
    ArrowUp: () => here.parent,
    ArrowDown: () => here.children?.find(visible),
    ArrowLeft: beside(-1),
    ArrowRight: beside(1),
  };
  flame.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (KEYS[event.key]) {
      const next = KEYS[event.key]();
      if (next) go(next);
    } else if (event.key === "Enter" || event.key === " ") zoom(here);
    else if (event.key === "Escape") zoomOut();
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.target.matches("input, select")) return;
    event.preventDefault();
    byId("search").focus();
  });
  byId("metric").addEventListener("change", (event) => { metric = event.target.value; draw(); });
  byId("search").addEventListener("input", search);
  byId("reset").addEventListener("click", zoomOut);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  let width = 0;
  new ResizeObserver(() => {
    if (flame.clientWidth === width) return;
    width = flame.clientWidth;
    draw();
  }).observe(flame);

  // Tables

  function table(id, columns, rows) {
    const element = byId(id);
    const body = document.createElement("tbody");
    const headers = document.createElement("tr");
    let sorted = null;
    function fill() {
      body.replaceChildren(...rows.map((row) => {
        const line = document.createElement("tr");
        for (const { value, text } of columns) {
          const cell = document.createElement("td");
          const shown = value(row);
          cell.textContent = text ? text(shown) : shown;
          if (typeof shown === "string") {
            cell.className = "text";
            cell.title = shown;
          }
          line.append(cell);
        }
        return line;
      }));
    }
    columns.forEach((column, number) => {
      const header = document.createElement("th");
      const button = document.createElement("button");
      const isText = rows.length > 0 && typeof column.value(rows[0]) === "string";
      header.scope = "col";
      button.type = "button";
      button.textContent = column.title;
      if (column.hint) button.title = column.hint;
      if (isText) header.className = "text";
      button.addEventListener("click", () => {
        const falls = sorted === number ? header.ariaSort === "ascending" : !isText;
        for (const other of headers.children) other.removeAttribute("aria-sort");
        header.setAttribute("aria-sort", falls ? "descending" : "ascending");
        sorted = number;
        rows.sort((a, b) => {
          const [left, right] = [column.value(a), column.value(b)];
          const order = isText ? left.localeCompare(right) : left - right;
          return falls ? -order : order;
        });
        fill();
      });
      header.append(button);
      headers.append(header);
    });
    const head = document.createElement("thead");
    head.append(headers);
    element.append(head, body);
    fill();
  }

  const count = (title, value, hint) => ({ title, value, hint, text: whole });
  const time = (title, value, hint) => ({ title, value, hint, text: seconds });
  const factories = data.factories;
  const factory = { title: "factory", value: (each) => each.label + (each.decorated ? "" : " *"), hint: "* is not decorated" };
  const SOURCES = {
    cache: "in the transaction's cache",
    pending: "among objects that were not flushed yet",
    database: "found by a SELECT",
    race: "there after another transaction had made it first",
    recycled: "given to recycle()",
    lookup: "a factory that is not decorated looked it up by itself",
  };
  const sources = Object.keys(SOURCES).filter((source) => factories.some((each) => each.sources[source]));
  table("factories", [
    factory,
    count("calls", (each) => each.calls),
    count("direct", (each) => each.top_level, "by tests and fixtures themselves"),
    count("nested", (each) => each.nested, "inside a call of a factory"),
    count("created", (each) => each.created, "new objects"),
    count("reused", (each) => each.reused, "objects that were there"),
    ...sources.map((source) => count(source, (each) => each.sources[source] ?? 0, SOURCES[source])),
  ], factories.slice());
  table("costs", [
    factory,
    time("seconds", (each) => each.seconds, "with the calls inside"),
    time("own seconds", (each) => each.own_seconds, "without the calls inside"),
    count("statements", (each) => each.statements, "with the calls inside; BEGIN, COMMIT and ROLLBACK do not count"),
    count("own statements", (each) => each.own_statements, "without the calls inside"),
    count("saved rows", (each) => each.saved.rows, "rows reused, and those that would have been made for them"),
    count("saved statements", (each) => each.saved.statements, "an INSERT for each, less what reuse itself sends"),
  ], factories.slice());
  const plain = factories.filter((each) => each.would_reuse);
  byId("plain-section").hidden = !plain.length;
  table("plain", [
    { title: "factory", value: (each) => each.label },
    count("created", (each) => each.created),
    count("repeated", (each) => each.would_reuse.repeated, "given the same values as another one of the same test"),
    count("defaults", (each) => each.would_reuse.defaults, "given nothing, as another one of the same test"),
    count("rows to save, at most", (each) => each.would_reuse.rows, "those of these that SubFactories made, with the rows made for them"),
  ], plain.sort((a, b) => b.would_reuse.rows - a.would_reuse.rows));
  table("cascades", [
    { title: "factory", value: (each) => labelOf.get(each.factory) },
    { title: "pulled", value: (each) => labelOf.get(each.pulled) },
    count("calls", (each) => each.calls),
    count("created", (each) => each.created),
    time("seconds", (each) => each.seconds),
    { title: "of the run", value: (each) => each.share, text: percent },
  ], data.cascades);
  const inFactories = (test) => sum(test[2].map((frame) => frame[1]));
  const slowest = data.tests
    .filter((test) => test[2].length)
    .map((test) => ({ id: test[0], all: test[1], spent: inFactories(test), rows: sum(test[2].map((f) => f[2])), statements: sum(test[2].map((f) => f[3])) }))
    .sort((a, b) => b.spent - a.spent)
    .slice(0, 100);
  table("tests", [
    { title: "test", value: (test) => test.id },
    time("seconds in factories", (test) => test.spent),
    time("seconds", (test) => test.all),
    count("rows", (test) => test.rows),
    count("statements", (test) => test.statements),
  ], slowest);
  byId("leaks-section").hidden = !data.leaks.length;
  table("leaks", [
    { title: "factory", value: (leak) => labelOf.get(leak.factory) ?? leak.factory },
    { title: "row", value: (leak) => leak.row },
    { title: "attribute", value: (leak) => leak.attribute },
    { title: "from", value: (leak) => leak.old },
    { title: "to", value: (leak) => leak.new },
    { title: "changed by", value: (leak) => leak.changed_by ?? `a statement after ${leak.since}` },
    { title: "received by", value: (leak) => leak.received_by },
  ], data.leaks);
}
