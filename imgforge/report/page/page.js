"use strict";
// Searches in the consoles. What a guest wrote is only ever read and set as text.
(() => {
  const MOST_HITS = 10000;

  class Search {
    constructor(form, box) {
      this.box = box;
      this.input = form.querySelector("input");
      this.output = form.querySelector("output");
      this.texts = Array.from(box.querySelectorAll(".t"));
      this.hits = [];
      this.marked = [];
      this.at = -1;
      form.hidden = false;
      this.input.addEventListener("input", () => this.find());
      form.addEventListener("submit", (event) => event.preventDefault());
      form.addEventListener("keydown", (event) => this.key(event));
      for (const button of form.querySelectorAll("button")) {
        button.addEventListener("click", () => this.step(Number(button.dataset.step)));
      }
    }

    key(event) {
      if (event.key === "Enter" && event.target === this.input) {
        event.preventDefault();
        this.step(event.shiftKey ? -1 : 1);
      } else if (event.key === "Escape") {
        this.input.value = "";
        this.find();
      }
    }

    clear() {
      for (const text of this.marked) {
        text.textContent = text.textContent;
      }
      this.hits = [];
      this.marked = [];
      this.at = -1;
    }

    find() {
      this.clear();
      const wanted = this.input.value;
      if (wanted) {
        const escaped = wanted.replace(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
        const pattern = new RegExp(escaped, "giu");
        for (const text of this.texts) {
          if (this.hits.length >= MOST_HITS) {
            break;
          }
          this.mark(text, pattern);
        }
        if (this.hits.length) {
          this.go(0);
        }
      }
      this.tell();
    }

    mark(text, pattern) {
      const whole = text.textContent;
      const pieces = [];
      let from = 0;
      for (const found of whole.matchAll(pattern)) {
        const mark = document.createElement("mark");
        mark.textContent = found[0];
        pieces.push(whole.slice(from, found.index), mark);
        from = found.index + found[0].length;
        this.hits.push(mark);
        if (this.hits.length >= MOST_HITS) {
          break;
        }
      }
      if (pieces.length) {
        text.replaceChildren(...pieces, whole.slice(from));
        this.marked.push(text);
      }
    }

    step(by) {
      if (this.hits.length) {
        this.go((this.at + by + this.hits.length) % this.hits.length);
        this.tell();
      }
    }

    go(to) {
      if (this.at >= 0) {
        this.hits[this.at].classList.remove("now");
      }
      this.at = to;
      const mark = this.hits[to];
      mark.classList.add("now");
      show(this.box, mark);
    }

    tell() {
      const most = this.hits.length >= MOST_HITS ? "+" : "";
      this.output.textContent = !this.input.value ? ""
        : this.hits.length ? `${this.at + 1} of ${this.hits.length}${most}` : "no hit";
    }
  }

  // Scrolls the console alone, not the page. Lines out of sight have no exact height before they
  // come near: what was aimed at may move, and is looked for again.
  function show(box, element, tries = 4) {
    const outer = box.getBoundingClientRect();
    const inner = element.getBoundingClientRect();
    if (inner.top < outer.top || inner.bottom > outer.bottom) {
      box.scrollTop += inner.top - outer.top - box.clientHeight / 2;
    }
    if (tries > 0) {
      requestAnimationFrame(() => show(box, element, tries - 1));
    }
  }

  function openTarget() {
    const target = document.getElementById(location.hash.slice(1));
    if (target) {
      for (let node = target; node; node = node.parentElement) {
        if (node instanceof HTMLDetailsElement) {
          node.open = true;
        }
      }
      target.scrollIntoView({block: "start"});
    }
  }

  for (const box of document.querySelectorAll(".console")) {
    new Search(box.parentElement.querySelector("form.search"), box);
    const sign = box.querySelector(".sign");
    if (sign) {
      show(box, sign);
      box.closest("details").addEventListener("toggle", () => show(box, sign));
    }
  }
  document.addEventListener("keydown", (event) => {
    if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey
        && !(event.target instanceof HTMLInputElement)) {
      const inputs = Array.from(document.querySelectorAll("form.search input"));
      const input = inputs.find((one) => one.checkVisibility());
      if (input) {
        event.preventDefault();
        input.focus();
      }
    }
  });
  let opened = [];
  window.addEventListener("beforeprint", () => {
    opened = Array.from(document.querySelectorAll("details:not([open])"));
    for (const details of opened) {
      details.open = true;
    }
  });
  window.addEventListener("afterprint", () => {
    for (const details of opened) {
      details.open = false;
    }
  });
  window.addEventListener("hashchange", openTarget);
  if (location.hash) {
    openTarget();
  }
})();
