"use strict";
// Draws what pages carry as JSON: points with intervals, lines and bars, in the colours of the page's theme.
(() => {
  const style = () => getComputedStyle(document.documentElement);
  const colour = (name) => style().getPropertyValue(`--${name}`).trim();
  const faint = (hex) => `${hex}55`;
  const drawn = [];

  // Whiskers of the intervals, beneath the points.
  const intervals = {
    id: "intervals",
    beforeDatasetsDraw(chart) {
      const { ctx, scales: { x, y }, chartArea: area } = chart;
      ctx.save();
      ctx.beginPath();
      ctx.rect(area.left, area.top, area.width, area.height);
      ctx.clip();
      chart.data.datasets.forEach((set, i) => {
        if (set.isFaint || !chart.isDatasetVisible(i)) return;
        ctx.strokeStyle = set.pointBorderColor;
        ctx.globalAlpha = 0.55;
        ctx.lineWidth = 1.25;
        for (const p of set.data) {
          if (p.y_low != null && p.y_high != null) line(ctx, x.getPixelForValue(p.x), y, p.y_low, p.y_high, true);
          if (p.x_low != null && p.x_high != null) line(ctx, y.getPixelForValue(p.y), x, p.x_low, p.x_high, false);
        }
      });
      ctx.restore();
    },
  };

  function line(ctx, at, scale, low, high, upright) {
    const floor = scale.type === "logarithmic" ? Math.max(low, scale.min) : low;
    const [from, to] = [scale.getPixelForValue(floor), scale.getPixelForValue(high)];
    const move = (a, b) => (upright ? [b, a] : [a, b]);
    ctx.beginPath();
    ctx.moveTo(...move(from, at));
    ctx.lineTo(...move(to, at));
    for (const end of [from, to]) {
      ctx.moveTo(...move(end, at - 3));
      ctx.lineTo(...move(end, at + 3));
    }
    ctx.stroke();
  }

  // A dashed line where nothing is gained.
  const level = {
    id: "level",
    beforeDatasetsDraw(chart, _, options) {
      const { ctx, scales, chartArea: area } = chart;
      ctx.save();
      ctx.strokeStyle = colour("reference");
      ctx.setLineDash([4, 4]);
      for (const [name, value] of Object.entries(options.at || {})) {
        if (value == null || value < scales[name].min || value > scales[name].max) continue;
        const at = scales[name].getPixelForValue(value);
        ctx.beginPath();
        if (name === "x") { ctx.moveTo(at, area.top); ctx.lineTo(at, area.bottom); }
        else { ctx.moveTo(area.left, at); ctx.lineTo(area.right, at); }
        ctx.stroke();
      }
      ctx.restore();
    },
  };

  const short = (v) => (v === 0 ? "0" : Math.abs(v) >= 0.001 ? Number(v.toPrecision(3)).toString() : v.toExponential(1));

  function told(p, x, y) {
    const figure = (v, low, high) => short(v) + (low == null || high == null ? "" : ` [${short(low)}, ${short(high)}]`);
    return [p.label, `${y.title}: ${figure(p.y, p.y_low, p.y_high)}`, `${x.title}: ${figure(p.x, p.x_low, p.x_high)}`];
  }

  function axis(spec, values) {
    const scale = {
      type: spec.is_log ? "logarithmic" : "linear",
      title: { display: true, text: spec.title, color: colour("faint") },
      grid: { color: colour("grid") },
      border: { color: colour("grid") },
      ticks: { color: colour("faint"), maxTicksLimit: 8, callback: (v) => short(v) },
    };
    if (spec.is_log && values.length) {
      scale.min = Math.min(...values) / 1.25;
      scale.max = Math.max(...values) * 1.25;
      const written = spec.title === "cost ratio" ? [...new Set(values)] : rungs(scale.min, scale.max);
      scale.afterBuildTicks = (built) => { built.ticks = written.map((value) => ({ value })); };
    } else if (values.length) {
      const [low, high] = [Math.min(...values), Math.max(...values)];
      const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
      scale.min = low >= 0 ? Math.max(0, low - room) : low - room;
      scale.max = high + room;
      scale.ticks.includeBounds = false;
    }
    return scale;
  }

  // Numbers to write on a logarithmic axis: few where it is long, more where it is short.
  function rungs(low, high) {
    const from = Math.floor(Math.log10(low)), to = Math.ceil(Math.log10(high));
    const within = (steps) => {
      const found = [];
      for (let decade = from; decade <= to; decade += 1) for (const step of steps) found.push(step * 10 ** decade);
      return found.filter((v) => v >= low && v <= high);
    };
    return [[1], [1, 2, 5], [1, 1.5, 2, 3, 4, 5, 7]].map(within).find((found) => found.length >= 3)
      || within([1, 1.2, 1.5, 1.8, 2, 2.5, 3, 3.5, 4, 5, 6, 7, 8, 9]);
  }

  const SHAPES = { found: "circle", published: "rectRot", reference: "triangle" };

  function points(spec) {
    const strong = spec.series.filter((s) => !s.is_faint);
    const logs = (name) => spec[name].is_log;
    // What an axis holds: every point, and intervals; their lower ends may reach 0, which no logarithm has.
    const values = (name) => spec.series.flatMap((s) => s.points.flatMap((p) => [p[name], ...(s.is_faint ? []
      : [p[`${name}_high`], ...(logs(name) ? [] : [p[`${name}_low`]])])])).filter((v) => v != null && (v > 0 || !logs(name)));
    const sets = spec.series.map((s) => {
      const ink = colour(s.role);
      return {
        label: s.name, data: s.points, isFaint: s.is_faint, showLine: s.is_line, borderColor: ink, borderWidth: 2,
        backgroundColor: s.is_faint ? faint(ink) : ink, pointBorderColor: s.is_faint ? faint(ink) : ink,
        pointStyle: SHAPES[s.role], pointRadius: s.is_faint ? 3 : 5.5, pointHoverRadius: s.is_faint ? 5 : 8, pointHitRadius: 6,
        order: s.is_faint ? 2 : 1,
      };
    });
    const ratios = strong.flatMap((s) => s.points.map((p) => p.x));
    return {
      type: "scatter",
      data: { datasets: sets },
      plugins: [level, intervals],
      options: {
        scales: {
          x: axis(spec.x, spec.x.title === "cost ratio" ? ratios : values("x")),
          y: axis(spec.y, values("y")),
        },
        plugins: {
          level: { at: { x: spec.x.one, y: spec.y.one } },
          tooltip: { callbacks: { label: (c) => told(c.raw, spec.x, spec.y) } },
        },
        onClick: (_, hit) => { const url = hit.length && sets[hit[0].datasetIndex].data[hit[0].index].url; if (url) location.assign(url); },
        onHover: (event, hit) => { event.native.target.style.cursor = hit.length ? "pointer" : "default"; },
      },
    };
  }

  const INKS = ["found", "published", "reference", "yes", "no", "bad"];

  function bars(spec) {
    return {
      type: "bar",
      data: {
        labels: spec.labels,
        datasets: spec.series.map(([name, values], i) => ({ label: name, data: values, backgroundColor: colour(INKS[i % INKS.length]), borderRadius: 3, maxBarThickness: 42 })),
      },
      options: {
        indexAxis: "y",
        scales: {
          x: { stacked: true, title: { display: true, text: spec.unit, color: colour("faint") }, grid: { color: colour("grid") }, ticks: { color: colour("faint") } },
          y: { stacked: true, grid: { display: false }, ticks: { color: colour("ink") } },
        },
      },
    };
  }

  function draw(canvas) {
    const spec = JSON.parse(canvas.dataset.chart);
    const config = spec.bars ? bars(spec) : points(spec);
    const plugins = config.options.plugins || {};
    config.options = {
      ...config.options,
      responsive: true,
      maintainAspectRatio: false,
      animation: false,
      font: { family: style().fontFamily },
      plugins: {
        ...plugins,
        legend: { display: spec.series.length > 1 || spec.series.some((s) => s.is_faint), position: "bottom", labels: { color: colour("ink"), usePointStyle: true, boxHeight: 8 } },
        tooltip: { ...plugins.tooltip, backgroundColor: colour("ink"), titleColor: colour("card"), bodyColor: colour("card"), padding: 10, boxPadding: 5 },
      },
    };
    drawn.push(new Chart(canvas, config));
  }

  function all(root) {
    root.querySelectorAll("canvas[data-chart]").forEach((canvas) => { if (!Chart.getChart(canvas)) draw(canvas); });
  }

  all(document);
  document.body.addEventListener("htmx:afterSettle", (event) => all(event.target));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    drawn.splice(0).forEach((chart) => chart.destroy());
    all(document);
  });
})();
