import ts from 'typescript';
import { sourceFile } from './source-file.mjs';

/** Renders a Markdown table of the kinds of connect failures. */
export function connectFailureTable() {
  const rows = [];
  const visit = (node) => {
    if (ts.isPropertyAssignment(node) && ts.isObjectLiteralExpression(node.initializer)) {
      const texts = new Map(
        node.initializer.properties.map((property) => [property.name.text, property.initializer.text]),
      );
      if (texts.has('cause')) rows.push([node.name.text, texts.get('cause'), texts.get('remedy')]);
    }
    ts.forEachChild(node, visit);
  };
  visit(sourceFile('policy/connect-failure/connect-failures.ts'));
  const lines = rows.map(([kind, cause, remedy]) => `| \`${kind}\` | ${cause} | ${remedy} |`);
  return ['| `kind` | Cause, as shown after the address | What to do |', '| --- | --- | --- |', ...lines].join('\n');
}

/** Renders a Markdown table of the reasons why a failed attempt was not retried, from the doc comments in `RetryRefusal`. */
export function notRetriedTable() {
  const { text } = sourceFile('errors/not-retried-reason.ts');
  const members = [...text.matchAll(/\/\*\* (.+?)\.? \*\/\n {2}\| '([\w-]+)'/g)];
  const count = [...text.matchAll(/^ {2}\| '/gm)].length;
  if (members.length !== count) throw new Error('every member of RetryRefusal must have a single-line doc comment');
  const lines = members.map(([, comment, name]) => `| \`${name}\` | ${comment} |`);
  return ['| `notRetriedBecause` | Meaning |', '| --- | --- |', ...lines].join('\n');
}
