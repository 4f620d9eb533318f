// Where the picture comes from: a file, the clipboard, the camera, or an example.

import { address, Unreachable } from "./api.js";
import { hasCamera, takePicture } from "./camera.js";
import { announce, fill, h, small } from "./dom.js";
import { failure } from "./failures.js";
import { bytesText } from "./units.js";

/** Fills the stage, and listens for what is dropped or pasted anywhere on the page. */
export function stage(element, app) {
  const input = h("input", {
    type: "file",
    id: "file",
    class: "unseen",
    accept: app.settings.upload.media_types.join(","),
    onchange: () => {
      if (input.files.length) take(input.files[0]);
      input.value = "";
    },
  });
  const preview = h("div", { class: "preview" });
  const said = h("div", { class: "said" });
  const camera = h(
    "button",
    {
      type: "button",
      hidden: true,
      onclick: async () => {
        const blob = await takePicture();
        if (blob) take(blob, "camera.png");
      },
    },
    "Camera",
  );
  let wanted = null;
  hasCamera().then((there) => {
    camera.hidden = !there;
  });

  const zone = h(
    "div",
    { class: "drop" },
    preview,
    h(
      "div",
      { class: "row centre" },
      input,
      h("label", { for: "file", class: "button primary" }, "Choose a picture"),
      camera,
    ),
    h(
      "p",
      { class: "hint" },
      "or drop one here, or paste it. PNG, JPEG or WebP, up to ",
      bytesText(app.settings.upload.max_bytes),
      ".",
    ),
  );
  const examples = h(
    "div",
    { class: "examples", role: "group", "aria-label": "Examples" },
    app.settings.examples.map((example) =>
      h(
        "button",
        {
          type: "button",
          "aria-pressed": "false",
          data: { example: example.name },
          title: `Example: ${example.name}`,
          onclick: () => takeExample(example.name),
        },
        h("img", { src: example.file, alt: `Example: ${example.name}`, width: 32, height: 32 }),
      ),
    ),
  );
  fill(element, zone, said, h("h2", { class: "small" }, "Or try an example"), examples);

  function take(file, name = file.name || "picture.png") {
    const { media_types: accepted, max_bytes: most } = app.settings.upload;
    if (file.type && !accepted.includes(file.type))
      return refuse(`“${name}” is not a picture this server reads: choose a PNG, JPEG or WebP file.`);
    if (file.size > most)
      return refuse(
        `“${name}” has ${bytesText(file.size)}; at most ${bytesText(most)} are accepted. Save it smaller.`,
      );
    if (file.size === 0) return refuse(`“${name}” is empty: choose another file.`);
    wanted = null;
    fill(said);
    app.show({ blob: file, name });
  }

  function refuse(sentence) {
    fill(said, h("p", { class: "notice", role: "alert" }, sentence));
  }

  async function takeExample(name) {
    const example = app.settings.examples.find((one) => one.name === name);
    if (!example) return;
    wanted = example;
    try {
      const response = await fetch(address(`ui/${example.file}`));
      if (!response.ok) throw new Error(`status ${response.status}`);
      const blob = await response.blob();
      // Another one was chosen in the meantime.
      if (wanted !== example) return;
      fill(said);
      app.show({ blob, name: example.file, example: name });
    } catch (error) {
      fill(
        said,
        failure(new Unreachable(error.message), () => takeExample(name)),
      );
    }
  }

  function shown() {
    const { picture } = app;
    zone.classList.toggle("empty", !picture);
    fill(
      preview,
      picture &&
        h(
          "figure",
          {},
          small(h("img", { src: picture.url, alt: `Your picture: ${picture.name}`, class: "picture" })),
          h(
            "figcaption",
            { class: "hint" },
            picture.example
              ? `Example: ${picture.example}`
              : `${picture.name}, ${bytesText(picture.blob.size)}`,
          ),
        ),
    );
    for (const button of examples.children)
      button.setAttribute("aria-pressed", String(button.dataset.example === picture?.example));
    if (picture) announce(`Picture chosen: ${picture.example ?? picture.name}`);
  }

  listen(take, zone);
  app.on(["picture"], shown);
  shown();
  return { takeExample };
}

function listen(take, zone) {
  let inside = 0;
  const light = (change) => {
    inside = Math.max(0, inside + change);
    zone.classList.toggle("over", inside > 0);
  };
  document.addEventListener("dragenter", () => light(1));
  document.addEventListener("dragleave", () => light(-1));
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    inside = 0;
    light(0);
    if (event.dataTransfer.files.length) take(event.dataTransfer.files[0]);
  });
  document.addEventListener("paste", (event) => {
    const file = [...(event.clipboardData?.files ?? [])][0];
    if (file) take(file);
  });
}
