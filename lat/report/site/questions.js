// Answers to questions about classes: chosen with the mouse or with keys, and downloaded as the YAML file that a run takes. The
// browser keeps them under the page, the run's label spaces and the question.
(() => {
  const cards = [...document.querySelectorAll(".question")];
  const main = document.getElementById("main");
  const said = JSON.parse(main.dataset.said);
  const key = `lat answers ${location.pathname} ${main.dataset.run}`;
  const download = document.getElementById("download");
  const boxesOf = (card) => [...card.querySelectorAll("input:not(.nothing)")];
  const nothingOf = (card) => card.querySelector(".nothing");
  const chosen = (card) => boxesOf(card).filter((box) => box.checked).map((box) => box.value);
  const isAnswered = (card) => nothingOf(card).checked || chosen(card).length > 0;

  function show() {
    for (const card of cards) card.classList.toggle("is-answered", isAnswered(card));
    const count = cards.filter(isAnswered).length;
    document.getElementById("answered").textContent = `${count} of ${cards.length} answered`;
    download.disabled = !count;
  }

  /** Nothing and a class exclude each other. */
  function changed(card, box) {
    if (box.checked && box === nothingOf(card)) for (const one of boxesOf(card)) one.checked = false;
    else if (box.checked) nothingOf(card).checked = false;
    keep(card);
    show();
  }

  const questionOf = ({ dataset }) => JSON.stringify([dataset.source, dataset.target, dataset.class]);

  /** The kept answers, by question: the classes that each names. */
  function kept() {
    try {
      const found = JSON.parse(localStorage.getItem(key));
      return found && typeof found === "object" ? found : {};
    } catch {
      return {}; // some browsers store nothing for pages from disk: answers then last as long as the page is open
    }
  }

  function keep(card) {
    const answers = kept(); // with what another window has added
    if (isAnswered(card)) answers[questionOf(card)] = chosen(card);
    else delete answers[questionOf(card)];
    try {
      localStorage.setItem(key, JSON.stringify(answers));
    } catch {
      // as above
    }
  }

  /** Choose what was kept; an answer that names a class which is no choice any more is left out. */
  function restore() {
    const answers = kept();
    for (const card of cards) {
      const names = answers[questionOf(card)];
      const boxes = boxesOf(card);
      if (!Array.isArray(names) || !names.every((name) => boxes.some((box) => box.value === name))) continue;
      for (const box of boxes) box.checked = names.includes(box.value);
      nothingOf(card).checked = !names.length;
      for (const fold of card.querySelectorAll("details")) fold.open ||= fold.querySelector("input:checked") !== null;
    }
  }

  /** A text in quotes, as YAML and JSON both read it. */
  const quoted = (text) => JSON.stringify(text).replace(/[\u007f-\u009f\u2028\u2029\ufeff]/g, (one) => "\\u" + one.charCodeAt(0).toString(16).padStart(4, "0"));

  function flow(value) {
    if (Array.isArray(value)) return `[${value.map(flow).join(", ")}]`;
    if (value && typeof value === "object") return `{${Object.entries(value).map(([name, one]) => `${quoted(name)}: ${one}`).join(", ")}}`;
    return quoted(String(value));
  }

  function yaml() {
    const all = structuredClone(said);
    for (const card of cards.filter(isAnswered)) {
      const { source, target, class: name } = card.dataset;
      ((all[source] ??= {})[target] ??= {})[name] = chosen(card);
    }
    const lines = ["# What classes are in other class lists, as someone who knows both protocols says; a run takes this file as `answers`."];
    for (const [source, targets] of Object.entries(all)) {
      lines.push(`${quoted(source)}:`);
      for (const [target, classes] of Object.entries(targets)) {
        lines.push(`  ${quoted(target)}:`);
        for (const [name, value] of Object.entries(classes)) lines.push(`    ${quoted(name)}: ${flow(value)}`);
      }
    }
    return lines.join("\n") + "\n";
  }

  download.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([yaml()], { type: "application/yaml" }));
    link.download = "answers.yaml";
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  });

  for (const card of cards) card.addEventListener("change", (event) => changed(card, event.target));

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !cards.length) return;
    const place = Math.max(0, cards.indexOf(document.activeElement?.closest(".question")));
    const card = cards[place];
    const go = (to) => cards[Math.min(Math.max(to, 0), cards.length - 1)].focus();
    if (/^[0-9]$/.test(event.key)) {
      const box = event.key === "0" ? nothingOf(card) : card.querySelector(".choices").querySelectorAll("input:not(.nothing)")[event.key - 1];
      if (!box) return;
      box.checked = !box.checked;
      changed(card, box);
      if (!card.contains(document.activeElement)) card.focus();
    } else if (event.key === "n") go(card.contains(document.activeElement) ? place + 1 : 0);
    else if (event.key === "p") go(place - 1);
    else if (event.key === "s") {
      for (const box of [...boxesOf(card), nothingOf(card)]) box.checked = false;
      keep(card);
      show();
      go(place + 1);
    } else return;
    event.preventDefault();
  });

  restore();
  show();
})();
