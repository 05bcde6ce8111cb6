// Elements and text. Whatever comes from outside goes into the page as text, never as markup.

/** Characters that are not seen but act: controls, direction marks, private ones. They are shown as code points. */
const HIDDEN = /[\p{Cc}\p{Cf}\p{Co}\p{Cs}]/gu;

/** The text with its hidden characters shown; `keep` names those that may stay. */
export function visible(text, keep = "") {
  return String(text).replace(HIDDEN, (letter) =>
    keep.includes(letter) ? letter : `\\u{${letter.codePointAt(0).toString(16)}}`,
  );
}

/** The text, cut to a length at which it is still a label. */
export function short(text, most = 120) {
  const letters = Array.from(String(text).slice(0, most * 2 + 2));
  return letters.length > most ? letters.slice(0, most).join("") + "…" : letters.join("");
}

/** An element: attributes, `on: {click: …}` for listeners, then children; a child that is no node is text. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    } else if (value !== null && value !== undefined && value !== false) {
      made.setAttribute(name, value === true ? "" : visible(value));
    }
  }
  put(made, ...children);
  return made;
}

/** Put children at the end of an element. */
export function put(into, ...children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    into.append(child instanceof Node ? child : visible(child));
  }
}

/** Replace what an element holds. */
export function fill(element, ...children) {
  element.replaceChildren();
  put(element, ...children);
}

/** Set an element's text, if it is another one: what is the same is not announced, nor is a selection lost. */
export function say(element, text) {
  const shown = visible(text);
  if (element.textContent !== shown) element.textContent = shown;
}

/** A name or value that may be written in any direction, apart from what stands around it. */
export function name(text, attributes = {}) {
  const label = short(text);
  return el("bdi", { ...attributes, title: label === text ? null : short(text, 1000) }, label);
}

/** A button that copies a text. */
export function copyButton(text, label = "Copy") {
  const button = el("button", { type: "button", class: "quiet" }, label);
  button.addEventListener("click", async () => {
    let done = "Copied";
    try {
      await navigator.clipboard.writeText(text());
    } catch {
      done = "Copying is not allowed here";
    }
    button.textContent = done;
    setTimeout(() => (button.textContent = label), 1500);
  });
  return button;
}

/** A block of code, with a button to copy it; `raw` is what is copied. */
export function code(shown, raw = shown) {
  const block = el("pre", { tabindex: "0" });
  block.textContent = visible(shown, "\n");
  return el("div", { class: "code" }, copyButton(() => raw), block);
}
