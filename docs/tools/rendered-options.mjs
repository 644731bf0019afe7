import { optionsOf } from './source-options.mjs';

/** The options in the README's table: the group, the name, and the label if it differs from the name. */
const SHORT = [
  ['GrpcClientDefaults', 'timeoutMs'],
  ['GrpcClientDefaults', 'outageGraceMs'],
  ['GrpcClientSettings', 'methods'],
  ['MethodOptions', 'idempotent', 'methods[…].idempotent'],
  ['MethodOptions', 'waitForReady', 'methods[…].waitForReady'],
  ['GrpcClientDefaults', 'tls'],
];

/** Renders one group as Markdown, with a list item per option. */
export function optionList(group) {
  return optionsOf(group)
    .map(({ name, type, meaning, defaultValue }) => {
      const otherwise = defaultValue === undefined ? '' : ` · default ${asCode(defaultValue)}`;
      return `- **\`${name}\`** \`${type}\`${otherwise}\\\n  ${withCode(meaning)}`;
    })
    .join('\n');
}

/** Renders the README's table as Markdown, with the first sentence of each option. */
export function shortOptions() {
  const rows = SHORT.map(([group, name, label = name]) => {
    const option = optionsOf(group).find((candidate) => candidate.name === name);
    if (option === undefined) throw new Error(`${group} has no option ${name}`);
    return `| \`${label}\` | ${asCode(option.defaultValue ?? 'none')} | ${cell(withCode(firstSentence(option.meaning)))} |`;
  });
  return ['| Option | Default | Description |', '| --- | --- | --- |', ...rows].join('\n');
}

/** Formats a literal value as code; leaves other text unchanged. */
function asCode(value) {
  return /^(\d+|'.*'|true|false|undefined)$/.test(value) ? `\`${value}\`` : value;
}

/** Formats quoted values as code, unless they are in code already. */
function withCode(text) {
  return text
    .split(/(`[^`]*`)/)
    .map((part) => (part.startsWith('`') ? part : part.replace(/(?<!\w)'[^'\s]+'(?!\w)/g, (value) => `\`${value}\``)))
    .join('');
}

function firstSentence(text) {
  return /^.+?\.(?= [A-Z`0-9]|$)/.exec(text)?.[0] ?? text;
}

function cell(text) {
  return text.replace(/\|/g, '\\|');
}
