import { readdirSync } from 'node:fs';
import { join, normalize } from 'node:path';
import ts from 'typescript';
import { sourceFile } from '../../docs/tools/source.mjs';
import { pageText } from '../docs/markdown.js';

export const PAGE = 'docs/internals/upstream/README.md';
const LIBRARY = 'libs/resilient-grpc/src/';

/** Symbol that implements a workaround, for example 'WireAttempt.cancel', and its file relative to the library's sources. */
export interface Place {
  readonly symbol: string;
  readonly file: string;
}

/** A row of the page: a defect and the code, if any, that works around it. */
export interface Workaround {
  /** Title of the defect, for example 'A closed channel connects again'. */
  readonly defect: string;
  /** Program that reproduces the defect, for example 'closed-channel-connects-again.mjs'. */
  readonly program: string;
  /** Text of the third column ("Code to remove", or "What helps" without a workaround), without links. */
  readonly removableCode: string;
  /** The symbols that `removableCode` names; empty if the defect has no workaround. */
  readonly places: readonly Place[];
}

/** Folder of the programs that reproduce the defects. */
export const PROGRAMS_FOLDER = join(import.meta.dirname, 'programs');

export const PROGRAMS: readonly string[] = readdirSync(PROGRAMS_FOLDER)
  .filter((file) => file.endsWith('.mjs'))
  .sort();

const [WORKED_AROUND = '', OPEN = ''] = pageText(PAGE).split('\n## Without a workaround\n');

/** The rows of the page's tables, except the table under 'Without a workaround'. */
export const WORKAROUNDS: readonly Workaround[] = rowsOf(WORKED_AROUND);

/** The defects without a workaround. */
export const OPEN_DEFECTS: readonly Workaround[] = rowsOf(OPEN);

function rowsOf(text: string): Workaround[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('| ['))
    .map((line) => {
      const [what = '', , removableCode = ''] = line.split('|').slice(1, -1);
      const [, defect = '', program = ''] =
        /^\[(.+?)\]\([./]+\/test\/upstream\/programs\/([\w-]+\.mjs)\)/.exec(what.trim()) ?? [];
      const places = [...removableCode.matchAll(/`'?([\w.-]+)'?` of \[[^\]]+\]\(([^)]+)\)/g)].map(
        ([, symbol = '', link = '']) => ({
          symbol,
          file: normalize(join('docs/internals/upstream', link)).slice(LIBRARY.length),
        }),
      );
      return { defect: plain(defect), program, removableCode: plain(removableCode.trim()), places };
    });
}

function plain(text: string): string {
  return text.replaceAll('`', '').replace(/\[([^\]]+)\]\([^)]+\)/g, '$1');
}

/** Names that a file of the library declares; members as 'Class.member'. */
export function declaredNames(file: string): ReadonlySet<string> {
  const names = new Set<string>();
  const visit = (node: ts.Node, owner: string | undefined): void => {
    const name = nameOf(node);
    if (name !== undefined) names.add(owner === undefined ? name : `${owner}.${name}`);
    const inside = ts.isClassDeclaration(node) || ts.isInterfaceDeclaration(node) ? name : undefined;
    ts.forEachChild(node, (child) => {
      visit(child, inside);
    });
  };
  visit(sourceFile(file), undefined);
  return names;
}

function nameOf(node: ts.Node): string | undefined {
  const name = ts.isVariableDeclaration(node) ? node.name : ts.getNameOfDeclaration(node as ts.Declaration);
  return name !== undefined && (ts.isIdentifier(name) || ts.isStringLiteral(name)) ? name.text : undefined;
}
