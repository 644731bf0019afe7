import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { FOLDERS } from '../../.dependency-cruiser.mjs';
import { AGENTS, SITUATIONS } from '../../test/consumers/agents/matrix.mjs';
import { NOTES, PROJECTS, RESOLUTIONS, TOOLS, TYPESCRIPTS } from '../../test/consumers/projects/matrix.mjs';
import { ROOT, constant, optionsOf, seams, sourceFile } from './source.mjs';

const read = (path) => readFileSync(join(ROOT, path), 'utf8');
const code = (text) => `\`${text}\``;
const numbered = (notes) => ['', ...notes.map((note, index) => `${index + 1}. ${note}`)];

function table(header, rows) {
  return [header, header.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}

/** The functions that render a part of a page as Markdown, by the name in its comment `<!-- rendered: NAME ARGUMENT -->`. */
export const PARTS = {
  /** The library's folders, highest level first. */
  folders() {
    const rows = Object.entries(FOLDERS)
      .sort(([, a], [, b]) => b.level - a.level)
      .map(([name, { is, level, packages, types = [], node = false }]) => {
        const named = [
          ...packages.map(code),
          ...types.map((module) => `types of ${code(module)}`),
          ...(node ? ['Node'] : []),
        ];
        return [level, code(`${name}/`), is, named.join(', ') || 'nothing'];
      });
    return table(['Level', 'Folder', 'What it is', 'What it may import from outside the library'], rows);
  },

  /** A list item per option of a group. */
  options(group) {
    const item =
      (indent) =>
      ({ name, type, meaning, defaultValue, keys }) => {
        const otherwise = defaultValue === undefined ? '' : ` · default ${literalAsCode(defaultValue)}`;
        const text = `${indent}- **\`${name}\`** \`${type}\`${otherwise}\\\n${indent}  ${quotedAsCode(meaning)}`;
        return [text, ...keys.map(item(`${indent}  `))].join('\n');
      };
    return optionsOf(group).map(item('')).join('\n');
  },

  /** The options that matter first, each with its first sentence. */
  'short-options'(half) {
    const rows = SHORT_OPTIONS[half].map((label) => {
      const { defaultValue = 'none', meaning } = option(label);
      const sentence = /^.+?\.(?= [A-Z`0-9]|$)/.exec(meaning)?.[0] ?? meaning;
      return [code(label.replace(/^\w+: /, '')), literalAsCode(defaultValue), quotedAsCode(sentence)].map(escaped);
    });
    return table(['Option', 'Default', 'Description'], rows);
  },

  /** The options that have a default, with their defaults, by group. */
  defaults() {
    const rowsOf = (options, prefix = '') =>
      options.flatMap(({ name, defaultValue = 'none', keys }) => [
        ...(/^(none|off|false|nothing|no limit|undefined|\[\])\b/.test(defaultValue) || keys.length > 0
          ? []
          : [[code(prefix + name), escaped(literalAsCode(defaultValue))]]),
        ...rowsOf(keys, `${prefix}${name}.`),
      ]);
    return Object.entries(DEFAULTS_SHOWN)
      .map(([group, title]) => `## ${title}\n\n${table(['Option', 'Default'], rowsOf(optionsOf(group)))}`)
      .join('\n\n');
  },

  /** The properties of a type, nested ones in their own lists. */
  properties(type) {
    const item =
      (indent) =>
      ({ name, type: itsType, meaning, keys }) => {
        const text = `${indent}- **\`${name}\`** \`${itsType}\`${meaning === '' ? '' : `: ${quotedAsCode(meaning)}`}`;
        return [text, ...keys.map(item(`${indent}  `))].join('\n');
      };
    return optionsOf(type, { allDocumented: false }).map(item('')).join('\n');
  },

  /** The numbers of docs/internals/spec/numbers.json, which contains the unit, the source file, and the name of each. */
  numbers() {
    const groups = Object.entries(JSON.parse(read('docs/internals/spec/numbers.json')));
    return groups
      .map(([title, numbers]) => {
        const rows = Object.entries(numbers).map(([label, [unit, path, name]]) => [label, quantity(unit, path, name)]);
        return `## ${title}\n\n${table(['Number', 'Value'], rows)}`;
      })
      .join('\n\n');
  },

  /** The situations and monitoring agents, with a note for each difference from plain Nest. */
  agents() {
    const results = JSON.parse(read('docs/operate/agents.json'));
    const notes = [];
    const cell = (worse) => {
      const numbers = worse.map((text) => {
        // Spans of one kind differ in the same way, whatever their names.
        const note = text.replace(/ '[^']*'(?= of the)/, '');
        if (!notes.includes(note)) notes.push(note);
        return notes.indexOf(note) + 1;
      });
      return worse.length === 0 ? '✓' : `– (${[...new Set(numbers)].join(', ')})`;
    };
    const agents = Object.keys(AGENTS);
    const rows = Object.entries(SITUATIONS).map(([situation, title]) => [
      title,
      ...agents.map((agent) => cell(results[agent][situation])),
    ]);
    return [table(['Situation', ...agents.map((agent) => AGENTS[agent].label)], rows), ...numbered(notes)].join('\n');
  },

  /** The TypeScript versions if `what` is 'types', otherwise the tools by kind of project. */
  projects(what) {
    if (what === 'types') {
      const rows = RESOLUTIONS.map(({ moduleResolution, module, project, since = '' }) => [
        PROJECTS[project].label,
        code(moduleResolution),
        code(module),
        TYPESCRIPTS.filter((version) => version >= since).join(', '),
      ]);
      return table(['Project', '`moduleResolution`', '`module`', 'TypeScript'], rows);
    }
    const used = [...new Set(TOOLS.flatMap(({ notes }) => Object.values(notes)))];
    const cell = (note) =>
      note === undefined ? '✓' : `${note.startsWith('no-') ? '–' : '✓'} (${used.indexOf(note) + 1})`;
    const rows = TOOLS.map(({ label, notes }) => [
      label,
      ...Object.keys(PROJECTS).map((project) => cell(notes[project])),
    ]);
    const header = ['Tool', ...Object.values(PROJECTS).map(({ label }) => label)];
    return [table(header, rows), ...numbered(used.map((note) => NOTES[note]))].join('\n');
  },

  'connect-failures'() {
    const kinds = Object.entries(constant('policy/connect-failure/connect-failures.ts', 'CONNECT_FAILURES'));
    const rows = kinds.map(([kind, { cause, remedy }]) => [code(kind), cause, remedy]);
    return table(['`kind`', 'Cause, as shown after the address', 'What to do'], rows);
  },

  /** The reasons why a failed attempt was not retried, from the doc comments in `RetryRefusal`. */
  'not-retried-reasons'() {
    const [, text] = /export type RetryRefusal =([^;]+(?:;[^;]+?)*?)\n\n/.exec(
      sourceFile('errors/grpc-call-error.ts').text,
    );
    const members = [...text.matchAll(/\/\*\* (.+?)\.? \*\/\n {2}\| '([\w-]+)'/g)];
    const count = [...text.matchAll(/^ {2}\| '/gm)].length;
    if (members.length !== count) throw new Error('every member of RetryRefusal must have a single-line doc comment');
    return table(
      ['`notRetriedBecause`', 'Meaning'],
      members.map(([, comment, name]) => [code(name), comment]),
    );
  },

  /** The protections, with what feeds each and the test of its attack, from docs/internals/protections.json. */
  protections() {
    const rows = Object.entries(JSON.parse(read('docs/internals/protections.json')));
    return table(
      ['Protection', 'Against', 'What honest peers do that feeds it', 'What refills it', 'Its attack'],
      rows.map(([id, { against, fedBy, refill, attack }]) => {
        const [file, title] = attack;
        return [code(id), against, fedBy, refill, `[${title}](../../${file})`].map(escaped);
      }),
    );
  },

  /** The private names that `half` of the library ('client' or 'server') needs. */
  seams(half) {
    const rows = seams()
      .filter((seam) => seam.half === half)
      .map(({ on, needs, lostWithout }) => [on, needs.map(code).join(', '), lostWithout]);
    return table(['Object', 'Private names', 'Disabled if a name is missing'], rows);
  },
};

/** The options that matter first: the group and the name. */
const SHORT_OPTIONS = {
  client: [
    'GrpcClientDefaults: timeoutMs',
    'GrpcClientSettings: methods',
    'MethodOptions: methods[…].idempotent',
    'MethodOptions: methods[…].waitForReady',
    'MethodOptions: methods[…].attemptTimeoutMs',
    'GrpcClientDefaults: outageGraceMs',
    'GrpcClientDefaults: streamIdleTimeoutMs',
    'GrpcClientDefaults: loadBalancing',
    'GrpcClientDefaults: tls',
    'GrpcClientDefaults: metadata',
    'GrpcClientDefaults: maxConcurrentCalls',
    'DrainOptions: forRoot: drain.timeoutMs',
  ],
  server: [
    'DrainOptions: drain.timeoutMs',
    'DrainOptions: drain.readinessDelayMs',
    'ServerMethodOptions: onDrain',
    'ServerMethodOptions: maxConcurrentCalls',
    'ServerMethodOptions: maxCallMs',
    'ServerMethodOptions: maxStreamIdleMs',
    'ResilientGrpcServerOptions: health',
    'ResilientGrpcServerOptions: reflection',
  ],
};

/** Returns the option that `label` names, as in `SHORT_OPTIONS`. */
function option(label) {
  const [, group, name] = /^(\w+): .*?(\w+)$/.exec(label);
  return optionsOf(group).find((one) => one.name === name);
}

/** The groups of options on the page of the defaults, with their headings. */
const DEFAULTS_SHOWN = {
  GrpcClientDefaults: 'A client',
  KeepaliveOptions: '`keepalive`',
  MethodOptions: 'A method of a client',
  CircuitBreakerOptions: '`circuitBreaker`',
  DrainOptions: '`drain` of clients and servers',
  ServingCheckOptions: 'Health check of a server',
  ServerMethodOptions: 'A method of a server',
  ResilientGrpcServerOptions: 'A server',
};

/** Escapes a cell of a table. */
const escaped = (text) => text.replaceAll('|', '\\|');

/** Formats a literal value as code; leaves other text unchanged. */
function literalAsCode(value) {
  return /^(\d+|'.*'|true|false|undefined)$/.test(value) ? code(value) : value;
}

/** Formats quoted values as code, unless they are in code already. */
function quotedAsCode(text) {
  return text
    .split(/(`[^`]*`)/)
    .map((part) => (part.startsWith('`') ? part : part.replace(/(?<!\w)'[^'\s]+'(?!\w)/g, code)))
    .join('');
}

/** Formats a number of the source with its unit. */
function quantity(unit, path, name) {
  // Treats everything after the first dot of `name` as one key, because the keys of grpc-js's options contain a dot themselves.
  const [variable, ...key] = name.split('.');
  const value = constant(path, variable);
  const number = key.length === 0 ? value : value[key.join('.')];
  if (typeof number !== 'number')
    throw new Error(`${path}: expected a number ${name}, got ${number}; correct numbers.json`);
  if (unit === '%') return `${number * 100}%`;
  if (unit === '×') return `×${number}`;
  if (unit === 'MiB') return `${number / 1024 / 1024} MiB`;
  if (unit === 'ms') return number < 1_000 ? `${number} ms` : `${number / 1_000} s`;
  return number.toLocaleString('en-US');
}
