import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './source.mjs';

const RESULTS = JSON.parse(readFileSync(join(ROOT, 'docs/results.json'), 'utf8'));
const PICTURE = join(ROOT, 'docs/restart.svg');

// 1,055<!--=restart.nest.failed-->
const FIGURE = /-?\d[\d.,]*<!--=([\w.]+)-->/g;

/** Replaces each figure that is marked with a key of docs/results.json by its value. */
export function withFigures(text) {
  return text.replace(FIGURE, (_all, key) => `${figure(key)}<!--=${key}-->`);
}

function figure(key) {
  const value = key.split('.').reduce((found, part) => found?.[part], RESULTS);
  if (!['number', 'string'].includes(typeof value)) throw new Error(`docs/results.json: expected a figure at ${key}`);
  return value.toLocaleString('en-US');
}

const PIXELS_PER_SECOND = 64;
const LEFT = 196;
const FIRST_SECOND = -1.3;
const LAST_SECOND = 7;
const at = (second) => Math.round(LEFT + (second - FIRST_SECOND) * PIXELS_PER_SECOND);

/** Returns the current picture of one restart, and the one rendered from docs/results.json. It fits light and dark pages. */
export function restartPicture() {
  const { downSeconds, nest, ours } = RESULTS.restart;
  const failed = `${figure('restart.nest.failed')} calls fail`;
  const waited = `${figure('restart.ours.waited')} calls wait`;
  const lanes = [
    ['the server', 'up', downSeconds, 'down', `down for ${downSeconds} s`],
    ["Nest's client", 'up', downSeconds + nest.recoveryMs / 1_000, 'fails', failed],
    ['nestjs-resilient-grpc', 'up', downSeconds + ours.recoveryMs / 1_000, 'waits', waited],
  ].map(([name, before, until, during, text], index) => {
    const y = 44 + index * 52;
    const part = (kind, from, to) =>
      `<rect class="${kind}" x="${at(from)}" y="${y}" width="${at(to) - at(from)}" height="34" rx="4"/>`;
    return [
      `<text class="name" x="${LEFT - 14}" y="${y + 22}" text-anchor="end">${name}</text>`,
      part(before, FIRST_SECOND, 0),
      part(during, 0, until),
      part(before, until, LAST_SECOND),
      `<text class="on-${during}" x="${(at(0) + at(until)) / 2}" y="${y + 22}" text-anchor="middle">${text}</text>`,
    ].join('\n');
  });
  const mark = (second, text) =>
    `<line x1="${at(second)}" x2="${at(second)}" y1="30" y2="192"/>\n<text class="mark" x="${at(second)}" y="22" text-anchor="middle">${text}</text>`;
  const rendered = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${at(LAST_SECOND) + 8} 200" role="img" aria-labelledby="what">
<title id="what">A server restarts: with Nest's client, ${failed}; with nestjs-resilient-grpc, ${waited} and then succeed</title>
<style>
text { font: 600 14px system-ui, -apple-system, 'Segoe UI', Helvetica, Arial, sans-serif }
.name, .mark { fill: #334155 } .mark { font-weight: 400; font-size: 13px } line { stroke: #94a3b8; stroke-dasharray: 3 4 }
.up { fill: #86c99a } .down { fill: #64748b } .fails { fill: #b91c1c } .waits { fill: #f2b134 }
.on-down, .on-fails { fill: #fff } .on-waits { fill: #1f2937 }
@media (prefers-color-scheme: dark) { .name, .mark { fill: #cbd5e1 } .up { fill: #2f855a } line { stroke: #64748b } }
</style>
${mark(0, 'killed')}
${mark(downSeconds, 'listens again')}
${lanes.join('\n')}
</svg>
`;
  return { path: PICTURE, text: readFileSync(PICTURE, 'utf8'), rendered };
}
