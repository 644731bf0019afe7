import { NOTES, PROJECTS, RESOLUTIONS, TOOLS, TYPESCRIPTS } from '../../test/consumers/projects/matrix.mjs';

/** Renders the table of TypeScript versions if `what` is 'types', otherwise the table of tools by kind of project. */
export function projectTable(what) {
  return what === 'types' ? typesTable() : toolsTable();
}

function toolsTable() {
  const projects = Object.entries(PROJECTS);
  const used = [...new Set(TOOLS.flatMap(({ notes }) => Object.values(notes)))];
  const cell = (note) => {
    if (note === undefined) return '✓';
    const number = `(${used.indexOf(note) + 1})`;
    return note.startsWith('no-') ? `– ${number}` : `✓ ${number}`;
  };
  const rows = TOOLS.map(({ label, notes }) => [label, ...projects.map(([project]) => cell(notes[project]))]);
  const header = ['Tool', ...projects.map(([, { label }]) => label)];
  return [table(header, rows), '', ...used.map((note, index) => `${index + 1}. ${NOTES[note]}`)].join('\n');
}

function typesTable() {
  const rows = RESOLUTIONS.map(({ moduleResolution, module, project, since = '' }) => [
    PROJECTS[project].label,
    `\`${moduleResolution}\``,
    `\`${module}\``,
    TYPESCRIPTS.filter((version) => version >= since).join(', '),
  ]);
  return table(['Project', '`moduleResolution`', '`module`', 'TypeScript'], rows);
}

function table(header, rows) {
  return [header, header.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
}
