// Stacked bars of calls by day, drawn by uPlot from what stands in data-values.
"use strict";

function color(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }

function draw(place) {
  const { days, series } = JSON.parse(place.dataset.values);
  const sums = days.map(() => 0);
  const tops = series.map((one) => one.values.map((value, at) => (sums[at] += value)));
  const bars = uPlot.paths.bars({ size: [0.75, 40] });
  const fill = (one, at) => one.kind ? color("--" + one.kind) : color("--s" + (one.name === "…" ? 7 : at % 8));
  // The highest stack is drawn first, the ones below over it.
  const order = series.map((_, at) => series.length - 1 - at);
  const axis = { stroke: color("--dim"), grid: { stroke: color("--line"), width: 1 }, ticks: { stroke: color("--line"), width: 1 } };
  place.replaceChildren();
  const chart = new uPlot({
    width: place.clientWidth, height: 240, cursor: { y: false, drag: { x: false, y: false } },
    tzDate: (seconds) => uPlot.tzDate(new Date(seconds * 1000), "Etc/UTC"),
    scales: { x: { time: true, range: (self, low, high) => [low - 43200, high + 43200] }, y: { range: (self, low, high) => [0, Math.max(4, high * 1.05)] } },
    axes: [{ ...axis, values: "{YYYY}-{MM}-{DD}", space: 95 }, { ...axis, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000, 100000] }],
    series: [
      { value: "{YYYY}-{MM}-{DD}", label: place.dataset.day },
      ...order.map((at) => ({
        label: series[at].name, fill: fill(series[at], at), stroke: fill(series[at], at), width: 0, paths: bars, points: { show: false },
        value: (self, top, column, row) => (row === null ? "" : String(series[at].values[row])),
      })),
    ],
  }, [days, ...order.map((at) => tops[at])], place);
  new ResizeObserver(() => chart.setSize({ width: place.clientWidth, height: 240 })).observe(place);
}

function drawAll() { for (const place of document.querySelectorAll("[data-chart]")) draw(place); }
drawAll();
document.addEventListener("theme", drawAll);
matchMedia("print").addEventListener("change", drawAll);  // paper is light
