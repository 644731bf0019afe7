import { instance } from '@viz-js/viz';

const viz = await instance();
const LINE = 17;
const CHARACTER = 6.7;

/**
 * Draws the Mermaid diagrams of the pages as SVG while the site is built, so that the site needs no script for them. Supports what the pages
 * use: flowcharts, and sequence diagrams with notes, loops, and alternatives.
 */
export function diagrams(markdown) {
  const { fence } = markdown.renderer.rules;
  markdown.renderer.rules.fence = (tokens, index, ...rest) => {
    const { info, content } = tokens[index];
    if (info.trim() !== 'mermaid') return fence(tokens, index, ...rest);
    const [kind, ...lines] = content.trim().split('\n');
    const draw = kind.startsWith('flowchart') ? flowchart : sequence;
    return `<div class="diagram" v-pre>${draw(lines.map((line) => line.trim()))}</div>`;
  };
}

function flowchart(lines) {
  const nodes = new Map();
  const edges = [];
  const nodeOf = (text) => {
    const [, name, shape, label] = /^(\w+)(?:(\(\[|\{|\[)(.*?)(?:\]\)|\}|\]))?$/.exec(text.trim());
    if (label !== undefined || !nodes.has(name)) nodes.set(name, { shape, label: linesOf(label ?? name).join('\n') });
    return name;
  };
  for (const line of lines) {
    const [, from, text = '', to] = /^(.+?) --(?: (.+?) --)?> (.+)$/.exec(line);
    edges.push({ tail: nodeOf(from), head: nodeOf(to), attributes: { label: ` ${linesOf(text).join('\n ')} ` } });
  }
  const style = { color: '#64748b', fontname: 'Helvetica,Arial,sans-serif', fontsize: 13 };
  const drawn = viz.renderString(
    {
      graphAttributes: { rankdir: 'TB', bgcolor: 'transparent', nodesep: 0.4, ranksep: 0.35, pad: 0.2 },
      nodeAttributes: { ...style, shape: 'box', margin: '0.2,0.1' },
      edgeAttributes: { ...style, arrowsize: 0.7 },
      nodes: [...nodes].map(([name, { shape, label }]) => ({
        name,
        attributes: { label, ...(shape === '{' ? { shape: 'hexagon' } : { style: shape === '[' ? '' : 'rounded' }) },
      })),
      edges,
    },
    { format: 'svg' },
  );
  return drawn.slice(drawn.indexOf('<svg')).replace('<svg', '<svg class="flowchart"');
}

function sequence(lines) {
  const names = lines.flatMap((line) => {
    const [, id, name] = /^participant (\w+) as (.+)$/.exec(line) ?? [];
    return id === undefined ? [] : [[id, name]];
  });
  const steps = lines.filter((line) => !line.startsWith('participant ')).map((line) => stepOf(line, names));
  const gap = Math.max(
    130,
    ...steps.map(
      ({ columns: [from, to = from], texts = [] }) => (widthOf(texts) + 24) / Math.max(1, Math.abs(to - from)),
    ),
  );
  const xOf = (column) => Math.round(gap / 2 + column * gap);
  const width = xOf(names.length - 1) + gap / 2;
  const parts = [];
  const open = [];
  let y = 44;
  const write = (x, top, texts, anchor = 'middle') =>
    parts.push(
      ...texts.map(
        (text, at) => `<text x="${x}" y="${top + at * LINE}" text-anchor="${anchor}">${escaped(text)}</text>`,
      ),
    );
  for (const { kind, columns, texts, isDashed, isLost } of steps) {
    if (kind === 'message') {
      const [from, to] = columns.map(xOf);
      const isOwn = from === to;
      const side = columns[0] === names.length - 1 ? -1 : 1;
      const anchor = side === 1 ? 'start' : 'end';
      write(isOwn ? from + side * 10 : (from + to) / 2, y + 14, texts, isOwn ? anchor : 'middle');
      y += 14 + texts.length * LINE - 8;
      const end = isOwn ? from + side * 40 : to;
      const [tip, back] = [end, end - 7 * Math.sign(end - from)];
      parts.push(`<path d="M${from} ${y}H${end}"${isDashed ? ' stroke-dasharray="5 4"' : ''}/>`);
      parts.push(
        `<path d="M${back} ${y - 5}L${tip} ${y}L${back} ${y + 5}${isLost ? `M${tip} ${y - 5}L${back} ${y}L${tip} ${y + 5}` : ''}"/>`,
      );
      y += 12;
    } else if (kind === 'note') {
      const [left, right] = [Math.min(...columns), Math.max(...columns)].map(xOf);
      const half = Math.max((right - left) / 2 + 40, widthOf(texts) / 2 + 8);
      parts.push(
        `<rect class="note" x="${(left + right) / 2 - half}" y="${y + 4}" width="${2 * half}" height="${texts.length * LINE + 8}"/>`,
      );
      write((left + right) / 2, y + 20, texts);
      y += texts.length * LINE + 16;
    } else if (kind === 'end') {
      const top = open.pop();
      const inset = 6 + open.length * 8;
      parts.push(`<rect class="frame" x="${inset}" y="${top}" width="${width - 2 * inset}" height="${y + 4 - top}"/>`);
      y += 14;
    } else {
      if (kind === 'else') parts.push(`<path d="M8 ${y + 4}H${width - 8}" stroke-dasharray="3 4"/>`);
      else open.push(y + 4);
      write(16, y + 20, texts, 'start');
      y += 26;
    }
  }
  const columns = names.flatMap(([, name], column) => [
    `<path class="life" d="M${xOf(column)} 34V${y}"/>`,
    `<text class="name" x="${xOf(column)}" y="24" text-anchor="middle">${escaped(name)}</text>`,
  ]);
  return `<svg viewBox="0 0 ${width} ${y + 8}" width="${width}" class="sequence">${[...columns, ...parts].join('')}</svg>`;
}

/** A line of a sequence diagram: a message, a note, or the beginning or end of a loop or an alternative. */
function stepOf(line, names) {
  const columnOf = (id) => names.findIndex(([name]) => name === id.trim());
  const [, from, arrow, to, text] = /^(\w+)(-{1,2}(?:>>|x))(\w+): (.+)$/.exec(line) ?? [];
  if (from !== undefined)
    return {
      kind: 'message',
      columns: [columnOf(from), columnOf(to)],
      texts: linesOf(text),
      isDashed: arrow.startsWith('--'),
      isLost: arrow.endsWith('x'),
    };
  const [, over, note] = /^Note over ([\w,]+): (.+)$/.exec(line) ?? [];
  if (over !== undefined) return { kind: 'note', columns: over.split(',').map(columnOf), texts: linesOf(note) };
  const [, kind, label = ''] = /^(loop|alt|else|end) ?(.*)$/.exec(line);
  return {
    kind,
    texts: kind === 'end' ? undefined : [`${kind === 'loop' ? 'repeat' : 'if'}: ${label}`],
    columns: [0, 3],
  };
}

const linesOf = (text) => text.replace(/^"(.*)"$/, '$1').split('<br>');
const widthOf = (texts) => Math.max(...texts.map(({ length }) => length * CHARACTER));
const escaped = (text) => text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
