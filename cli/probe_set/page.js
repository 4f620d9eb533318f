"use strict";
const order = document.getElementById("order");
if (order) {
  const body = document.querySelector("table.images tbody");
  order.addEventListener("change", () => {
    const sign = order.value.startsWith("-") ? -1 : 1;
    const key = order.value.replace("-", "");
    const rows = [...body.rows].sort((a, b) => sign * (a.dataset[key] - b.dataset[key]));
    body.append(...rows);
  });
  document.getElementById("order-label").hidden = body.rows.length < 2;
}
