// A picture from the camera, where there is one and the browser allows it (https, or this machine).

import { h } from "./dom.js";

/** Whether there is a camera that a page may ask for. */
export async function hasCamera() {
  if (!window.isSecureContext || !navigator.mediaDevices?.enumerateDevices) return false;
  const devices = await navigator.mediaDevices.enumerateDevices().catch(() => []);
  return devices.some((device) => device.kind === "videoinput");
}

/** Shows the camera and takes a picture. Resolves to a PNG, or null when nothing was taken. */
export function takePicture() {
  return new Promise((resolve) => {
    let stream = null;
    let taken = null;
    const video = h("video", { autoplay: true, playsinline: true, "aria-label": "What the camera sees" });
    video.muted = true;
    const said = h("p", { class: "hint", role: "status" }, "Asking for the camera…");
    const take = h(
      "button",
      {
        type: "button",
        class: "primary",
        disabled: true,
        onclick: async () => {
          taken = await snapshot(video);
          dialog.close();
        },
      },
      "Take picture",
    );
    const dialog = h(
      "dialog",
      {
        class: "dialog camera",
        "aria-label": "Camera",
        onclose: () => {
          stream?.getTracks().forEach((track) => track.stop());
          dialog.remove();
          resolve(taken);
        },
      },
      video,
      said,
      h(
        "div",
        { class: "row end" },
        h("button", { type: "button", class: "quiet", onclick: () => dialog.close() }, "Cancel"),
        take,
      ),
    );
    document.body.append(dialog);
    dialog.showModal();
    navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } }).then(
      (opened) => {
        stream = opened;
        if (!dialog.open) stream.getTracks().forEach((track) => track.stop());
        video.srcObject = stream;
        video.addEventListener("loadeddata", () => {
          take.disabled = false;
          said.textContent = "The picture is sent to this server only.";
        });
      },
      (error) => {
        said.textContent = `The camera cannot be used: ${error.message}. Choose a file instead.`;
      },
    );
  });
}

function snapshot(video) {
  const canvas = h("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d").drawImage(video, 0, 0);
  return new Promise((resolve) => canvas.toBlob(resolve, "image/png"));
}
